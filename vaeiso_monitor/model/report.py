"""What training tells while it runs and when it has ended."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is; ``held_out_nats`` is the best so far, None before the first value."""

    step: int
    max_steps: int
    held_out_nats: float | None
    seconds: float


@dataclass(slots=True)
class MemberReport:
    """How one member did: ``curve`` holds (step, held-out nats); ``stopped`` says why it ended."""

    beta: float
    held_out_nats: float = math.inf
    best_step: int = 0
    stopped: str = "max_steps"
    curve: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What training did, JSON-able through :meth:`to_dict`."""

    members: list[MemberReport]
    winner: int
    rows: int
    held_out_rows: int
    steps: int
    seconds: float
    stopped: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists and numbers."""
        return asdict(self)
