"""What a tournament is: entrants, workloads, rulesets, budget.  A TOML file, validated before anything runs.

baseline = "nadamw"                        # speed-ups refer to it
rulesets = ["external", "self_tuning"]
workloads = ["tig_4", "tig_4_noise"]       # a held-out variant wants its base
instances = 3                              # the first three of each workload's
max_epochs = 200                           # of a run under external tuning

[external]                                 # constants, where they differ from the ruleset's
trials = 2

[[submissions]]
optimizer = "nadamw"

[[submissions]]
name = "adam, clipped"
optimizer = "adam"
modify = ["clip", "cosine:warmup=10"]
set = { beta2 = 0.99 }                     # fixed under both rulesets
space = { lr = [1e-4, 1e-1] }              # what external tuning draws from
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explorer.challenge import Challenge
from explorer.optimizers import Optimizer
from explorer.tournament import plain, targets
from explorer.tournament.plan import Spec, Submission
from explorer.tournament.rulesets import RULESETS
from explorer.tournament.times import KINDS
from explorer.tournament.units import Entry
from explorer.tournament.workloads import RERUN, Workload, heat, named
from explorer.training import devices

KEYS = {"name", "submissions", "workloads", "baseline", "instances", "max_epochs", "precision", "rulesets", *RULESETS}
OF_SUBMISSION = {"name", "optimizer", "plugin", "modify", "set", "space"}
OF_WORKLOAD = {"name", "kind", "settings", "instances", "targets"}


def load(file: str | Path) -> Spec:
    """The spec in a TOML file; `ValueError` says in a sentence what is wrong with it."""
    path = Path(file)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"spec = {str(path)!r} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"spec = {str(path)!r} is not TOML: {error}.") from None
    return parse({"name": path.stem} | told, path.parent)


def parse(told: Mapping[str, Any], folder: str | Path = ".") -> Spec:
    """The spec that plain values tell; plug-ins' files are looked for in `folder`.

    submissions: tables with `optimizer` (or `plugin`, a file), and where wanted `name`, `modify`, `set` (fixed
    hyperparameters), `space` (`lr = [1e-4, 1e-2]`).  workloads: names, or tables with `name`, `kind`, `settings`,
    `instances`, `targets`.  Optional: `name`, `baseline`, `instances` (the first so many of each named workload),
    `max_epochs`, `precision`, `rulesets`, and a table for each ruleset's constants.

    `ValueError` names what is unknown, missing or not allowed.
    """
    plain.only(told, KEYS, "the spec")
    rulesets = tuple(
        RULESETS[plain.one_of(key, list(RULESETS), "rulesets")](**plain.table(told, key, "the spec"))
        for key in plain.names(told.get("rulesets", ["external"]), "rulesets")
    )
    if not rulesets:
        raise ValueError(f"rulesets = [] is not allowed: it must be one of {', '.join(RULESETS)}, or both.")
    max_epochs = Challenge.check("max_epochs", told.get("max_epochs", Challenge.fields()["max_epochs"].default))
    for ruleset in rulesets:
        Challenge.check("max_epochs", ruleset.epochs(max_epochs))
    precision = told.get("precision", "float32")
    devices.precision(precision)
    submissions = tuple(
        _submission(one, place, Path(folder)) for place, one in enumerate(plain.listed(told, "submissions"), start=1)
    )
    workloads = tuple(_workload(one, told.get("instances")) for one in plain.listed(told, "workloads"))
    plain.unique([submission.name for submission in submissions], "submissions")
    plain.unique([workload.name for workload in workloads], "workloads")
    base = [workload.name for workload in workloads if workload.kind == "base"]
    for workload in workloads:
        if workload.kind != "base" and not any(workload.name.startswith(name) for name in base):
            raise ValueError(f"workload = {workload.name!r} is held out: its base workload must be in the spec, too.")
    baseline = told.get("baseline", "")
    if baseline:
        plain.one_of(baseline, [submission.name for submission in submissions], "baseline")
    name = str(told.get("name", "tournament"))
    return Spec(name, submissions, workloads, rulesets, baseline, max_epochs, precision)


def _submission(told: Any, place: int, folder: Path) -> Submission:
    where = f"submission {place}"
    if not isinstance(told, Mapping):
        raise ValueError(f"{where} = {told!r} is not allowed: it must be a table with optimizer = or plugin =.")
    plain.only(told, OF_SUBMISSION, where)
    if ("optimizer" in told) == ("plugin" in told):
        raise ValueError(f"{where} must have either optimizer = or plugin =.")
    modify = tuple(plain.names(told.get("modify", []), "modify"))
    fixed = plain.table(told, "set", where)
    for name, value in fixed.items():
        if isinstance(value, list):
            raise ValueError(f"{name} = {value!r} is not allowed in {where}: set takes one value, space a range.")
    plugin = str((folder / told["plugin"]).resolve()) if "plugin" in told else ""
    entry = Entry(str(told.get("optimizer", "")), plugin, modify, fixed)
    made = entry.create()
    name = told.get("name", made.key)
    if not isinstance(name, str) or not name:
        raise ValueError(f"name = {name!r} is not allowed in {where}: it must be text.")
    space = {field: _range(type(made), field, ends, where) for field, ends in plain.table(told, "space", where).items()}
    for field in set(space) & set(fixed):
        raise ValueError(f"{field} is in both set and space of {where}: it must be in one.")
    return Submission(name, entry, space)


def _range(optimizer: type[Optimizer], field: str, ends: Any, where: str) -> tuple[float, float]:
    if not isinstance(ends, list) or len(ends) != 2:
        raise ValueError(f"{field} = {ends!r} is not allowed in the space of {where}: it must be [lowest, highest].")
    low, high = (optimizer.check(field, end) for end in ends)
    if not optimizer.sweepable(field):
        raise ValueError(f"{field} is not allowed in the space of {where}: it is one value for a whole fleet.")
    if not low < high:
        raise ValueError(f"{field} = {ends!r} is not allowed in the space of {where}: the lowest must come first.")
    return float(low), float(high)


def _workload(told: Any, instances: Any) -> Workload:
    if instances is not None and (not isinstance(instances, int) or isinstance(instances, bool) or instances < 1):
        raise ValueError(f"instances = {instances!r} is not allowed: it must be an integer from 1.")
    if isinstance(told, str):
        return targets.with_targets(named(told), instances)
    if not isinstance(told, Mapping):
        raise ValueError(f"workload = {told!r} is not allowed: it must be a name or a table.")
    for key in ("name", "instances", "targets"):
        if key not in told:
            raise ValueError(f"workload = {told.get('name', told)!r} has no {key} =.")
    plain.only(told, OF_WORKLOAD, f"workload {told['name']}")
    seeds, losses, name = told["instances"], told["targets"], told["name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"workload = {name!r} is not allowed: its name must be text.")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and 0 <= seed < RERUN for seed in seeds):
        raise ValueError(f"instances = {seeds!r} is not allowed in workload {name}: it must be integers from 0.")
    plain.unique(seeds, f"instances of workload {name}")
    if not isinstance(losses, list) or not all(isinstance(loss, int | float) and loss > 0 for loss in losses):
        raise ValueError(f"targets = {losses!r} is not allowed in workload {name}: it must be losses above 0.")
    if len(losses) != len(seeds):
        raise ValueError(f"workload {name} has {len(losses)} targets for {len(seeds)} instances: it must be as many.")
    settings = plain.table(told, "settings", f"workload {name}")
    heat(settings)
    kind = plain.one_of(told.get("kind", "base"), list(KINDS), "kind")
    return Workload(name, kind, settings, tuple(seeds), tuple(float(loss) for loss in losses))
