"""The page of tournaments, without a browser: its ticks are called here."""

import time

import panel as pn
import pytest
import tomli_w
from bokeh.document import Document
from panel.io.state import set_curdoc
from tournament_tiny import TINY, spec

from explorer.app.pages import Pages
from explorer.app.presentation import Presentation
from explorer.app.tournament import TournamentPage
from explorer.app.tournament_form import harmless
from explorer.records import Phase
from explorer.tournament import Store, Tournament, here, parse
from explorer.views.style import DESK, HALL, scale_of

ENDLESS = [{"name": "u", "settings": TINY | {"patience": 10_000}, "instances": [1], "targets": [1e-9]}]

WIDE = {"name": "u", "settings": TINY, "instances": [1, 2, 3, 4, 5], "targets": [1] * 5}
MANY = [{"optimizer": "adam"}, {"optimizer": "sgd"}, {"optimizer": "lion"}]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A new page, as often as it is called, all on one store."""
    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/store.db")
    made = []

    def opened():
        document = Document()
        with set_curdoc(document):
            made.append(TournamentPage(Presentation(lambda: None)))
            page = made[-1]
            page.main.get_root(document)  # the plots are drawn
        return page

    yield opened
    for page in made:
        page.close()


def tick(page):
    with set_curdoc(page._document), pytest.raises(StopIteration):  # it awaits nothing; a browser's tests leave a loop
        page._tick().send(None)


def until(page, true, seconds=40):
    end = time.monotonic() + seconds
    while True:
        page._looked = 0.0
        tick(page)
        if true():
            return
        assert time.monotonic() < end, f"waited in vain: {said(page)}"
        time.sleep(0.01)


def said(page, name="status"):
    return page._html[name].object


def use(page, told):
    """Hold what this text tells."""
    page._form._text.value = tomli_w.dumps(told)
    page._form._use(None)
    tick(page)


def enabled(page):
    return {name for name, button in page._buttons.items() if not button.disabled}


def test_from_the_choice_to_the_scores(opened):
    page = opened()
    use(page, spec())
    assert "<b>0 of 8 fleets</b>" in said(page)
    assert "not known yet" in said(page)
    assert enabled(page) == {"Start", "Estimate time"}
    page.measure()
    until(page, lambda: "At most" in said(page))
    assert "3 of 4 kinds of fleets timed, the others scaled" in said(page)
    page.start()
    until(page, lambda: "Finished" in said(page))
    assert enabled(page) == {"Delete"}
    assert page._choice.value == parse(spec()).key
    board = page._scores._html["board"].object
    score = Tournament(parse(spec()), page._store).scores("seconds").benchmark["external", "adam"]
    assert f"<b>{score:.4f}</b>" in board
    assert "u_noise (held out)" in board
    assert '<svg width="90"' in board
    assert "▷ missed" in board
    (plots,) = page._scores._profiles.plots()
    assert sorted(plots["profiles"].handles["cds"].data["submission"]) == ["adam", "sgd"]
    (plots,) = page._scores._times.plots()
    assert len(plots["reached"].handles["cds"].data["x"]) + len(plots["missed"].handles["cds"].data["x"]) == 8
    (plots,) = page._scores._curves.plots()
    assert len(plots["lines"].handles["cds"].data["xs"]) == 4  # two studies, two trials


def test_a_tap_opens_the_submissions_curves(opened):
    list(Tournament(parse(spec()), Store(None)).play(here("cpu")))
    page = opened()
    page._list()
    page._choose(parse(spec()).key)
    tick(page)
    assert page._scores._submission.value == "adam"
    (plots,) = page._scores._times.plots()
    for role in ("reached", "missed"):
        source = plots[role].handles["cds"]
        if "sgd" in source.data["submission"]:
            source.selected.indices = [source.data["submission"].index("sgd")]
            break
    assert page._scores._submission.value == "sgd"
    tick(page)
    assert "<b>sgd</b> on <b>u</b>" in page._scores._html["curves"].object


def test_paused_closed_and_found_again(opened):
    told = spec(workloads=[*spec()["workloads"][:1], ENDLESS[0] | {"name": "v"}], max_epochs=10_000)
    page = opened()
    use(page, told)
    page.start()
    until(page, lambda: "<b>2 of 8 fleets</b>" in said(page) and "Training: adam on v" in said(page))
    page.pause()
    until(page, lambda: "Paused: adam on v" in said(page))
    assert enabled(page) == {"Start", "Stop"}
    assert page._buttons["Start"].label == "Continue"
    page.start()
    until(page, lambda: "Training: adam on v" in said(page))
    page.close()
    again = opened()
    assert any("2 of 8" in label for label in again._choice.options)
    again._choose(parse(told).key)
    tick(again)
    assert "<b>2 of 8 fleets</b>" in said(again)
    assert "adam, sgd" in said(again, "about")
    again.start()
    until(again, lambda: "Training: adam on v" in said(again))
    again.stop()
    until(again, lambda: again._report.phase is Phase.STOPPED)
    assert "<b>2 of 8 fleets</b>" in said(again)


def test_what_another_process_trains_fills_in(opened):
    page = opened()
    use(page, spec())
    for place, _ in enumerate(Tournament(parse(spec()), Store(None)).play(here("cpu"))):
        if place == 1:
            break
    until(page, lambda: "<b>2 of 8 fleets</b>" in said(page))
    assert "<td><b>" in page._scores._html["board"].object
    assert '<svg width="90"' not in page._scores._html["board"].object  # one study has no interval
    assert "1 of 2 studies on 1 of 2 workloads" in page._scores._html["board"].object


def test_to_delete_takes_two_presses(opened):
    list(Tournament(parse(spec()), Store(None)).play(here("cpu")))
    page = opened()
    page._choose(parse(spec()).key)
    tick(page)
    page.delete()
    tick(page)
    assert page._buttons["Delete"].label == "Delete for good?"
    assert len(Store(None).held()) == 1
    page.delete()
    tick(page)
    assert Store(None).held() == []
    assert page._choice.value == ""


def test_the_form_tells_a_spec_and_shows_it_as_a_text(opened):
    page = opened()
    form = page._form
    form._entrants.value = ["adam", "sgd"]
    form._baseline.value = "sgd"
    form._rulesets.value = ["external", "self_tuning"]
    form.budget.studies = 2
    form._moved()
    tick(page)
    told = form.spec()
    assert [one.name for one in told.submissions] == ["adam", "sgd"]
    assert (told.baseline, [one.key for one in told.rulesets]) == ("sgd", ["external", "self_tuning"])
    assert "<b>0 of 8 fleets</b>" in said(page)
    assert '{ optimizer = "sgd" }' in form._text.value
    form._rulesets.value = []
    tick(page)
    assert "rulesets = [] is not allowed" in said(page, "notice")
    assert "Start" not in enabled(page)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (spec(submissions=[{"plugin": "mine.py"}]), "plugin = is not allowed on this page"),
        (spec(submissions=[{"optimizer": "torch:SGD"}]), "optimizer = 'torch:SGD' is not known"),
        (spec(submissions=[7]), "submission 1 = 7 is not allowed"),
        (spec(submissions=7), "submissions = 7 is not allowed"),
        (spec(external={"studies": 999, "trials": 999}, workloads=spec()["workloads"][:1] * 2), "'u' is twice"),
        (spec(external={"studies": 999, "trials": 1}, submissions=MANY), "5994 fleets of 3 runs are too many"),
        (spec(external={"studies": 1, "trials": 999}, workloads=[WIDE]), "2 fleets of 4995 runs are too many"),
    ],
)
def test_what_no_page_may_hold_is_refused(told, sentence):
    with pytest.raises(ValueError, match=sentence):
        harmless(told)


def test_a_text_that_is_no_spec_is_a_sentence(opened):
    page = opened()
    for text, sentence in (
        ("a = ", "Invalid value"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = 1", "a is not"),
    ):
        page._form._text.value = text
        page._form._use(None)
        assert sentence in said(page, "notice")


def test_a_store_that_cannot_be_opened_is_a_sentence(monkeypatch):
    monkeypatch.setenv("EXPLORER_STORE", "sqlite:////dev/null/store.db")
    with set_curdoc(Document()):
        page = TournamentPage(Presentation(lambda: None))
    tick(page)
    assert "The store at /dev/null/store.db cannot be opened" in said(page, "notice")
    assert enabled(page) == set()
    page.close()


def test_its_figures_are_as_large_as_the_mode_says(opened):
    document, presentation = Document(), Presentation(lambda: None)
    with set_curdoc(document):
        page = TournamentPage(presentation)
        page.main.get_root(document)
    figures = [plot.state for pane in page.main.select(pn.pane.HoloViews) for plot, _ in pane._plots.values()]
    scales = []
    for on in (False, True, False):
        presentation.switch.value = on
        tick(page)
        scales.append({scale_of(figure) for figure in figures})
    page.close()
    assert len(figures) > 1
    assert scales == [{DESK}, {HALL}, {DESK}]


def test_it_is_a_page_beside_the_explorer():
    with set_curdoc(Document()):
        pages = Pages()
        pages.show("Tournament")
    assert isinstance(pages._made["Tournament"], TournamentPage)
    pages._made["Tournament"].close()
    pages.explorer.close()
