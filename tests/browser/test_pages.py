"""A person at the app: buttons, curves, numbers, messages."""

import gc
import threading
import time
import weakref
from urllib.parse import quote

import numpy as np
import pytest
from pages import epoch, press, sources, status, until

import explorer as ex
from explorer.training.fleet import Fleet

BUTTONS = ["Start", "Pause", "Step", "Stop", "Reset", "Reseed"]


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "explorer-worker"]


def test_a_run_from_start_to_stop_by_keyboard_equals_the_library(visit):
    page = visit("?seeds=1&first_seed=3")
    start = page.get_by_role("button", name="Start", exact=True)
    for _ in range(60):
        page.keyboard.press("Tab")
        if start.evaluate("button => button.getRootNode().activeElement === button"):
            break
    else:
        pytest.fail("Tab never reaches Start")
    page.keyboard.press("Enter")
    until(lambda: epoch(page) >= 3)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    held = epoch(page)
    time.sleep(1)
    assert epoch(page) == held
    press(page, "Step")
    until(lambda: epoch(page) == held + 1)
    time.sleep(0.6)
    assert epoch(page) == held + 1

    expected = ex.train(ex.Challenge.preset("tig"), ex.optimizers.create("adam"), seeds=[3], max_epochs=held + 1)
    shown = sources(page)
    for name, variable in (("train", "train_loss"), ("validation", "val_loss"), ("test", "test_loss")):
        assert shown[f"log {name}"]["epoch"] == list(range(1, held + 2))
        np.testing.assert_allclose(shown[f"log {name}"]["loss"], expected.history[variable][0], rtol=1e-6)
    row = expected.outcomes.iloc[0]
    for line, column in (
        ("threshold", "threshold"),
        ("kernel floor", "kernel_floor"),
        ("read-out floor", "readout_floor"),
        ("noise", "noise_mse"),
    ):
        np.testing.assert_allclose(shown[f"log {line}"]["y"], [row[column]], rtol=1e-12)
    assert shown["log best"] == {"epoch": [row.best_epoch], "loss": pytest.approx([row.test_loss], rel=1e-6)}

    press(page, "Start")  # goes on
    until(lambda: epoch(page) >= held + 3)
    press(page, "Stop")
    until(lambda: status(page).startswith("Stopped"))
    stopped = sources(page)["log test"]["loss"]
    time.sleep(0.6)
    assert sources(page)["log test"]["loss"] == stopped

    press(page, "Reset")
    until(lambda: epoch(page) == 0)
    press(page, "Start")
    until(lambda: epoch(page) >= len(stopped))
    press(page, "Stop")
    until(lambda: status(page).startswith("Stopped"))
    np.testing.assert_allclose(sources(page)["log test"]["loss"][: len(stopped)], stopped, rtol=1e-6)


def test_reseed_brings_another_instance(visit):
    page = visit()
    before = sources(page)["log threshold"]["y"]
    press(page, "Reseed")
    until(lambda: sources(page)["log threshold"]["y"] not in ([], before))
    assert page.get_by_role("textbox", name="First seed").input_value() == "1"
    until(lambda: "first_seed=1" in page.url)


def test_the_accuracy_factor_moves_the_threshold_at_once_and_the_address(visit):
    page = visit()
    press(page, "Start")
    until(lambda: epoch(page) >= 2)
    before = sources(page)["log threshold"]["y"][0]
    page.get_by_role("slider", name="Accuracy factor").press("ArrowRight")
    until(lambda: sources(page)["log threshold"]["y"][0] == pytest.approx(before * 3.95 / 4, rel=1e-9))
    until(lambda: "accuracy_factor=50" in page.url)
    press(page, "Stop")


def test_a_learning_rate_reaches_the_running_fleet_and_other_changes_wait(visit):
    page = visit()
    press(page, "Start")
    until(lambda: epoch(page) >= 3)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    held = epoch(page)
    rate = page.get_by_role("textbox", name="Learning rate")
    rate.fill("0")
    rate.press("Enter")
    page.get_by_role("slider", name="Hidden layers").press("ArrowRight")
    until(lambda: "At the next start: num hidden layers 5" in status(page))
    assert "lr" not in status(page)
    for _ in range(3):
        press(page, "Step")
    until(lambda: epoch(page) == held + 3)
    # Without a step length nothing but the running statistics moves, and those hardly touch the training loss.
    frozen = ex.train(
        ex.Challenge.preset("tig"), ex.optimizers.create("adam"), max_epochs=held + 3, on_epoch=None
    ).history.train_loss[0]
    shown = sources(page)["log train"]["loss"]
    np.testing.assert_allclose(shown[:held], frozen[:held], rtol=1e-6)
    assert not np.allclose(shown[held:], frozen[held:], rtol=1e-3)
    press(page, "Stop")


@pytest.mark.parametrize("value", ["nan", "-1", "fast", "1e99"])
def test_a_bad_learning_rate_gets_a_sentence_and_the_last_good_value(visit, value):
    page = visit()
    rate = page.get_by_role("textbox", name="Learning rate")
    rate.fill(value)
    rate.press("Enter")
    page.get_by_role("alert").get_by_text("is not allowed: it must be a number from 0").wait_for()
    until(lambda: float(rate.input_value()) == ex.optimizers.create("adam").lr)
    press(page, "Step")
    until(lambda: epoch(page) == 1)


