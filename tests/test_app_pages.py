"""The switch between pages, without a browser."""

import os
from types import SimpleNamespace

import panel as pn
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc
from platformdirs import user_data_path

from explorer.app.pages import Pages
from explorer.app.transport import ICONS
from explorer.records import Place


@pytest.fixture
def opened():
    """The pages as the address `search` opens them, and the address."""
    made = []

    def opened(search=""):
        document = Document()
        with set_curdoc(document):
            pn.state.location.search = search
            made.append(Pages())
        return made[-1]

    yield opened
    for pages in made:
        pages.explorer.close()


def shown(pages):
    return [[each.visible for each in where] for where in (pages.main, pages.sidebar)]


def test_a_page_is_made_when_it_is_first_shown_and_kept(opened):
    pages = opened()
    assert list(pages.main) == [pages.explorer.main]
    pages.show("History")
    assert shown(pages) == [[False, True]] * 2
    history = pages.main[1]
    pages.show("Explore")
    assert shown(pages) == [[True, False]] * 2
    pages.show("History")
    assert pages.main[1] is history
    assert len(pages.main) == 2


def test_the_address_says_which_page(opened):
    pages = opened("?page=history&seeds=3")
    assert pages.navigation.value == "History"
    assert shown(pages) == [[True]] * 2  # the explorer is there, its widgets are not sent yet
    assert pages.explorer.controls.setup.seeds == 3
    assert pages.explorer.state.linked["page"].value() == "history"


def test_a_page_that_is_not_there_is_named_and_ignored(opened):
    pages = opened("?page=../History&seeds=3")
    assert pages.navigation.value == "Explore"
    assert "In the address: page = '../History' is not known: it must be one of explore," in _notice(pages)
    assert pages.explorer.controls.setup.seeds == 3


def test_presentation_is_part_of_the_address(opened):
    pages = opened("?presentation=1")
    assert pages.explorer.presentation.on
    assert pages.explorer.state.linked["presentation"].value() == 1
    assert not opened("?presentation=0").explorer.presentation.on
    assert "presentation = 'yes' is not allowed: it must be 0 or 1." in _notice(opened("?presentation=yes"))


def test_a_shortcut_presses_what_can_be_pressed_on_the_page_that_is_shown(opened):
    pages = opened()
    keyboard, pressed = pages.help.keyboard, []
    pages.explorer.display.transport._actions = {name: lambda name=name: pressed.append(name) for name in ICONS}
    pages.explorer.display.transport.refresh(pages.explorer.session)
    for key in (" ", "ArrowRight", "r", "x"):
        keyboard._handle_msg(key)
    assert pressed == ["Start", "Step", "Reset"]
    keyboard._handle_msg("7")
    assert pages.explorer.views.name == "Frontier"
    pages.show("History")
    keyboard._handle_msg(" ")
    keyboard._handle_msg("1")
    assert (len(pressed), pages.explorer.views.name) == (3, "Frontier")
    keyboard._handle_msg("?")
    assert pages.help.dialog.open


def test_another_place_in_the_line_is_said_and_nothing_else_drawn_anew(opened, monkeypatch):
    explorer = opened().explorer
    display, drawn, told = explorer.display, [], [Place(1, 12, "cpu")]
    monkeypatch.setattr(explorer.views, "draw", lambda: drawn.append(None))
    explorer.session._worker = SimpleNamespace(drain=lambda: told, close=lambda timeout: None)
    display.take_in()
    assert "12th in line for the CPU" in display._html["status"].object
    told[:] = [Place(1, 11, "cpu")]
    display.take_in()
    assert "11th in line for the CPU" in display._html["status"].object
    assert drawn == []


def test_no_test_can_reach_the_store_of_whoever_runs_it():
    assert str(user_data_path("optimizer-explorer")) not in os.environ["EXPLORER_STORE"]


def _notice(pages):
    return pages.explorer.notice.text.replace("&#x27;", "'")
