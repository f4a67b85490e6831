"""The side panel: every setting, derived from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer import optimizers
from explorer.app import address, html
from explorer.app.entrants import Entrant
from explorer.app.fields import Complain, Field, split
from explorer.app.lanes import AT_MOST, LaneList
from explorer.app.setup import Setup
from explorer.app.stored import nearest
from explorer.app.widgets import Widgets
from explorer.challenge import Challenge
from explorer.optimizers import Optimizer, modifiers
from explorer.training.plan import Entry

DIFFICULTY = ("num_hidden_layers", "accuracy_factor")
CHALLENGE = ("preset", *DIFFICULTY)


class Controls:
    """What the person has set, and the widgets that show it.

    `on_change(name)` is called after each change, with the name of the setting.
    """

    def __init__(self, on_change: Callable[[str], None], complain: Complain) -> None:
        Setup.param["optimizer"].objects = optimizers.names()  # of today: a notebook or a plug-in may have added some
        self.setup = Setup()
        self.challenge = Challenge.preset(self.setup.preset)
        self.lanes = LaneList(self._show_entrant, lambda: on_change("lanes"))
        self._on_change, self._complain = on_change, complain
        self._setup = {name: self._field(Setup, name, self.setup) for name in Setup.fields()}
        self._challenge = {name: self._field(Challenge, name, None) for name in Challenge.fields()}
        self._hyper: dict[str, Field] = {}
        self._open: frozenset[str] | None = None
        self._widgets = Widgets()
        self._stack = pmui.MultiChoice(
            label="Modifiers",
            options=modifiers.names(),
            description="Wrap the optimizer, later ones around earlier ones.",
            sizing_mode="stretch_width",
        )
        self._widgets.watch(self._stack, self._wrap)
        self._hyper_box = pmui.Column(sizing_mode="stretch_width", margin=0)
        self._headline = pn.pane.Markdown("", stylesheets=[html.CODE], sizing_mode="stretch_width", margin=(0, 10))
        self.about = pn.pane.LaTeX("", renderer="katex", sizing_mode="stretch_width")
        self.panel = self._layout()
        self._show_hyperparameters()

    @property
    def entrant(self) -> Entrant:
        """The lane that the widgets set."""
        return self.lanes.current

    @property
    def values(self) -> dict[str, Any]:
        """Every setting that differs from its preset or default, for the address."""
        preset = Challenge.preset(self.setup.preset).values
        setup = self.setup.values
        del setup["optimizer"]
        first, *others = self.lanes.entrants
        places = {entrant.key: place for place, entrant in enumerate(self.lanes.entrants, 1)}
        hidden = [places[entrant.key] for entrant in self.lanes.entrants if entrant.hidden]
        return (
            {"preset": setup.pop("preset")}
            | first.changed
            | {name: value for name, value in self.challenge.values.items() if preset[name] != value}
            | {name: value for name, value in setup.items() if Setup.fields()[name].default != value}
            | {f"lane{places[entrant.key]}": entrant.spell() for entrant in others}
            | ({"lane": places[self.entrant.key]} if self.entrant is not first else {})
            | ({"hidden": hidden} if hidden else {})
        )

    def entries(self, depths: Sequence[int] = ()) -> list[tuple[int, Entry]]:
        """The lanes as they are set, each with its entrant's key; with `depths`, one for each of them."""
        found = []
        for entrant in self.lanes.entrants:
            for depth in depths or [self.challenge.num_hidden_layers]:
                name = f"{entrant.label}, {depth} layers" if depths else entrant.label
                own = self.challenge.replace(num_hidden_layers=depth)
                found.append((entrant.key, Entry(name, own, entrant.built)))
        return found

    def reset(self) -> None:
        """Everything as it is when the app opens, but for the machine that trains."""
        for name, parameter in Setup.fields().items():
            if name not in ("device", "precision"):
                setattr(self.setup, name, parameter.default)
        self.challenge = Challenge.preset(self.setup.preset)
        for field in (self._setup | self._challenge).values():
            field.show()
        self.lanes.restart()

    def only(self, names: Collection[str] | None) -> None:
        """Show the controls of these settings, `lanes` among them, and no others; None: all of them."""
        self._open = None if names is None else frozenset(names)
        self._arrange()

    def offers(self, name: str) -> bool:
        """Whether there is a control of this name, as the lanes are set now."""
        hyperparameters = {field for entrant in self.lanes.entrants for field in entrant.hyperparameters}
        return name in {"lanes", "modify", *self._setup, *self._challenge, *hyperparameters}

    def show(self, name: str) -> None:
        """Put a setting that was changed elsewhere into its widget."""
        self._setup[name].show()

    def take(self, challenge: Challenge | None, entrants: Sequence[Entrant], setup: Mapping[str, Any]) -> None:
        """Be set to these; `ValueError` with a sentence where that is not allowed."""
        for name, value in setup.items():
            setattr(self.setup, name, Setup.check(name, value))
            self.show(name)
        if challenge is not None:
            self.challenge = challenge.replace()
            self.setup.preset = nearest(challenge)
            for name in ("preset", *self._challenge):
                (self._setup | self._challenge)[name].show()
        if entrants:
            self.lanes.entrants = list(entrants)
            self.lanes.select(self.lanes.entrants[0])

    def load(self, search: str, others: Mapping[str, address.Setter]) -> list[str]:
        """Take the settings of an address; the sentences about those that were refused.

        others: entries of the address that are not ours, with what takes them.
        """
        return address.read(search, lambda: {**self._setters(), **others})

    def _setters(self) -> dict[str, address.Setter]:
        fields = {"preset": self._setup["preset"], "optimizer": self._setup["optimizer"]}
        before = {name: field.load for name, field in fields.items()} | {"modify": self._load_stack}
        fields = self._challenge | self._hyper | self._setup
        lanes = {f"lane{place}": self._load_lane for place in range(2, AT_MOST + 1)}
        after = {"name": self._load_name, **lanes, "hidden": self._load_hidden, "lane": self._load_place}
        return before | {name: field.load for name, field in fields.items()} | after

    def _load_stack(self, text: str) -> None:
        named = split(text)
        optimizers.get("+".join([self.entrant.optimizer, *named]))
        self._widgets.show(self._stack, value=named)
        self._wrap(named)

    def _load_name(self, text: str) -> None:
        self.entrant.name = text
        self.lanes.show()

    def _load_lane(self, text: str) -> None:
        first = self.entrant
        self.lanes.add(Entrant.parse(text))
        self.lanes.select(first)  # the entries of the first lane may come after

    def _load_hidden(self, text: str) -> None:
        for part in split(text):
            self._lane_at("hidden", part).hidden = True

    def _load_place(self, text: str) -> None:
        self.lanes.select(self._lane_at("lane", text))

    def _lane_at(self, name: str, text: str) -> Entrant:
        last = len(self.lanes.entrants)
        if not (text.isdecimal() and 1 <= int(text) <= last):
            raise ValueError(f"{name} = {text!r} is not allowed: it must be the number of a lane, from 1 to {last}.")
        return self.lanes.entrants[int(text) - 1]

    def _wrap(self, wanted: list[str]) -> None:
        """Put these modifiers around the optimizer; hyperparameters that stay keep their values."""
        if wanted == self.entrant.modify:
            return
        try:
            self.entrant.put_on(self.entrant.optimizer, list(wanted))
        except ValueError as error:
            self._complain(str(error))
            self._widgets.show(self._stack, value=list(self.entrant.modify))
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
                    self.entrant.put_on(value, self.entrant.modify)
                setattr(owner, name, value)
            self._after(name)

        return Field(declared, name, read, write, self._complain)

    def _hyperparameter(self, kind: type[Optimizer], name: str) -> Field:
        entrant = self.entrant

        def write(value: Any) -> None:
            entrant.hyperparameters = kind(**(entrant.hyperparameters | {name: value})).values
            self.lanes.show()
            self._on_change(name)

        return Field(kind, name, lambda: entrant.hyperparameters[name], write, self._complain, kind.sweepable(name))

    def _after(self, name: str) -> None:
        """What a change brings with it."""
        if name == "preset":
            kept = {field: getattr(self.challenge, field) for field in DIFFICULTY}
            self.challenge = Challenge.preset(self.setup.preset, **_at_least(kept))
            for field in self._challenge.values():
                field.show()
        if name == "optimizer":
            self._show_hyperparameters()
        self._on_change(name)

    def _show_entrant(self) -> None:
        """Another lane is in hand: show how it is set."""
        self.setup.optimizer = self.entrant.optimizer
        self.show("optimizer")
        self._widgets.show(self._stack, value=list(self.entrant.modify))
        self._show_hyperparameters()
        self._on_change("lane")

    def _show_hyperparameters(self) -> None:
        kind = self.entrant.kind
        self.lanes.show()
        names = sorted(kind.fields(), key=lambda name: name != "lr")  # what people reach for first comes first
        self._hyper = {name: self._hyperparameter(kind, name) for name in names}
        self._arrange()
        first = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        self._headline.object = f"*{first}*  \nCommas sweep: `1e-4, 1e-3`."
        self.about.object = inspect.cleandoc(kind.__doc__ or "").replace("`", "").replace("\n\n", "<br><br>")

    def _layout(self) -> pmui.Column:
        self._grids = {name: pn.GridBox(ncols=2, sizing_mode="stretch_width") for name in ("runs", "data")}
        self._sections = {
            "challenge": _section("Challenge", *((self._setup | self._challenge)[name].widget for name in CHALLENGE)),
            "optimizer": _section(
                "Optimizer",
                self.lanes.panel,
                self._setup["optimizer"].widget,
                self._headline,
                self._hyper_box,
                self._stack,
            ),
            "runs": _section("Runs", self._grids["runs"], self._setup["pace"].widget),
            "data": folded(("Data and model", self._grids["data"])),
        }
        return pmui.Column(*self._sections.values(), sizing_mode="stretch_width")

    def _arrange(self) -> None:
        """Show what is open, and a heading where anything under it is."""

        def opened(name: str) -> bool:
            return self._open is None or name in self._open

        fields = self._setup | self._challenge
        grids = {
            "runs": [name for name in ("seeds", "first_seed", "device", "precision") if opened(name)],
            "data": [name for name in self._challenge if name not in DIFFICULTY and opened(name)],
        }
        for name, names in grids.items():
            self._grids[name].objects = [fields[field].widget for field in names]
        self._hyper_box.objects = [_pairs([field for name, field in self._hyper.items() if opened(name)])]
        for name in (*CHALLENGE, "optimizer", "pace"):
            fields[name].widget.visible = opened(name)
        lanes = opened("lanes") or (len(self.lanes.entrants) > 1 and any(map(opened, self._hyper)))
        self.lanes.panel.visible = lanes
        self._stack.visible = opened("modify")
        self._headline.visible = self._open is None
        shown = {
            "challenge": any(map(opened, CHALLENGE)),
            "optimizer": lanes or any(map(opened, ("optimizer", "modify", *self._hyper))),
            "runs": bool(grids["runs"]) or opened("pace"),
            "data": bool(grids["data"]),
        }
        for name, section in self._sections.items():
            section.visible = shown[name]
        if self._open is not None:
            self._sections["data"].active = [0] if grids["data"] else []