def test_bad_entries_of_the_address_are_named_and_ignored(visit):
    page = visit("?num_hidden_layers=abc&accuracy_factor=4000&foo=1&lr=0.002&seeds=2")
    alert = page.get_by_role("alert").locator("p").text_content()
    assert "num_hidden_layers = 'abc' is not allowed: it must be an integer from 1 to 20" in alert
    assert "accuracy_factor = 4000.0 is not allowed" in alert
    assert "foo is not a setting" in alert
    assert page.get_by_role("textbox", name="Learning rate").input_value() == "0.002"
    assert page.get_by_role("slider", name="Hidden layers").input_value() == "4"
    until(lambda: "abc" not in page.url)
    assert "lr=0.002" in page.url
    assert "seeds=2" in page.url


def test_tags_in_an_address_stay_text(visit):
    tag = "<img src=none onerror=\"document.title='owned'\">"
    page = visit(f"?num_hidden_layers={quote(tag)}&{quote(tag)}=1")
    alert = page.get_by_role("alert")
    assert alert.locator("p").text_content().count("<img src=none") == 2
    assert alert.locator("img").count() == 0
    assert page.title() == "Optimizer Explorer"


def test_an_unreachable_challenge_is_explained_from_the_numbers(visit):
    page = visit("?preset=brief")
    floor = until(lambda: sources(page)["log kernel floor"]["y"])[0]
    threshold = sources(page)["log threshold"]["y"][0]
    said = page.get_by_text("No optimizer can expect to pass this").text_content()
    assert f"{floor / threshold:.2f} times the threshold" in said
    page.get_by_role("combobox", name="Preset").click()
    page.get_by_role("option", name="tig").click()
    page.get_by_text("The frozen read-out keeps ordinary optimizers").wait_for()


def test_a_sweep_shows_medians_and_a_diverging_run_ends_alone(visit):
    page = visit("?optimizer=sgd&lr=1e6,1e-3&seeds=2")
    press(page, "Start")
    until(lambda: epoch(page) >= 3)
    press(page, "Stop")
    until(lambda: "2 stopped" in status(page))
    assert "2 diverged at epoch 1" in status(page)
    test = sources(page)["log test"]
    assert all(low <= mid <= high for low, mid, high in zip(test["low"], test["loss"], test["high"], strict=True))
    page.get_by_role("switch", name="Single runs").click()
    until(lambda: len(sources(page)["log run 3"]["loss"]) == epoch(page))
    singles = [sources(page)[f"log run {run}"]["loss"] for run in range(4)]
    # Two of the four diverged in the first epoch, and count nowhere after it.
    np.testing.assert_allclose(np.nanmedian(singles, axis=0)[1:], test["loss"][1:], rtol=1e-9)


def test_zoom_survives_updates_until_follow(visit):
    page = visit()
    press(page, "Start")
    until(lambda: epoch(page) >= 2)
    box = page.locator(".bk-Canvas").first.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 60, steps=5)
    page.mouse.up()
    ends = "[...Bokeh.documents[0]._all_models.values()].filter(model => model.type === 'Figure')[0].x_range.end"
    until(lambda: page.get_by_role("switch", name="Follow").is_checked() is False)
    zoomed = page.evaluate(ends)
    assert zoomed < 50
    reached = epoch(page)
    until(lambda: epoch(page) >= reached + 3)
    assert page.evaluate(ends) == zoomed
    page.get_by_role("switch", name="Follow").click()
    until(lambda: page.evaluate(ends) >= 50)
    press(page, "Stop")


def test_linear_axis_catches_up(visit):
    page = visit()
    press(page, "Start")
    until(lambda: epoch(page) >= 3)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    page.get_by_role("switch", name="Log scale").click()
    until(lambda: sources(page)["linear test"]["loss"] == sources(page)["log test"]["loss"])
    press(page, "Stop")


def test_two_sessions_train_apart_and_closing_a_tab_frees_its_thread_and_fleet(app, browser):
    assert until(lambda: len(workers()) == 0, 10) is True
    fleets = weakref.WeakSet()
    build = Fleet.__init__

    def watched(self, *args, **kwargs):
        build(self, *args, **kwargs)
        fleets.add(self)

    Fleet.__init__ = watched
    try:
        first, second = browser.new_page(), browser.new_page()
        for page, query in ((first, "?first_seed=1&pace=3+epochs%2Fs"), (second, "?first_seed=2&pace=3+epochs%2Fs")):
            page.goto(app + query)
            page.get_by_role("button", name="Start", exact=True).wait_for()
            press(page, "Start")
        for page in (first, second):
            until(lambda page=page: epoch(page) >= 3)
        assert len(workers()) == 2
        assert sources(first)["log test"]["loss"][0] != sources(second)["log test"]["loss"][0]
        press(first, "Pause")
        until(lambda: status(first).startswith("Paused"))
        reached = epoch(second)
        until(lambda: epoch(second) >= reached + 2)
        assert len(fleets) == 2
        first.close()
        until(lambda: len(workers()) == 1, 5)
        reached = epoch(second)
        until(lambda: epoch(second) >= reached + 2)
        second.close()
        until(lambda: len(workers()) == 0, 5)
        gc.collect()
        assert len(fleets) == 0
    finally:
        Fleet.__init__ = build


@pytest.mark.parametrize("width", [1920, 1440, 390])
def test_every_control_has_its_name_and_nothing_overflows(visit, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    visit()
    for name in BUTTONS:
        assert page.get_by_role("button", name=name, exact=True).count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
