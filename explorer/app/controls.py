"""The side panel: every setting, derived from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer import optimizers
from explorer.app import address
from explorer.app.fields import Complain, Field
from explorer.app.setup import Setup
from explorer.challenge import Challenge
from explorer.optimizers import Optimizer, modifiers

DIFFICULTY = ("num_hidden_layers", "accuracy_factor")


class Controls:
    """What the person has set, and the widgets that show it.

    `on_change(name)` is called after each change, with the name of the setting.
    """

    def __init__(self, on_change: Callable[[str], None], complain: Complain) -> None:
        self.setup = Setup()
        self.challenge = Challenge.preset(self.setup.preset)
        self.hyperparameters: dict[str, Any] = optimizers.create(self.setup.optimizer).values
        self._on_change, self._complain = on_change, complain
        self._setup = {name: self._field(Setup, name, self.setup) for name in Setup.fields()}
        self._challenge = {name: self._field(Challenge, name, None) for name in Challenge.fields()}
        self._hyper: dict[str, Field] = {}
        self._stack = pmui.MultiChoice(
            label="Modifiers",
            options=modifiers.names(),
            description="Wrap the optimizer, later ones around earlier ones.",
            sizing_mode="stretch_width",
        )
        self._stack.param.watch(lambda event: self._wrap(event.new, event.old), "value")
        self._hyper_box = pmui.Column(sizing_mode="stretch_width", margin=0)
        self._headline = pn.pane.Markdown("", sizing_mode="stretch_width", margin=(0, 10))
        self.about = pn.pane.LaTeX("", renderer="katex", sizing_mode="stretch_width")
        self._show_hyperparameters()
        self.panel = self._layout()

    @property
    def kind(self) -> type[Optimizer]:
        """The optimizer's class as set now, with its modifiers."""
        return optimizers.get("+".join([self.setup.optimizer, *self._stack.value]))

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer as set now, a list swept."""
        return self.kind(**self.hyperparameters)

    @property
    def values(self) -> dict[str, Any]:
        """Every setting that differs from its preset or default, for the address."""
        preset = Challenge.preset(self.setup.preset).values
        defaults = self.kind().values
        setup = self.setup.values
        always = {name: setup.pop(name) for name in ("preset", "optimizer")}
        stack = {"modify": list(self._stack.value)} if self._stack.value else {}
        return (
            always
            | stack
            | {name: value for name, value in self.challenge.values.items() if preset[name] != value}
            | {name: value for name, value in self.hyperparameters.items() if defaults[name] != value}
            | {name: value for name, value in setup.items() if Setup.fields()[name].default != value}
        )

    @property
    def address(self) -> str:
        """The query of the address for the settings as they are."""
        return address.write(self.values)

    def show(self, name: str) -> None:
        """Put a setting that was changed elsewhere into its widget."""
        self._setup[name].show()

    def load(self, search: str) -> list[str]:
        """Take the settings of an address; the sentences about those that were refused."""
        return address.read(search, self._setters)

    def _setters(self) -> Mapping[str, address.Setter]:
        fields = {"preset": self._setup["preset"], "optimizer": self._setup["optimizer"]}
        before = {name: field.load for name, field in fields.items()} | {"modify": self._load_stack}
        fields = self._challenge | self._hyper | self._setup
        return before | {name: field.load for name, field in fields.items()}

    def _load_stack(self, text: str) -> None:
        named = [name.strip() for name in text.split(",") if name.strip()]
        optimizers.get("+".join([self.setup.optimizer, *named]))
        self._stack.value = named

    def _wrap(self, wanted: list[str], before: list[str]) -> None:
        """Put these modifiers around the optimizer; hyperparameters that stay keep their values."""
        try:
            kept = {name: value for name, value in self.hyperparameters.items() if name in self.kind.fields()}
            self.hyperparameters = self.kind(**kept).values
        except ValueError as error:
            self._complain(str(error))
            self._stack.value = before
            return
        self._show_hyperparameters()
        self._on_change("modify")

    def _field(self, declared: type, name: str, owner: Any) -> Field:
        def read() -> Any:
            return getattr(owner or self.challenge, name)

        def write(value: Any) -> None:
            if owner is None:
                self.challenge = self.challenge.replace(**{name: value})
            else:
                if name == "optimizer":  # not every optimizer takes every modifier: find out before it is set
                    optimizers.get("+".join([value, *self._stack.value]))
                setattr(owner, name, value)
            self._after(name)

        return Field(declared, name, read, write, self._complain)

    def _hyperparameter(self, kind: type[Optimizer], name: str) -> Field:
        def write(value: Any) -> None:
            self.hyperparameters = kind(**(self.hyperparameters | {name: value})).values
            self._on_change(name)

        return Field(kind, name, lambda: self.hyperparameters[name], write, self._complain, kind.sweepable(name))

    def _after(self, name: str) -> None:
        """What a change brings with it."""
        if name == "preset":
            kept = {field: getattr(self.challenge, field) for field in DIFFICULTY}
            self.challenge = Challenge.preset(self.setup.preset, **_at_least(kept))
            for field in self._challenge.values():
                field.show()
        if name == "optimizer":
            self.hyperparameters = self.kind().values
            self._show_hyperparameters()
        self._on_change(name)

    def _show_hyperparameters(self) -> None:
        kind = self.kind
        names = sorted(kind.fields(), key=lambda name: name != "lr")  # what people reach for first comes first
        self._hyper = {name: self._hyperparameter(kind, name) for name in names}
        self._hyper_box.objects = [_pairs(list(self._hyper.values()))]
        first = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        self._headline.object = f"*{first}*  \nCommas sweep: `1e-4, 1e-3`."
        self.about.object = inspect.cleandoc(kind.__doc__ or "").replace("`", "").replace("\n\n", "<br><br>")

    def _layout(self) -> pmui.Column:
        difficulty = [self._challenge[name].widget for name in DIFFICULTY]
        data = [field for name, field in self._challenge.items() if name not in DIFFICULTY]
        runs = [self._setup[name] for name in ("seeds", "first_seed", "device", "precision")]
        return pmui.Column(
            _section("Challenge", self._setup["preset"].widget, *difficulty),
            _section("Optimizer", self._setup["optimizer"].widget, self._headline, self._hyper_box, self._stack),
            _section("Runs", _pairs(runs), self._setup["pace"].widget),
            folded(("Data and model", _pairs(data))),
            sizing_mode="stretch_width",
        )


def _section(title: str, *widgets: Any) -> pmui.Column:
    heading = pmui.Typography(title, variant="h2", sx={"fontSize": "1rem", "fontWeight": 600}, margin=(8, 10, 0, 10))
    return pmui.Column(heading, *widgets, sizing_mode="stretch_width", margin=0)


def folded(*parts: tuple[str, Any], **options: Any) -> pmui.Accordion:
    """Parts under titles that open them: unlike a card's, such a title is a button with its own name."""
    return pmui.Accordion(
        *parts, active=[], title_variant="body1", disable_gutters=True, sizing_mode="stretch_width", **options
    )


def _pairs(fields: list[Field]) -> pn.GridBox:
    return pn.GridBox(*(field.widget for field in fields), ncols=2, sizing_mode="stretch_width")


def _at_least(kept: dict[str, Any]) -> dict[str, Any]:
    """The difficulty that a new preset takes over from the last: TIG's harness needs two layers."""
    return kept | {"num_hidden_layers": max(2, kept["num_hidden_layers"])}