def _section(title: str, *widgets: Any) -> pmui.Column:
    heading = pmui.Typography(title, variant="h2", sx={"fontSize": "1rem", "fontWeight": 600}, margin=(8, 10, 0, 10))
    return pmui.Column(heading, *widgets, sizing_mode="stretch_width", margin=0)


def folded(*parts: tuple[str, Any], at_once: Collection[str] = (), **options: Any) -> pmui.Accordion:
    """Parts under titles that open them: unlike a card's, such a title is a button with its own name.

    Each is in the page from when it is first opened, since everything in it costs the page's first second; those with
    titles in `at_once` are there from the start.
    """
    shown = [[part] if title in at_once else [] for title, part in parts]
    places = [pn.Column(*part, sizing_mode="stretch_width", margin=0) for part in shown]
    titles = [title for title, _ in parts]
    fold = pmui.Accordion(
        *zip(titles, places, strict=True),
        active=[],
        title_variant="body1",
        disable_gutters=True,
        sizing_mode="stretch_width",
        **options,
    )

    def opened(_: Any) -> None:
        for index in fold.active:
            if not places[index].objects:
                places[index].append(parts[index][1])

    fold.param.watch(opened, "active")
    return fold


def _pairs(fields: list[Field]) -> pn.GridBox:
    return pn.GridBox(*(field.widget for field in fields), ncols=2, sizing_mode="stretch_width")


def _at_least(kept: dict[str, Any]) -> dict[str, Any]:
    """The difficulty that a new preset takes over from the last: TIG's harness needs two layers."""
    return kept | {"num_hidden_layers": max(2, kept["num_hidden_layers"])}
