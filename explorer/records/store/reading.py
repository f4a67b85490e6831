"""An export's lines as changes to a store, every value checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from explorer.records.records import LOSSES, Array, Instances, Phase, Run, Snapshot, Status
from explorer.records.store import changes, schema, values
from explorer.records.store.apply import FACTS
from explorer.records.store.changes import ENDED, INTERRUPTED, NewLane


class Reader:
    """Takes lines in their order, and gives back an experiment when all of it was there."""

    def __init__(self) -> None:
        self._experiment: dict[str, Any] | None = None
        self._lanes: list[_Lane] = []

    def read(self, line: dict[str, Any]) -> list[changes.OfOne]:
        """The next line; the experiment before it, if it begins another."""
        if len(line) != 1:
            raise ValueError("it must be one of experiment, lane, epochs.")
        ((kind, said),) = line.items()
        values.choice("kind", kind, ("experiment", "lane", "epochs"))
        if not isinstance(said, dict):
            raise ValueError(f"{kind} must be an object.")
        if kind == "experiment":
            done = self.end()
            self._experiment, self._lanes = _experiment(said), []
            return done
        if self._experiment is None:
            raise ValueError("it belongs to no experiment: a line of that must stand before it.")
        if kind == "lane":
            if len(self._lanes) == self._experiment["lanes"]:
                raise ValueError(f"there are more lanes than the {self._experiment['lanes']} of the experiment.")
            self._lanes.append(_Lane(said))
        elif not self._lanes:
            raise ValueError("it belongs to no lane: a line of that must stand before it.")
        else:
            self._lanes[-1].read(said)
        return []

    def end(self) -> list[changes.OfOne]:
        """The experiment that was read last, if any."""
        said = self._experiment
        if said is None:
            return []
        if len(self._lanes) != said["lanes"]:
            raise ValueError(f"experiment {said['id']} has {said['lanes']} lanes, but {len(self._lanes)} are here.")
        id, lanes = said["id"], tuple(lane.new for lane in self._lanes)
        done: list[changes.OfOne] = [
            changes.Begin(id, said["title"], said["settings"], lanes, said["began"], imported=True)
        ]
        for place, lane in enumerate(self._lanes):
            done += [changes.Append(id, place, snapshot) for snapshot in lane.snapshots(place)]
            done.append(changes.Learn(id, place, lane.instances(place)))
        done.append(changes.Annotate(id, said["notes"]))
        done.append(changes.Pin(id, said["pinned"]))
        done.append(changes.Finish(id, said["phase"], said["message"], said["ended"]))
        return done


class _Lane:
    """A lane's line and the epochs after it."""

    def __init__(self, said: dict[str, Any]) -> None:
        _exactly("lane", said, ("name", "settings", "device", "runs"))
        runs = values.listed("runs", said["runs"], values.MOST_RUNS)
        for run in runs:
            _exactly("run", run, ("seed", "hyperparameters", "status", "epochs", "best_epoch", *FACTS))
        self.new = NewLane(
            values.text("a lane's name", said["name"], values.LONGEST_TITLE),
            values.settings("a lane's settings", said["settings"]),
            tuple(
                Run(
                    values.integer("seed", run["seed"], 0, 2**62 - 1),
                    values.settings("hyperparameters", run["hyperparameters"]),
                )
                for run in runs
            ),
        )
        self._device = values.text("device", said["device"], values.LONGEST_TITLE)
        statuses = [str(status) for status in Status]
        self._status = tuple(Status(values.choice("status", run["status"], statuses)) for run in runs)
        self._facts = {fact: np.array([values.optional(fact, run[fact]) for run in runs]) for fact in FACTS}
        most = values.MOST_EPOCHS
        self._epochs = np.array([values.integer("epochs", run["epochs"], 0, most) for run in runs])
        self._best = np.array([values.integer("best_epoch", run["best_epoch"], 0, run["epochs"]) for run in runs])
        self._parts: list[tuple[Array, list[float]]] = []
        self._epoch = 0

    def read(self, said: dict[str, Any]) -> None:
        """The next epochs."""
        _exactly("epochs", said, ("first", "seconds", *LOSSES))
        values.integer("first", said["first"], self._epoch + 1, self._epoch + 1)
        room = values.MOST_EPOCHS - self._epoch
        if room == 0:
            raise ValueError(f"there are more than {values.MOST_EPOCHS} epochs.")
        seconds = [values.seconds("seconds", value) for value in values.listed("seconds", said["seconds"], room)]
        losses = np.array([_table(loss, said[loss], len(self._status), len(seconds)) for loss in LOSSES])
        self._parts.append((losses, seconds))
        self._epoch += len(seconds)

    def snapshots(self, place: int) -> Iterable[Snapshot]:
        """What training would have reported, an epoch each, so that every clock is kept."""
        if self._epochs.max() > self._epoch:
            raise ValueError(f"a run has {self._epochs.max()} epochs, but only {self._epoch} are here.")
        standing = {"status": self._status, "epochs": self._epochs, "best_epoch": self._best}
        told = {"device": self._device, "lane": place}
        first = 1
        for losses, seconds in self._parts or [(np.empty((len(LOSSES), len(self._status), 0)), [0.0])]:
            for index, clock in enumerate(seconds):
                part = losses[:, :, index : index + 1]
                yield Snapshot(0, Phase.STOPPED, first + index, *part, **standing, seconds=clock, **told)
            first += len(seconds)

    def instances(self, place: int) -> Instances:
        """What is known of its instances."""
        return Instances(0, **self._facts, lane=place)


def _experiment(said: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "title", "began", "ended", "phase", "message", "settings", "notes", "pinned", "lanes")
    _exactly("experiment", said, names)
    if not isinstance(said["id"], str) or not re.fullmatch(f"[0-9a-f]{{{schema.ID_LENGTH}}}", said["id"]):
        raise ValueError(f"id must be {schema.ID_LENGTH} hexadecimal digits.")
    if not isinstance(said["pinned"], bool):
        raise ValueError("pinned must be true or false.")
    phases = {str(phase) for phase in Phase} | {INTERRUPTED}
    phase = values.choice("phase", said["phase"], phases)
    return {
        "id": said["id"],
        "title": values.text("title", said["title"], values.LONGEST_TITLE),
        "began": values.seconds("began", said["began"]),
        "ended": None if said["ended"] is None else values.seconds("ended", said["ended"]),
        # What trained when it was exported trains here no more.
        "phase": phase if phase in ENDED else INTERRUPTED,
        "message": values.text("message", said["message"]),
        "settings": values.settings("settings", said["settings"]),
        "notes": values.text("notes", said["notes"]),
        "pinned": said["pinned"],
        "lanes": values.integer("lanes", said["lanes"], 1, values.MOST_LANES),
    }


def _exactly(kind: str, said: Any, names: tuple[str, ...]) -> None:
    if not isinstance(said, dict) or set(said) != set(names):
        raise ValueError(f"{kind} must be an object of {', '.join(names)}, and nothing else.")


def _table(name: str, rows: Any, runs: int, epochs: int) -> Array:
    """`[runs, epochs]` from lists of numbers and nulls."""
    if not isinstance(rows, list) or len(rows) != runs or any(not isinstance(row, list) for row in rows):
        raise ValueError(f"{name} must be a list of {runs} lists, one a run.")
    if any(len(row) != epochs for row in rows):
        raise ValueError(f"{name} must have {epochs} numbers a run, as seconds has.")
    return np.array([[values.optional(name, value) for value in row] for row in rows])
