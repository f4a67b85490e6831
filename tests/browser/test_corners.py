"""Every view in a real browser, however little or much there is to see, with records that a worker says by heart."""

import itertools
from typing import ClassVar

import corners
import pytest
from pages import press, sources, status, until

from explorer.records import Phase
from explorer.training.experiment import Started
from explorer.training.worker import Worker

VIEWS = ("Losses", "Race", "Sweep", "Function", "Inside", "Landscape", "Frontier")
NAMES = ("adam", "sgd")
FIGURES = """() => {
  const found = []
  const walk = view => {
    if (view.model.type === 'Figure') {
      if (view.el.getBoundingClientRect().width > 0)
        found.push(view.has_finished() && view.frame.bbox.width > 100 && view.frame.bbox.height > 50)
    } else for (const child of view.children ? view.children() : view.child_views || []) walk(child)
  }
  for (const view of Bokeh.index.roots) walk(view)
  return found
}"""


class Parrot(Worker):
    """Trains nothing, and says what it is told to."""

    made: ClassVar[list] = []

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        Parrot.made.append(self)

    def start(self, plan, paused=False):
        self._latest = next(self._generations)
        return self._latest

    def say(self, *records):
        for record in records:
            self._records.put(record)

    def begin(self, runs):
        told = Started(self._latest, (corners.runs(runs),) * 2)
        self.say(told, *(corners.instances(runs, lane, self._latest) for lane in range(2)))

    def go_on(self, runs, epochs, lost, first=1, phase=Phase.RUNNING):
        at = {"generation": self._latest}
        for lane in range(2):
            self.say(corners.snapshot(runs, epochs, lost, lane, first=first, phase=phase, **at))
            if epochs:
                self.say(corners.learnt(epochs, lost, lane=lane, **at))
                self.say(*(look for look in corners.looks(epochs, lost, lane, **at) if look.epoch >= first - 1))
        if epochs:
            self.say(corners.landscape(NAMES, epochs, **at))


def expected(view, runs, epochs, lost):
    """The data source to look at, its column, and how much that should hold."""
    swept = runs > 1 and epochs > 0
    there = {
        "Losses": ("log test", "epoch", epochs),
        "Race": ("race lane 1", "x", epochs),
        "Sweep": ("sweep log lane 1", "y", 2 if swept else 0),
        "Function": ("output 1 kept", "x", 21 if epochs else 0),
        "Inside": ("inside cosine", "left", 3 * -(-epochs // 10) if epochs and not lost else 0),
        "Landscape": ("landscape path 0", "x", min(epochs, 60)),
        "Frontier": ("frontier lines points", "x", 2 if epochs and not (lost and runs == 1) else 0),
    }
    return there[view]


def walk(page, runs, epochs, lost):
    """Through all views: each has drawn all of its figures, and holds what there is."""

    def holds(view):
        name, column, count = expected(view, runs, epochs, lost)
        figures = page.evaluate(FIGURES)
        assert all(figures)
        hidden = (view == "Sweep" and runs == 1) or (view == "Inside" and not count)
        assert (view, bool(figures)) == (view, not hidden)
        assert hidden or (view, len(sources(page)[name][column])) == (view, count)
        return True

    for view in VIEWS:
        page.get_by_role("button", name=view, exact=True).click()
        until(lambda view=view: holds(view))


@pytest.fixture
def told(monkeypatch, visit, caplog):
    """The page of an app whose worker is a parrot, and the parrot; what a server's log calls an error fails."""
    monkeypatch.setattr("explorer.app.session.Worker", Parrot)
    Parrot.made.clear()
    page = visit("?seeds=1&lane2=optimizer%3Dsgd")
    yield page, until(lambda: Parrot.made)[-1]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert page.get_by_text("could not be updated").count() == 0


def test_every_view_survives_from_nothing_to_256_runs_of_1000_epochs(told):
    page, parrot = told
    for runs, stops, lost in [(1, (0, 1), False), (2, (40,), True), (256, (400, 1000), False)]:
        press(page, "Start")
        until(lambda: status(page).startswith("Preparing"))
        parrot.begin(runs)
        for before, epochs in itertools.pairwise((0, *stops)):
            phase = Phase.STOPPED if epochs == stops[-1] else Phase.RUNNING
            parrot.go_on(runs, epochs, lost, before + 1, phase)
            walk(page, runs, epochs, lost)
        until(lambda: status(page).startswith("Stopped"))
