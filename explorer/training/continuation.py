"""Continuing a fleet later, in another process: all that its next epochs depend on, as bytes and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from explorer import optimizers
from explorer.challenge.settings import Challenge
from explorer.optimizers.adapter import PATHS
from explorer.optimizers.base import Optimizer
from explorer.records import Run
from explorer.records.store import INTERRUPTED, NewLane, Recorder, Recording, Store
from explorer.training import freezing
from explorer.training.fleet import Fleet
from explorer.training.plan import Entry, Past, Plan

EVERY = 5.0
"""Seconds between two checkpoints at least."""
SHARE = 0.02
"""The share of training time that taking them may cost."""
BYTES_PER_SECOND = 500_000
"""What they may write to the store, on average."""
MOST = 64 * 2**20
"""Bytes of a checkpoint at most; a larger experiment can only begin again."""
SCORING = ("accuracy_factor", "quality_reference")
"""Settings of a challenge that change nothing of the training."""
LONGEST_NAME = 200
"""Characters of a lane's name that are kept."""
DEFAULTS = {"device": "auto", "precision": "float32"}
"""What an experiment's settings are where they do not say."""
LIBRARIES = ("torch", "pytorch_optimizer", "schedulefree")
"""Packages whose optimizers stored settings may name although they are not loaded yet."""


def freeze(fleet: Fleet) -> bytes:
    """All that the next epochs of `fleet` depend on; waits for its device.

    Losses of the epochs so far are not among it.  `ValueError` says what cannot be written.
    """
    told = {"plan": _plan(fleet), "epoch": fleet.epoch, "seconds": fleet.seconds}
    return freezing.pack(_memory(fleet), told)


def thaw(data: bytes, fleet: Fleet) -> None:
    """Put a fleet that has not begun where the frozen one of the same plan was; its next epoch is the one after that.

    On a CPU it then trains as if it had never been interrupted.  `ValueError` where the bytes are damaged or of another
    plan; the fleet is then not to be used.
    """
    tree = freezing.Frozen(data)
    told = tree.told
    if not isinstance(told, dict) or set(told) != {"plan", "epoch", "seconds"} or fleet.epoch:
        raise ValueError("The checkpoint cannot be read, or the fleet has begun already.")
    mine = freezing.plain(_plan(fleet))
    if told["plan"] != mine:
        differ = [name for name in mine if told["plan"].get(name) != mine[name]]
        raise ValueError(f"The checkpoint is of another experiment: it differs in {', '.join(differ)}.")
    tree.restore(_memory(fleet), fleet.params)
    fleet.epoch = fleet._reported = told["epoch"]
    fleet.seconds = told["seconds"]
    fleet._order.copy_(fleet._shuffle(fleet._now))


def _memory(fleet: Fleet) -> dict[str, Any]:
    """What a fleet changes as it trains, by name; what every epoch overwrites before it reads it is not here."""
    return {
        "params": fleet.params,
        "best": fleet.best,
        "state": fleet.state,
        "hyperparameters": fleet._columns,
        "now": fleet._now,
        "losses": fleet._losses,
        "status": fleet._status,
        "epochs": fleet._epochs,
        "best_epoch": fleet._best_epoch,
        "best_val": fleet._best_val,
    }


def _plan(fleet: Fleet) -> dict[str, Any]:
    told = describe(fleet.challenge, fleet.optimizer)
    trained = {name: value for name, value in told["challenge"].items() if name not in SCORING}
    return told | {"challenge": trained, "seeds": fleet.seeds, "precision": fleet.precision}


def describe(challenge: Challenge, optimizer: Optimizer) -> dict[str, Any]:
    """A lane's settings as plain JSON, as the store keeps them."""
    return {"challenge": challenge.values, "optimizer": optimizer.key, "hyperparameters": optimizer.values}


