"""What the app writes into widgets, told from what a person chooses there."""

import time

import panel_material_ui as pmui
import pytest

from explorer.app.widgets import LATE, Widgets


class Chosen:
    """A widget, and what a person has chosen there."""

    def __init__(self):
        self.widgets, self.values = Widgets(), []
        self.input = pmui.IntInput(value=0)
        self.widgets.watch(self.input, self.values.append)

    def show(self, *values):
        for value in values:
            self.widgets.show(self.input, value=value)


def test_what_a_person_chooses_is_told_and_what_the_app_writes_is_not():
    chosen = Chosen()
    chosen.show(1)
    chosen.widgets.show(chosen.input, value=2, label="Run")
    assert (chosen.input.value, chosen.input.label, chosen.values) == (2, "Run", [])
    chosen.input.value = 3
    chosen.input.value = 2  # back to what the app wrote last
    assert chosen.values == [3, 2]
    chosen.widgets.show(chosen.input, value=2, label="Look")  # nothing new
    chosen.show(5)
    chosen.input.value = 2
    assert chosen.values == [3, 2, 2]


def test_a_value_that_was_overtaken_does_not_come_back():
    chosen = Chosen()
    chosen.show(1, 2, 3)
    for late in (1, 2):
        chosen.input.value = late
        assert chosen.input.value == 3
    assert chosen.values == []
    chosen.input.value = 5
    chosen.input.value = 1
    assert chosen.values == [5, 1]  # a person's, since they chose something after what was written


def test_after_a_while_every_value_is_a_choice(monkeypatch):
    chosen, now = Chosen(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    chosen.show(1)
    now += 10
    chosen.show(2)
    now += 0.9 * LATE
    chosen.input.value = 1
    assert (chosen.input.value, chosen.values) == (2, [])
    now += 0.2 * LATE
    chosen.input.value = 1
    assert chosen.values == [1]


def test_each_widget_is_by_itself():
    chosen = Chosen()
    other = pmui.Select(options=["a", "b", "c"], value="a")
    chosen.widgets.watch(other, chosen.values.append)
    chosen.show(1, 2)
    chosen.widgets.show(other, value="b")
    other.value = "c"
    chosen.input.value = 1
    assert (other.value, chosen.input.value, chosen.values) == ("c", 2, ["c"])


def test_a_value_that_is_refused_leaves_the_widgets_listening():
    chosen = Chosen()
    with pytest.raises(ValueError, match="must be an integer"):
        chosen.show("nothing")
    chosen.show(1)
    chosen.input.value = 4
    assert chosen.values == [4]
