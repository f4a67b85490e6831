"""Lessons: every step can be set up, its check passes as asked and tells a mistake, and bad files are named."""

import re

import pytest
from typer.testing import CliRunner

import explorer as ex
from explorer.app.explorer import Explorer
from explorer.app.lesson_trial import faults, trial
from explorer.app.session import Lane
from explorer.cli import app
from explorer.lessons import SHELF, Facts, read, shelf
from explorer.lessons.expressions import filled, parse
from explorer.views.style import number

LESSONS = shelf()
STEPS = [(lesson.key, place) for lesson in LESSONS.values() for place in range(1, len(lesson.steps) + 1)]


def test_there_are_the_lessons_that_a_course_needs():
    assert len(LESSONS) >= 8
    assert [lesson.order for lesson in LESSONS.values()] == sorted(lesson.order for lesson in LESSONS.values())


@pytest.mark.parametrize("key", LESSONS)
def test_addresses_are_taken_without_complaint_and_what_is_changed_is_open(key):
    assert faults(LESSONS[key]) == []


@pytest.mark.parametrize(("key", "place"), STEPS)
def test_a_check_passes_as_asked_and_tells_a_plausible_mistake(key, place):
    step = LESSONS[key].steps[place - 1]
    missing, facts = trial(step, step.asked)
    assert missing == 0, step.check[missing - 1].otherwise
    assert "–" not in filled(step.reveal, facts, number)  # every number that is told is there
    if step.prediction is not None and step.prediction.choices:
        assert sum(bool(choice.true(facts)) for choice in step.prediction.choices) == 1
    missing, facts = trial(step, step.wrong)
    assert missing == step.fails
    assert "–" not in filled(step.check[missing - 1].otherwise, facts, number)


def test_nothing_is_reached_before_a_run():
    assert all(step.missing(Facts([])) for lesson in LESSONS.values() for step in lesson.steps)


@pytest.fixture(scope="module")
def facts():
    """A fleet of two learning rates and two seeds, and a lane that has not begun."""
    from explorer.records import History, Instances, Snapshot

    challenge = ex.Challenge(width=4, num_hidden_layers=1, train_size=16, batch_size=16, num_features=8, max_epochs=3)
    adam = ex.optimizers.create("adam", lr=[0.01, 0.1])
    seen: list[Snapshot] = []
    result = ex.train(challenge, adam, seeds=range(2), device="cpu", on_epoch=seen.append)
    from explorer.records import Run

    history = History([Run(seed, {"lr": lr}) for lr in (0.01, 0.1) for seed in range(2)])
    for snapshot in seen:
        history.append(snapshot)
    table = result.outcomes
    floors = [table[name].to_numpy() for name in ("noise_mse", "kernel_floor", "feature_floor", "readout_floor")]
    lane = Lane(0, "a", challenge, adam, history, Instances(1, *floors))
    made = Facts([lane, Lane(1, "b", challenge, ex.optimizers.create("sgd"))])
    made.table, made.result = table, result
    return made


def test_words_say_what_the_library_says(facts):
    table, history = facts.table, facts.result.history

    def said(text):
        return parse(text)(facts)

    assert said("median(test_loss, lane=1)") == pytest.approx(table.test_loss.median())
    assert said("highest(test_loss, lr=0.1)") == pytest.approx(table[table.lr == 0.1].test_loss.max())
    assert said("count(max_epochs)") == 4
    assert said("share(max_epochs, lr=0.1, seed=1)") == 1
    assert said("runs") == 4
    assert said("values(lr)") == 2
    assert said("setting(width) == 4 and setting(optimizer, lane=2) == 'sgd' and not setting(optimizer) == 'sgd'")
    assert said("last(val_loss)") == pytest.approx(history.val_loss[:, -1].median().item())
    assert said("least(train_loss)") == pytest.approx(history.train_loss.min("epoch").median().item())
    first = history.train_loss[0, 0].item()
    assert said(f"reached(train_loss, {first + 1e-9}, lr=0.01, seed=0)") == 1
    assert said("reached(train_loss, -1, lane=1)") == float("inf")
    best = table.groupby("lr").test_loss.median().idxmin()
    assert said("winner(lr)") == best
    assert said("1 + 2 * 3 - 4 / 2 < -(-6)")
    assert filled("{median(kernel_floor) / 0} and {lanes}", facts, number) == "– and 2"


