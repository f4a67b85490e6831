"""axe-core on every page, tab and dialog, in both themes."""

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import press, status, until

QUICK = "?seeds=2&lr=0.001,0.01&width=8&train_size=128&batch_size=64&max_epochs=8&patience=1000&lane2=optimizer%3Dmuon"
VIEWS = ("Losses", "Race", "Sweep", "Function", "Inside", "Landscape", "Frontier")
FOLDS = ("Data and model", "Runs", "About the optimizer", "Share and download")
# Tabulator's own: a grid with its header and its footer beside the rows, which its makers do not tell apart by roles.
NOT_OURS = {("aria-required-children", "tabulator")}
AXE = Axe()


def offences(page, rules=None):
    """What axe finds serious or critical: rule and element."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = AXE.run(page, options=options).response["violations"]
    told = [
        (violation["id"], node["html"], node.get("failureSummary", ""))
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    return [one for one in told if not any(one[0] == rule and part in one[1] for rule, part in NOT_OURS)]


@pytest.mark.timeout(300)
def test_axe_finds_nothing_serious_on_any_page_in_either_theme(visit):
    page = visit(QUICK)
    press(page, "Start")
    until(lambda: status(page).startswith("Finished"))

    def look(where, rules=None):
        began = time.monotonic()
        while (found := offences(page, rules)) and time.monotonic() - began < 10:
            page.wait_for_timeout(500)  # colours fade in
        assert found == [], where

    def walk(rules=None):
        for view in VIEWS:
            press(page, view)
            until(lambda view=view: f"view={view}" in page.evaluate("location.search") or view == "Losses")
            look(view, rules)
        press(page, "Presentation")
        look("presentation", rules)
        press(page, "Presentation")
        for fold in FOLDS:
            press(page, fold)
        press(page, "Help")
        page.get_by_role("dialog").wait_for()
        look("folds and help", rules)
        page.keyboard.press("Escape")
        until(lambda: page.get_by_role("dialog").count() == 0)
        for fold in FOLDS:
            press(page, fold)
        for name in ("Tournament", "History"):
            press(page, name)
            until(lambda name=name: f"page={name.lower()}" in page.evaluate("location.search"))
            look(name, rules)
        press(page, "Explore")

    walk()
    press(page, "Toggle theme")
    walk(["color-contrast"])  # what has another colour in the dark has the same roles and names
    page.get_by_role("combobox", name="Lesson").click()
    look("the lessons' menu")
    page.get_by_role("option", name="Gradient descent").click()
    page.get_by_text("Predict first.").wait_for()
    look("a lesson")
    press(page, "Toggle theme")
    look("a lesson in the light", ["color-contrast"])
