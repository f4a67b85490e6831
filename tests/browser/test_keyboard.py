"""The app by keyboard alone, and as a lecture hall sees it."""

import pytest
from pages import epoch, press, status, until

QUICK = "width=64&train_size=512&batch_size=64&patience=1000&pace=10+epochs%2Fs"
SIZES = """() => {
  const found = {root: getComputedStyle(document.documentElement).fontSize, ticks: [], lines: []}
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type.endsWith('Axis')) {
      found.ticks.push(model.major_label_text_font_size)
      found.color = model.major_label_text_color
    }
    if (model.type === 'Line') found.lines.push(model.line_width.value ?? model.line_width)
  }
  return {root: found.root, color: found.color, ticks: [...new Set(found.ticks)], line: Math.max(...found.lines)}
}"""
SHOWN = """element => element.matches(':focus-visible')
  && (element.closest('.Mui-focused, .Mui-focusVisible') !== null
    || getComputedStyle(element).outlineStyle !== 'none')"""


def asked(page):
    """The address's query as it is now."""
    return page.evaluate("location.search")


def test_shortcuts_do_what_the_buttons_do_and_can_be_turned_off(visit):
    page = visit("?" + QUICK)
    press(page, "Start")  # by the pointer, which leaves the focus where Space must not press again
    until(lambda: epoch(page) >= 2)
    page.keyboard.press("Space")
    until(lambda: status(page).startswith("Paused"))
    held = epoch(page)
    page.keyboard.press("ArrowRight")
    until(lambda: epoch(page) == held + 1)
    page.keyboard.press("2")
    until(lambda: "view=Race" in asked(page))
    page.keyboard.press("1")
    until(lambda: "view=Race" not in asked(page))
    page.get_by_role("textbox", name="First seed").press("r")
    page.keyboard.press("Control+3")
    page.get_by_role("slider", name="Accuracy factor").press("ArrowRight")
    until(lambda: "accuracy_factor=50" in asked(page))
    assert epoch(page) == held + 1
    assert "view=" not in asked(page)
    page.get_by_role("status").click()
    page.keyboard.press("?")
    switch = page.get_by_role("dialog").get_by_role("switch")
    switch.click()
    page.keyboard.press("Escape")
    until(lambda: page.get_by_role("dialog").count() == 0)
    page.get_by_role("status").click()
    page.keyboard.press("2")
    page.keyboard.press("?")  # still opens: else nobody could turn them on again
    until(lambda: switch.is_checked() is False)
    assert "view=" not in asked(page)
    switch.click()
    page.keyboard.press("Escape")
    until(lambda: page.get_by_role("dialog").count() == 0)
    page.keyboard.press("r")
    until(lambda: epoch(page) == 0)
    page.keyboard.press("Space")
    until(lambda: epoch(page) >= 1)
    page.keyboard.press("Space")
    until(lambda: status(page).startswith("Paused"))


def test_a_lecture_hall_gets_larger_type_and_lines_from_the_address_alone(visit):
    page = visit("?view=Function&presentation=1&" + QUICK)
    hall = until(lambda: (found := page.evaluate(SIZES))["ticks"] == ["19px"] and found["line"] > 4 and found)
    assert hall["root"] == "24px"
    assert page.get_by_role("combobox", name="Preset").is_visible() is False
    page.get_by_role("button", name="Toggle theme").click()  # brings sizes of its own
    until(lambda: page.evaluate(SIZES)["color"] != hall["color"])
    page.keyboard.press("1")  # a view that is drawn later
    until(lambda: page.get_by_role("switch", name="Log scale").is_visible())
    until(lambda: page.evaluate(SIZES)["ticks"] == ["19px"])
    press(page, "Presentation")
    until(lambda: "presentation" not in asked(page))
    desk = until(lambda: "19px" not in (found := page.evaluate(SIZES))["ticks"] and found)
    assert desk["root"] == "16px"
    page.keyboard.press("4")  # where the first figures were drawn
    until(lambda: page.evaluate(SIZES)["line"] < 0.7 * hall["line"])
    until(lambda: page.get_by_role("combobox", name="Preset").is_visible())


FOCUSED = "element => element.getRootNode().activeElement === element"


def reach(page, control, key="Tab"):
    """Press Tab until this control has the focus, and see that the page shows it."""
    control.wait_for()
    for _ in range(120):
        page.keyboard.press(key)
        if control.evaluate(FOCUSED):
            assert control.evaluate(SHOWN), "the focus cannot be seen"
            return
    pytest.fail(f"{key} never reaches {control}")


def test_the_first_lesson_by_keyboard_alone(visit):
    page = visit()
    start, following = (page.get_by_role("button", name=name, exact=True) for name in ("Start", "Next"))

    def train(told):
        reach(page, start)
        page.keyboard.press("Enter")
        page.get_by_text(told).wait_for(timeout=30_000)

    reach(page, page.get_by_role("combobox", name="Lesson"))
    page.keyboard.press("Enter")
    option = page.get_by_role("option", name="Gradient descent")
    option.wait_for()
    # The list takes the focus when it has opened; an earlier key would be undone by that.
    until(lambda: page.get_by_role("option").evaluate_all(f"all => all.some({FOCUSED})"))
    until(lambda: page.keyboard.press("ArrowDown") or option.evaluate(FOCUSED))
    page.keyboard.press("Enter")
    reach(page, page.get_by_role("radio", name="At the noise"))
    page.keyboard.press("ArrowDown")
    until(lambda: page.get_by_role("radio", name="Still falling").is_checked())
    train("the steps are too short")
    reach(page, following, "Shift+Tab")
    page.keyboard.press("Enter")
    for name in ("Your estimate", "Learning rate"):
        reach(page, page.get_by_role("textbox", name=name))
        page.keyboard.press("Control+A")
        page.keyboard.type("0.01")
        page.keyboard.press("Enter")
    train("only the length of the step changed")
    reach(page, following, "Shift+Tab")
    page.keyboard.press("Enter")
    reach(page, page.get_by_role("radio", name="It rises"))
    page.keyboard.press("Space")
    train("stay a little left of the edge")
    assert following.is_disabled()  # that was the last step
