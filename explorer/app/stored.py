"""Experiments out of the run store, as the app takes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from explorer.app.entrants import Entrant
from explorer.app.lanes import AT_MOST
from explorer.app.session import Lane
from explorer.app.setup import Setup
from explorer.challenge import Challenge
from explorer.records.store import Store, Summary
from explorer.training.continuation import remake


@dataclass(frozen=True)
class Setting:
    """Everything that an experiment was set to.  setup: by name, as `Setup` has it.  missed: sentences about what the
    side panel has no place for."""

    challenge: Challenge
    entrants: tuple[Entrant, ...]
    setup: dict[str, Any]
    missed: tuple[str, ...] = ()


def setting(store: Store, summary: Summary) -> Setting:
    """What an experiment was set to; `ValueError` where its settings are not known here."""
    made = [remake(lane.settings) for lane in summary.lanes]
    challenge, first = made[0]
    seeds = list(dict.fromkeys(run.seed for run in store.history(summary.id, 0).runs))
    chosen: dict[str, Any] = {"preset": nearest(challenge), "optimizer": first.key.partition("+")[0]}
    missed = []
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        chosen |= {"first_seed": seeds[0], "seeds": len(seeds)}
    else:
        missed.append(f"Its seeds ({', '.join(map(str, seeds[:8]))} …) do not follow each other: they are not set.")
    if any(other.values != challenge.values for other, _ in made):
        missed.append("Its lanes differ in their challenge: that of the first is set.")
    if len(made) > AT_MOST:
        missed.append(f"It has {len(made)} lanes: the first {AT_MOST} are set.")
    chosen |= {name: value for name, value in summary.settings.items() if name in ("device", "precision")}
    setup, refused = _allowed(chosen)
    entrants = []
    for (_, optimizer), lane in list(zip(made, summary.lanes, strict=True))[:AT_MOST]:
        entrant = Entrant.of(optimizer, {})
        entrant.name = "" if lane.name == optimizer.described else lane.name[:60]
        entrants.append(entrant)
    return Setting(challenge, tuple(entrants), setup, (*missed, *refused))


def lanes(store: Store, summary: Summary) -> list[Lane]:
    """The lanes of an experiment with all that they reached; `ValueError` where its settings are not known here."""
    found = []
    when = datetime.fromtimestamp(summary.began).strftime("%d %b %H:%M")
    for place, kept in enumerate(summary.lanes):
        challenge, optimizer = remake(kept.settings)
        history, instances = store.history(summary.id, place), store.instances(summary.id, place)
        name = f"{kept.name} ({when})"
        found.append(Lane(-1, name, challenge, optimizer, history, instances, message=summary.message))
    return found


def nearest(challenge: Challenge) -> str:
    """The preset from which a challenge differs least."""

    def differing(name: str) -> int:
        preset = Challenge.preset(name).values
        return sum(preset[field] != value for field, value in challenge.values.items())

    return min(Challenge.presets(), key=differing)


def _allowed(chosen: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What of it can be set here, and sentences about the rest: another machine may have had other devices."""
    allowed, refused = {}, []
    for name, value in chosen.items():
        try:
            Setup(**{name: value})
        except ValueError as error:
            refused.append(str(error))
        else:
            allowed[name] = value
    return allowed, refused
