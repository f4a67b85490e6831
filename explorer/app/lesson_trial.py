"""A lesson's step without a page: whether it can be set up, and how a run of it stands with its check."""

from __future__ import annotations

import time

import numpy as np

from explorer.app import address, viewing
from explorer.app.controls import Controls
from explorer.app.session import Session
from explorer.lessons import Facts, Lesson, Step
from explorer.training.inside import InsideLook
from explorer.training.plan import Plan


def faults(lesson: Lesson) -> list[str]:
    """What of a lesson's addresses and controls is not right, in sentences."""
    found = []
    for place, step in enumerate(lesson.steps, 1):
        where = f"{lesson.key}, step {place}"
        for name, changes in {"address": {}, "asked": step.asked, "wrong": step.wrong}.items():
            controls, complaints = _set(step, changes)
            found += [f"{where}, {name}: {complaint}" for complaint in complaints]
            closed = [entry for entry in changes if not _open(entry, step)]
            found += [f"{where}, {name}: {entry} is changed, but its control is not open." for entry in closed]
        found += [f"{where}, open: {name} is not a control." for name in step.open if not controls.offers(name)]
    return found


def trial(step: Step, changes: dict[str, str]) -> tuple[int, Facts]:
    """Train the step with some entries of its address changed, on the CPU: the first condition of its check that does
    not hold, 0 where all do; and what the run can be asked."""
    controls, _ = _set(step, changes)
    session = Session()
    try:
        entries = tuple(entry for _, entry in controls.entries())
        session.start(Plan(entries, controls.setup.seed_list, "cpu"))
        if (step.address | changes).get("view") == "Inside":
            session.look(InsideLook())
        while session.busy or not _surveyed(session):
            session.drain()
            time.sleep(0.005)
        facts = Facts(session.lanes)
        return step.missing(facts), facts
    finally:
        session.close()


def _set(step: Step, changes: dict[str, str]) -> tuple[Controls, list[str]]:
    """The controls as they are after these changes, and what was refused."""
    complaints: list[str] = []
    controls = Controls(lambda name: None, complaints.append)
    refused = controls.load(address.write(step.address | changes), {"view": viewing.check})
    return controls, [*complaints, *refused]


def _open(entry: str, step: Step) -> bool:
    """Whether a learner can change this entry of the address in this step."""
    return entry == "view" or entry in step.open or (entry.startswith("lane") and "lanes" in step.open)


def _surveyed(session: Session) -> bool:
    """Whether the floors of every lane are known."""
    known = [lane.instances for lane in session.lanes]
    return all(one is not None and not np.isnan(one.kernel_floor).any() for one in known)
