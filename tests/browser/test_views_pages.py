"""Lanes and views in a real browser: each draws, follows the training, and survives being left and come back to."""

import numpy as np
import pandas as pd
import pytest
from pages import press, sources, status, until

import explorer as ex

LANES = "&lane2=optimizer%3Dsgd%26lr%3D0.01%26name%3DPlain"
QUICK = "&width=64&train_size=512&batch_size=64&patience=1000"


def choose(page, view):
    """Show a view."""
    page.get_by_role("button", name=view, exact=True).click()


def length(page, name, column):
    """How much a data source in the browser holds."""
    return len(sources(page).get(name, {}).get(column, ()))


def test_a_race_draws_every_lane_as_the_library_trains_it(visit):
    page = visit("?optimizer=adam&seeds=2" + QUICK + LANES)
    choose(page, "Race")
    press(page, "Start")
    until(lambda: length(page, "race lane 1", "x") >= 6)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    until(lambda: length(page, "race lane 0", "x") == length(page, "race lane 1", "x"))
    shown = sources(page)["race lane 1"]
    challenge = ex.Challenge.preset("tig", width=64, train_size=512, batch_size=64, patience=1000)
    optimizer = ex.optimizers.create("sgd", lr=0.01)
    alone = ex.train(challenge, optimizer, seeds=range(2), device="cpu", max_epochs=len(shown["x"])).history
    np.testing.assert_allclose(shown["loss"], np.median(alone.test_loss.values, axis=0), rtol=1e-9)
    assert page.get_by_text("Plain").count() >= 1
    rows = page.locator(".tabulator-row")
    worst = rows.last.inner_text()
    heads = page.locator(".tabulator-col-title")
    heads.get_by_text("quality", exact=True).click()
    until(lambda: rows.first.inner_text() == worst)
    page.get_by_role("button", name="2 Plain").click()
    page.get_by_role("switch", name="Compare this lane").click()
    until(lambda: length(page, "race lane 1", "x") == 0)
    press(page, "Stop")


@pytest.mark.parametrize(
    ("view", "query", "source", "column"),
    [
        ("Function", "", "output 0 kept", "x"),
        ("Inside", "", "inside gradient_norm", "left"),
        ("Sweep", "&lr=0.001,0.003", "sweep log lane 0", "y"),
    ],
)
def test_a_view_draws_while_training_and_again_after_it_was_left(visit, view, query, source, column):
    page = visit(f"?view={view}" + QUICK + query)
    press(page, "Start")
    until(lambda: length(page, source, column) > 0, 30)
    before = sources(page)[source]
    choose(page, "Losses")
    until(lambda: length(page, "log test", "epoch") >= 4)
    choose(page, view)
    until(lambda: sources(page)[source] != before, 30)
    press(page, "Stop")
    until(lambda: status(page).startswith(("Stopped", "Finished")))


def test_a_value_picked_out_of_a_sweep_draws_its_runs_while_they_train(visit):
    page = visit("?view=Sweep&lr=0.001,0.003" + QUICK)
    press(page, "Start")
    until(lambda: length(page, "sweep log lane 0", "y") > 0, 30)
    page.get_by_role("combobox", name="Value").click()
    page.get_by_role("option", name="0.003").click()
    until(lambda: length(page, "picked log test", "epoch") >= 4)
    legend = page.locator(".chips b", has_text="η = 0.003").locator("visible=true")
    until(legend.count)
    page.get_by_role("combobox", name="Value").click()
    page.get_by_role("option", name="best value").click()
    until(lambda: legend.count() == 0)
    press(page, "Stop")
    until(lambda: status(page).startswith("Stopped"))


def test_the_landscape_is_computed_when_asked_for(visit):
    page = visit("?view=Landscape" + QUICK + LANES)
    press(page, "Start")
    until(lambda: status(page).startswith("Training"))
    choose(page, "Losses")
    until(lambda: length(page, "log test", "epoch") >= 4)
    press(page, "Stop")
    until(lambda: status(page).startswith("Stopped"))
    choose(page, "Landscape")
    press(page, "Compute surface")
    until(lambda: page.get_by_text("The plane holds").count(), 40)


def test_a_frontier_trains_every_depth(visit):
    page = visit("?view=Frontier&seeds=2" + QUICK)
    depths = page.get_by_label("Depths")
    depths.fill("2, 3")
    depths.press("Tab")
    press(page, "Train the frontier")
    until(lambda: page.get_by_text("3 layers").count(), 30)
    until(lambda: page.get_by_text("accuracy factor that half pass").count())
    press(page, "Reset")


def test_replay_takes_the_curves_back_and_lets_them_go_on(visit):
    page = visit("?" + QUICK)
    press(page, "Start")
    until(lambda: length(page, "log test", "epoch") >= 8)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    whole = sources(page)["log test"]["loss"]
    page.get_by_role("switch", name="Replay").click()
    slider = page.get_by_label("Epoch shown")
    until(lambda: slider.get_attribute("aria-valuenow") == str(len(whole)))  # it moves there when it is switched on
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    until(lambda: sources(page)["log test"]["loss"] == whole[:-3])
    until(lambda: f"epoch={len(whole) - 3}" in page.url)
    page.get_by_role("switch", name="Replay").click()
    until(lambda: sources(page)["log test"]["loss"] == whole)
    press(page, "Stop")


