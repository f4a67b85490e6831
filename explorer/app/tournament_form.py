"""What a person chooses for a tournament: entrants, workloads, rulesets, budget."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
import tomli_w

from explorer import optimizers
from explorer.app import html
from explorer.app.controls import folded
from explorer.app.fields import Complain, Field
from explorer.app.setup import Setup
from explorer.base.declared import Declared
from explorer.tournament import Spec, names, parse, targets
from explorer.tournament.rulesets import RULESETS, External, Ruleset
from explorer.tournament.workloads import INSTANCES

FLEETS = 5000
"""Fleets of a tournament that the page takes in; more are for the command line."""
RUNS = 4096
"""Runs of one fleet, trials × instances, that it takes in."""
TITLES = {"external": "External tuning", "self_tuning": "Self-tuning"}


class Budget(Declared):
    """How much of everything there is."""

    studies = param.Integer(3, bounds=Ruleset.param["studies"].bounds, doc="Independent studies: the median counts.")
    trials = param.Integer(
        2, bounds=External.param["trials"].bounds, doc="Trials a study under external tuning: the fastest counts."
    )
    instances = param.Integer(
        3, bounds=(1, INSTANCES), doc="Instances of each workload: it is reached when the median instance is."
    )
    max_epochs = param.Integer(
        100, bounds=(1, 6000), label="Epochs", doc="Epochs of a run under external tuning; self-tuning has 1.5 ×."
    )
    device = param.Selector(default="auto", objects=Setup.param["device"].objects, doc=Setup.param["device"].doc)
    precision = param.Selector(
        default="float32", objects=Setup.param["precision"].objects, doc=Setup.param["precision"].doc
    )


class Form:
    """The widgets of a new tournament, and the spec that they tell.

    `changed()` is called after every change.  A text of the person's own, once it is used, takes the widgets' place
    until one of them is moved.
    """

    def __init__(self, changed: Callable[[], None], complain: Complain) -> None:
        self.budget = Budget()
        self._changed, self._complain = changed, complain
        self._own: dict[str, Any] | None = None
        self._showing = False
        known = [name for name in names() if name in targets.stored()]
        wide = {"sizing_mode": "stretch_width", "size": "small"}
        self._name = pmui.TextInput(label="Name", value="A tournament", **wide)
        self._entrants = pmui.MultiChoice(
            label="Entrants", options=optimizers.names(), value=["adam", "nadamw", "lion"], sizing_mode="stretch_width"
        )
        self._workloads = pmui.MultiChoice(
            label="Workloads", options=known, value=known[:1], sizing_mode="stretch_width"
        )
        self._rulesets = pmui.CheckButtonGroup(
            label="Rulesets",
            options={TITLES[key]: key for key in RULESETS},
            value=["external"],
            sizing_mode="stretch_width",
            size="small",
        )
        self._baseline = pmui.Select(
            label="Baseline", options=["none"], value="none", description="Speed-ups refer to it.", **wide
        )
        self._fields = {name: self._field(name) for name in Budget.fields()}
        self.device = self._fields.pop("device").widget
        self._text = pmui.TextAreaInput(
            label="Specification (TOML)", rows=12, max_length=100_000, sizing_mode="stretch_width"
        )
        use = pmui.Button(label="Use this text", icon="check", variant="outlined", size="small", on_click=self._use)
        for widget in (self._name, self._entrants, self._workloads, self._rulesets, self._baseline):
            widget.param.watch(self._moved, "value")
        absent = len(names()) - len(known)
        note = f"{absent} more have no targets yet: `explorer targets NAME` makes them." if absent else ""
        self.panel = pmui.Column(
            self._name,
            self._entrants,
            self._workloads,
            pn.pane.Markdown(note, stylesheets=[html.CODE], margin=(0, 10), styles={"font-size": "0.75rem"}),
            self._rulesets,
            pn.GridBox(*(field.widget for field in self._fields.values()), ncols=2, sizing_mode="stretch_width"),
            self._baseline,
            folded(("As a text", pmui.Column(self._text, use, sizing_mode="stretch_width", margin=0))),
            sizing_mode="stretch_width",
            margin=0,
        )
        self._show()

    @property
    def told(self) -> dict[str, Any]:
        """The spec's plain values, not checked."""
        if self._own is not None:
            return self._own
        budget, baseline = self.budget, self._baseline.value
        return {
            "name": self._name.value.strip()[:60] or "A tournament",
            **({"baseline": baseline} if baseline in self._entrants.value else {}),
            "workloads": list(self._workloads.value),
            "instances": budget.instances,
            "max_epochs": budget.max_epochs,
            "precision": budget.precision,
            "rulesets": [key for key in RULESETS if key in self._rulesets.value],
            "external": {"studies": budget.studies, "trials": budget.trials},
            "self_tuning": {"studies": budget.studies},
            "submissions": [{"optimizer": name} for name in self._entrants.value],
        }

    def spec(self) -> Spec:
        """The spec; `ValueError` says what is wrong with it."""
        return harmless(self.told)

    def _field(self, name: str) -> Field:
        def write(value: Any) -> None:
            setattr(self.budget, name, value)
            self._moved()

        return Field(Budget, name, lambda: getattr(self.budget, name), write, self._complain)

    def _moved(self, _: Any = None) -> None:
        if not self._showing:
            self._own = None
            self._show()
            self._changed()

    def _show(self) -> None:
        """Bring what hangs on the widgets up to date."""
        self._showing = True
        options = ["none", *self._entrants.value]
        value = self._baseline.value if self._baseline.value in options else "none"
        self._baseline.param.update(options=options, value=value)
        self._text.value = tomli_w.dumps(self.told)
        self._showing = False

    def _use(self, _: Any) -> None:
        try:
            told = tomllib.loads(self._text.value)
            harmless(told)
        except ValueError as error:  # a fault in TOML is one, too
            self._complain(str(error))
            return
        except RecursionError:
            self._complain("The text is nested too deeply.")
            return
        self._own = told
        self._changed()


def harmless(told: Mapping[str, Any]) -> Spec:
    """The spec that these values tell, if a page may hold it: `ValueError` where it would run somebody's file, import
    something, or is beyond any person's patience."""
    for submission in told.get("submissions", []) if isinstance(told.get("submissions"), list) else []:
        if not isinstance(submission, Mapping):
            continue
        if "plugin" in submission:
            raise ValueError("plugin = is not allowed on this page: hold such a tournament with explorer race.")
        if "optimizer" in submission and submission["optimizer"] not in optimizers.names():
            known = ", ".join(optimizers.names())
            raise ValueError(f"optimizer = {submission['optimizer']!r} is not known: it must be one of {known}.")
    spec = parse(told)
    fleets = sum(ruleset.studies for ruleset in spec.rulesets) * len(spec.workloads) * len(spec.submissions)
    runs = max(len(workload.instances) for workload in spec.workloads) * max(
        ruleset.values.get("trials", 1) for ruleset in spec.rulesets
    )
    if fleets > FLEETS or runs > RUNS:
        raise ValueError(
            f"{fleets} fleets of {runs} runs are too many for this page, which takes {FLEETS} of {RUNS}: hold such a "
            "tournament with explorer race."
        )
    return spec
