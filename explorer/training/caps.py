"""What one start may ask for at most, as whoever runs a server has it; nothing by default."""

from __future__ import annotations

from dataclasses import dataclass, fields

from explorer.training.plan import Plan


@dataclass(frozen=True)
class Caps:
    """runs: of all lanes together.  epochs, layers: of each lane.  None: as many as the settings' own bounds allow."""

    runs: int | None = None
    epochs: int | None = None
    layers: int | None = None

    def check(self, plan: Plan) -> None:
        """`ValueError` with a sentence if `plan` asks for more."""
        asked = Caps(
            sum(len(entry.optimizer.grid()) for entry in plan.entries) * len(plan.seeds),
            max(entry.challenge.max_epochs for entry in plan.entries),
            max(entry.challenge.num_hidden_layers for entry in plan.entries),
        )
        for field in fields(self):
            most, wanted = getattr(self, field.name), getattr(asked, field.name)
            if most is not None and wanted > most:
                raise ValueError(f"{wanted} {field.name} are not allowed here: this server takes {most} at most.")


_caps = Caps()


def set_caps(caps: Caps) -> None:
    """From now on, for every start in this process."""
    global _caps
    _caps = caps


def check(plan: Plan) -> None:
    """`ValueError` with a sentence if `plan` asks for more than this process allows."""
    _caps.check(plan)