def test_where_nothing_is_known_no_comparison_holds(facts):
    for text in ("median(test_loss, lane=2)", "median(test_loss, lane=9)", "inside(cosine)", "setting(nonsense)"):
        for comparison in ("<", ">", "=="):
            assert not parse(f"{text} {comparison} 1")(facts)
    assert not parse("finished")(facts)  # the second lane has not begun


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", "not allowed in a lesson"),
        ("median.__class__", "not allowed in a lesson"),
        ("[1][0]", "not allowed in a lesson"),
        ("2 ** 999", "not allowed in a lesson"),
        ("open", "'open' in 'open' is not known: it must be one of"),
        ("median(tset_loss)", "'tset_loss' in 'median(tset_loss)' is not known"),
        ("median()", "takes number in its brackets"),
        ("finished(lane=1)", "takes no named arguments"),
        ("median(test_loss, lane=runs)", "must be a plain number"),
        ("median('test_loss')", "must be a name"),
        ("1 +", "is not an expression"),
    ],
)
def test_an_expression_that_is_none_is_named(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(text)


FILE = """
title: Mine
summary: A try.
steps:
  - title: One
    text: Press Start.
    address: ?preset=brief&width=8&max_epochs=2&input_dims=1&train_size=16&batch_size=16&num_features=8
    open: [max_epochs]
    check:
      - is: finished
        otherwise: Press Start.
      - is: median(epochs) >= 2
        otherwise: Only {median(epochs)} epochs.
    reveal: It took {median(epochs)} epochs.
    wrong: max_epochs=1
    fails: 2
"""


def test_a_teachers_lesson_is_found_checked_and_run(tmp_path):
    (tmp_path / "mine.yaml").write_text(FILE)
    assert list(shelf([SHELF, tmp_path])) == [*LESSONS, "mine"]
    done = CliRunner().invoke(app, ["lessons", "list", str(tmp_path)])
    assert "?lesson=mine" in done.stdout
    mine = shelf([tmp_path])["mine"]
    assert faults(mine) == []
    assert [trial(mine.steps[0], changes)[0] for changes in ({}, {"max_epochs": "1"})] == [0, 2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: Mine", "titel: Mine", "title is missing"),
        ("    text: Press", "    colour: red\n    text: Press", "colour is not known"),
        ("is: finished", "is: finnished", "'finnished' in 'finnished' is not known"),
        ("{median(epochs)} epochs.\n    wrong", "{median(apples)} epochs.\n    wrong", "reveal: 'apples'"),
        ("fails: 2", "fails: 3", "fails = 3 must be the number of a condition"),
        ("open: [max_epochs]", "open: [wdith]", "open: wdith is not a control"),
        ("open: [max_epochs]", "open: [width]", "max_epochs is changed, but its control is not open"),
        ("brief&width=8", "brief&width=8&nonsense=1", "nonsense is not a setting"),
        ("wrong: max_epochs=1", "wrong: max_epochs=0", "max_epochs = 0 is not allowed"),
        ("steps:", "steps: [", "is not YAML"),
    ],
)
def test_what_is_wrong_in_a_lesson_is_told(tmp_path, old, new, said):
    (tmp_path / "mine.yaml").write_text(FILE.replace(old, new))
    done = CliRunner().invoke(app, ["lessons", "check", str(tmp_path)])
    assert done.exit_code in (1, 2)
    assert said in done.output


def test_a_file_with_a_strange_name_is_refused(tmp_path):
    (tmp_path / "My lesson.yaml").write_text(FILE)
    with pytest.raises(ValueError, match="is named with lower-case letters"):
        read(tmp_path / "My lesson.yaml")


def test_a_lesson_sets_everything_up_waits_for_the_prediction_and_reveals(tmp_path):
    asked = """    predict:
      question: How many epochs?
      choices:
        - {says: One., when: median(epochs) == 1}
        - {says: Two., when: median(epochs) == 2}
    check:"""
    (tmp_path / "mine.yaml").write_text(FILE.replace("    check:", asked))
    explorer = Explorer(lessons=shelf([tmp_path]))
    try:
        explorer.controls._challenge["width"].widget.value = "99"
        explorer.lesson._choice.value = "mine"
        assert explorer.controls.challenge.max_epochs == 2
        assert explorer.controls.challenge.width == 8
        shown = [name for name, field in explorer.controls._challenge.items() if field.widget in _visible(explorer)]
        assert shown == ["max_epochs"]
        explorer.start()
        assert explorer.session.plan is None  # predict first
        explorer.lesson._answers.value = "One."
        explorer.start()
        while explorer.session.busy:
            explorer.session.drain()
        explorer.lesson.refresh(explorer.session)
        assert explorer.lesson.reached
        assert explorer.lesson._reveal.object == "It took 2 epochs."
        assert "You predicted: One.  The run says: Two." in explorer.lesson._said.object
        explorer.lesson._choice.value = ""
        assert explorer.controls.challenge.max_epochs == 2  # everything stays
        assert set(explorer.controls._challenge) == {
            name for name, field in explorer.controls._challenge.items() if field.widget in _visible(explorer)
        }
    finally:
        explorer.close()


def _visible(explorer):
    """The widgets that the side panel shows."""

    def walk(item):
        if getattr(item, "visible", True):
            yield item
            for child in getattr(item, "objects", ()):
                yield from walk(child)

    return list(walk(explorer.sidebar))
