"""What training tells while it runs and when it has ended."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

_FOR_EACH_COLUMN, _AT_LEAST = 10, 50  # records that a model needs


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is; ``held_out_nats`` is the best so far, None before the first value."""

    step: int
    max_steps: int
    held_out_nats: float | None
    seconds: float


@dataclass(slots=True)
class MemberReport:
    """How one member did: ``curve`` holds (step, held-out nats); ``stopped`` says why it ended.

    ``held_out_nats`` is what decides between members, see :mod:`vaeiso_monitor.model.judgement`;
    ``mean_held_out_nats`` is the plain mean over all held-out records.
    """

    beta: float
    held_out_nats: float = math.inf
    mean_held_out_nats: float = math.inf
    best_step: int = 0
    stopped: str = "max_steps"
    curve: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What training did, JSON-able through :meth:`to_dict`.

    With more than one fold every record was fitted, and every one held out of one fold. ``note``
    says in words what is wrong with the records, if anything is.
    """

    members: list[MemberReport]
    winner: int
    rows: int
    held_out_rows: int
    steps: int
    seconds: float
    stopped: str
    folds: int = 1
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists and numbers."""
        return asdict(self)


def note_on_records(records: int, columns: int) -> str:
    """Say in words that there are too few records for so many encoded columns, else nothing."""
    enough = max(_FOR_EACH_COLUMN * columns, _AT_LEAST)
    if records >= enough:
        return ""
    return (
        f"{records:,} records are too few for {columns:,} encoded columns: what is rare among them "
        f"may well be common, and scores are little more than those of a linear model. "
        f"{enough:,} records would do."
    )