PLACE = """([name, at]) => {
  let found = null
  const walk = view => {
    if (view.model.type === 'Figure') {
      if (view.el.getBoundingClientRect().width === 0) return
      for (const {data_source} of view.model.renderers) if (data_source?.name === name) {
        const box = view.canvas_view.el.getBoundingClientRect()
        const [x, y] = [Array.from(data_source.data.epoch)[at], Array.from(data_source.data.loss)[at]]
        found = [box.x + view.frame.x_scale.compute(x), box.y + view.frame.y_scale.compute(y)]
      }
    } else for (const child of view.children ? view.children() : view.child_views || []) walk(child)
  }
  for (const view of Bokeh.index.roots) walk(view)
  return found
}"""


def test_the_run_that_is_tapped_and_the_epoch_that_is_replayed_go_through_all_views(visit):
    page = visit("?optimizer=adam&seeds=3&pace=10+epochs%2Fs" + QUICK + LANES)
    press(page, "Start")
    page.get_by_role("switch", name="Single runs").click()
    until(lambda: length(page, "log run 2", "epoch") >= 5)

    def tapped():
        page.mouse.click(*page.evaluate(PLACE, ["log run 2", 3]))
        return page.get_by_label("Run", exact=True).input_value() == "2"

    until(tapped)
    taken = length(page, "log run 2", "epoch")
    until(lambda: length(page, "log run 2", "epoch") >= taken + 8)
    press(page, "Pause")
    until(lambda: status(page).startswith("Paused"))
    own = sources(page)["log run 2"]["loss"]
    choose(page, "Race")
    page.get_by_role("switch", name="One run").click()
    until(lambda: sources(page)["race lane 0"]["loss"] == own)
    choose(page, "Landscape")
    press(page, "Compute surface")
    until(lambda: page.get_by_text("Run 2 (seed 2), 2 paths").count(), 40)
    choose(page, "Inside")
    until(lambda: page.get_by_label("Run", exact=True).locator("visible=true").input_value() == "2")
    choose(page, "Function")
    until(lambda: page.get_by_text(f"Run 2 (seed 2) at epoch {len(own)}").count())
    page.get_by_role("switch", name="Replay").click()
    slider = page.get_by_label("Epoch shown")
    until(lambda: slider.get_attribute("aria-valuenow") == str(len(own)))
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    then = len(own) - 3
    until(lambda: page.get_by_text(f"Run 2 (seed 2) at epoch {then}").count())
    assert page.get_by_text(f"the losses of all {len(own)} epochs; the weights of run 2 from epoch").count() == 1
    choose(page, "Race")
    until(lambda: sources(page)["race lane 0"]["loss"] == own[:then])
    choose(page, "Landscape")
    until(lambda: sources(page)["landscape path 0"]["epoch"][-1] == then)
    press(page, "Stop")


def test_the_link_that_is_copied_opens_the_same(visit):
    page = visit("?view=Race&optimizer=lion&lr=0.002" + LANES)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Share and download").click()
    press(page, "Copy link")
    link = until(lambda: page.evaluate("navigator.clipboard.readText()"))
    assert link == page.url
    for part in ("view=Race", "optimizer=lion", "lr=0.002", "lane2="):
        assert part in link


def test_an_address_opens_the_view_the_lanes_and_the_epoch(visit):
    page = visit("?view=Race&lane=2&epoch=3&pace=10+epochs%2Fs" + QUICK + LANES)
    press(page, "Start")
    until(lambda: length(page, "race lane 1", "x") == 3)
    until(lambda: "Training" in status(page))
    page.wait_for_timeout(600)
    assert length(page, "race lane 1", "x") == 3
    assert page.get_by_role("button", name="2 Plain").get_attribute("aria-pressed") == "true"
    for part in ("view=Race", "lane=2", "epoch=3", "lane2="):
        assert part in page.url
    press(page, "Stop")


def test_downloads_hold_what_is_shown(visit, tmp_path):
    page = visit("?" + QUICK)
    press(page, "Start")
    until(lambda: length(page, "log test", "epoch") >= 3)
    press(page, "Stop")
    until(lambda: status(page).startswith("Stopped"))
    page.get_by_role("button", name="Share and download").click()
    files = {}
    for name, ending in (("PNG", "png"), ("SVG", "svg"), ("CSV", "csv"), ("Page (HTML)", "html")):
        with page.expect_download() as found:
            press(page, name)
        files[ending] = tmp_path / f"shown.{ending}"
        found.value.save_as(files[ending])
    assert pd.read_csv(files["csv"]).test_loss.tolist() == sources(page)["log test"]["loss"]
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in files["svg"].read_text()[:300]
    alone = page.context.new_page()
    asked = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(files["html"].as_uri())
    until(lambda: alone.evaluate("Bokeh.documents.length"))
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    alone.close()
