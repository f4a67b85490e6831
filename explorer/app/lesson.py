"""The lesson in the side panel: a few sentences, a prediction, and what the run has to say to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.session import Session
from explorer.lessons import Facts, Lesson, Step
from explorer.lessons.expressions import filled
from explorer.records import Phase
from explorer.views.style import number

NONE = "None: explore freely"
QUIET = (Phase.FINISHED, Phase.STOPPED, Phase.FAILED, Phase.PAUSED)
"""Phases in which a person looks at what came out, and may be told what is missing."""
PROSE = """
:host { font-size: var(--explorer-prose, 0.9375rem); line-height: 1.5; }
:host h2 { font-size: 1.15em; margin: 0.2em 0 0.4em; } :host p { margin: 0 0 0.6em; } :host code { font-size: 0.95em; }
:host ul, :host ol { margin: 0 0 0.6em; padding-left: 1.3em; }
"""


class LessonPanel:
    """A choice of lessons; with one chosen, its step in hand.

    `opened(step)` is called when another step is to be set up, or, with None, when there is no lesson any more.
    """

    def __init__(self, lessons: Mapping[str, Lesson], opened: Callable[[Step | None], None]) -> None:
        self._lessons, self._opened = lessons, opened
        self.lesson: Lesson | None = None
        self.place = 1
        self.reached = False
        self._showing = False
        titles = {f"{place}  {lesson.title}": key for place, (key, lesson) in enumerate(lessons.items(), 1)}
        self._choice = pmui.Select(
            label="Lesson",
            options={NONE: ""} | titles,
            value="",
            size="small",
            sizing_mode="stretch_width",
            margin=(14, 10, 6, 10),
            sx={"& .MuiSelect-select": {"whiteSpace": "normal"}},  # a title is to be read whole
        )
        self._choice.param.watch(lambda event: self._chosen(event.new), "value")
        shown: dict[str, Any] = {"stylesheets": [html.CODE, PROSE], "sizing_mode": "stretch_width", "margin": (0, 10)}
        self._text, self._reveal = pn.pane.Markdown("", **shown), pn.pane.Markdown("", **shown)
        self._answers = pmui.RadioBoxGroup(label="Your prediction", options=[], sizing_mode="stretch_width", margin=10)
        self._answers.param.watch(self._predicted, "value")
        self._guess = pmui.TextInput(label="Your estimate", size="small", sizing_mode="stretch_width", margin=10)
        self._guess.param.watch(self._predicted, "value")
        self._said = html.pane()
        self._back = pmui.Button(label="Back", icon="arrow_back", variant="outlined", size="small", margin=(6, 4))
        self._again = pmui.Button(label="Set up again", icon="restart_alt", variant="text", size="small", margin=(6, 4))
        self._next = pmui.Button(label="Next", icon="arrow_forward", variant="outlined", size="small", margin=(6, 4))
        self._back.on_click(lambda event: self.go(self.place - 1))
        self._again.on_click(lambda event: self.go(self.place))
        self._next.on_click(lambda event: self.go(self.place + 1))
        self._box = pmui.Column(
            self._text,
            self._answers,
            self._guess,
            self._said,
            self._reveal,
            pmui.FlexBox(self._back, self._next, self._again, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
            margin=0,
        )
        # Bokeh's own column: the step is in the page from the first lesson on, since it costs the page's first second.
        self.panel = pn.Column(self._choice, sizing_mode="stretch_width", margin=0)

    @property
    def step(self) -> Step | None:
        """The step in hand, if a lesson is."""
        return None if self.lesson is None else self.lesson.steps[self.place - 1]

    @property
    def waits(self) -> bool:
        """Whether the step's question is still to be answered."""
        step = self.step
        return step is not None and step.prediction is not None and self._answered() is None

    @property
    def values(self) -> dict[str, str | int]:
        """What of this the address holds."""
        return {} if self.lesson is None else {"lesson": self.lesson.key, "step": self.place}

    def load(self, key: str) -> None:
        """Take the lesson that an address names, without setting it up; `ValueError` where there is none."""
        if key not in self._lessons:
            raise ValueError(f"lesson = {key!r} is not known: it must be one of {', '.join(self._lessons)}.")
        self.lesson, self.place = self._lessons[key], 1
        self._show()

    def load_step(self, text: str) -> None:
        """Take the step that an address names."""
        if self.lesson is None:
            raise ValueError(f"step = {text!r} is not allowed without a lesson.")
        last = len(self.lesson.steps)
        if not (text.isdecimal() and 1 <= int(text) <= last):
            raise ValueError(f"step = {text!r} is not allowed: it must be an integer from 1 to {last}.")
        self.place = int(text)
        self._show()

    def go(self, place: int) -> None:
        """Set up this step of the lesson in hand."""
        if self.lesson is not None and 1 <= place <= len(self.lesson.steps):
            self.place = place
            self._show()
            self._opened(self.step)

    def refresh(self, session: Session) -> None:
        """Hold the step's check against the run.  Once it is reached, that stays."""
        step = self.step
        if step is None or self.reached or session.outcomes is None:
            return
        facts = Facts(session.lanes)
        missing = step.missing(facts)
        if missing:
            told = step.check[missing - 1].otherwise if session.phase in QUIET else ""
            self._say(f"Not there yet.  {filled(told, facts, number)}" if told else "")
            return
        self.reached = True
        self._reveal.object = filled(step.reveal, facts, number)
        self._say(self._verdict(step, facts), "good")
        self._next.variant = "contained"

    def _say(self, sentence: str, kind: str = "hint") -> None:
        self._said.object = f'<p class="note {kind}">{escape(sentence)}</p>' if sentence else ""

    def _verdict(self, step: Step, facts: Facts) -> str:
        """Whether the prediction came true: what the run says, never what the file says."""
        prediction, answer = step.prediction, self._answered()
        if prediction is None or answer is None:
            return "Done."
        if prediction.number is not None:
            truth, guess = float(prediction.number(facts)), float(answer)
            near = truth > 0 and guess > 0 and max(truth / guess, guess / truth) <= prediction.within
            praise = "Well estimated" if near else "Not quite"
            return f"{praise}: you said {number(guess)}, the run says {number(truth)}."
        came = [choice.says for choice in prediction.choices if choice.true(facts)]
        if answer in came:
            return f"As you predicted: {answer}"
        return f"You predicted: {answer}  The run says: {' '.join(came) or 'none of these.'}"

    def _answered(self) -> str | None:
        step = self.step
        if step is None or step.prediction is None:
            return None
        if step.prediction.number is None:
            return self._answers.value
        try:
            float(self._guess.value)
        except (TypeError, ValueError):
            return None
        return self._guess.value

    def _predicted(self, event: object) -> None:
        if not self._showing and not self.reached:
            waits = self.waits and self._guess.visible and bool(self._guess.value)
            self._guess.param.update(error_state=waits, helper_text="A number, please." if waits else "")

    def _chosen(self, key: str) -> None:
        if self._showing:
            return
        if key:
            self.load(key)
            self.go(1)
        else:
            self.lesson = None
            self._show()
            self._opened(None)

    def _show(self) -> None:
        """Bring the widgets to the step in hand, unanswered."""
        self._showing, self.reached = True, False
        step, lesson = self.step, self.lesson
        self._choice.value = "" if lesson is None else lesson.key
        self._box.visible = step is not None
        if self._box.visible and self._box not in self.panel:
            self.panel.append(self._box)
        self._say("")
        self._reveal.object = ""
        if lesson is not None and step is not None:
            last = len(lesson.steps)
            intro = f"*{lesson.summary}*\n\n" if self.place == 1 else ""
            prediction = step.prediction
            asked = "" if prediction is None else f"\n\n**Predict first.** {prediction.question}"
            self._text.object = f"{intro}## {self.place} of {last}: {step.title}\n\n{step.text}{asked}"
            options = [choice.says for choice in prediction.choices] if prediction else []
            self._answers.param.update(options=options, value=None, visible=bool(options))
            guessed = prediction is not None and prediction.number is not None
            self._guess.param.update(value="", visible=guessed, error_state=False, helper_text="")
            self._back.disabled, self._next.disabled = self.place == 1, self.place == last
            self._next.variant = "outlined"
        self._showing = False