def remake(settings: Mapping[str, Any]) -> tuple[Challenge, Optimizer]:
    """What `describe` described; `ValueError` says what is not known here or not allowed.

    Settings can come from somebody else's file: an optimizer outside the shelf is looked for in libraries of optimizers
    only, so that no code runs which was not meant to.
    """
    challenge, name, values = (settings.get(part) for part in ("challenge", "optimizer", "hyperparameters"))
    if not isinstance(challenge, Mapping) or not isinstance(name, str) or not isinstance(values, Mapping):
        raise ValueError(
            "These settings are not of an experiment: challenge, optimizer and hyperparameters are missing."
        )
    package, colon, _ = name.partition(":")
    if colon and package not in LIBRARIES and PATHS.get(package, package) not in sys.modules:
        raise ValueError(f"optimizer = {name!r} is not loaded for a stored experiment: choose it yourself first.")
    return Challenge(**challenge), optimizers.create(name, **values)


def new_lane(name: str, challenge: Challenge, optimizer: Optimizer, seeds: Iterable[int]) -> NewLane:
    """A lane that is about to start, as the store takes it in; its runs are as `Fleet` has them."""
    listed = list(seeds)
    runs = tuple(Run(seed, values) for values in optimizer.grid() for seed in listed)
    shown = "".join(letter if letter.isprintable() else " " for letter in name)[:LONGEST_NAME]
    return NewLane(shown, describe(challenge, optimizer), runs)


def record(recorder: Recorder, plan: Plan) -> Recording:
    """Keep the training of `plan` from now on; what takes its records."""
    if plan.resumes:
        return recorder.resume(plan.resumes)
    lanes = [
        new_lane(entry.name or entry.optimizer.described, entry.challenge, entry.optimizer, plan.seeds)
        for entry in plan.entries
    ]
    return recorder.begin(lanes, {"device": plan.device, "precision": plan.precision})


def go_on(store: Store, id: str) -> Plan:
    """The plan that goes on with an interrupted experiment; a lane without a checkpoint begins again.

    `ValueError` says why it cannot: it is not interrupted, or its settings are not known here.
    """
    summary = store.get(id)
    if summary.phase != INTERRUPTED:
        raise ValueError(f"Experiment {summary.id} is {summary.phase}: only one that was interrupted can be continued.")
    entries, seeds = [], ()
    for place, lane in enumerate(summary.lanes):
        challenge, optimizer = remake(lane.settings)
        history, kept = store.history(summary.id, place), store.checkpoint(summary.id, place)
        past = None if kept is None else Past(history.upto(kept[0], challenge.min_delta), kept[1])
        entries.append(Entry(lane.name, challenge, optimizer, past))
        seeds = tuple(dict.fromkeys(run.seed for run in history.runs))
    device, precision = (summary.settings.get(name, default) for name, default in DEFAULTS.items())
    return Plan(tuple(entries), seeds, str(device), str(precision), summary.id)


class Checkpoints:
    """Takes checkpoints of fleets that train together, not too often: `EVERY` and what follows it say how.

    refused: a sentence where they cannot be taken; then there are none.
    """

    def __init__(self) -> None:
        self.refused = ""
        self._due = time.monotonic() + EVERY

    def offer(self, fleets: Sequence[Fleet]) -> list[bytes]:
        """One for each fleet if it is time, else none.  To be asked between epochs, when these have been reported."""
        began = time.monotonic()
        if self.refused or began < self._due:
            return []
        try:
            size = sum(map(freezing.size, map(_memory, fleets)))
            if size > MOST:
                raise ValueError(f"A checkpoint would have {size / 1e6:.0f} MB; {MOST / 1e6:.0f} MB are allowed.")
            taken = [freeze(fleet) for fleet in fleets]
            size = sum(map(len, taken))
        except (ValueError, RuntimeError) as error:  # torch's own, where the device does not answer any more
            self.refused = str(error)
            return []
        now = time.monotonic()
        self._due = now + max(EVERY, (now - began) / SHARE, size / BYTES_PER_SECOND)
        return taken
