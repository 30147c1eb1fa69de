"""How much of the recent past is kept for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How much of the recent past is kept for training, and how often it is written.

    With ``let_in_over_line`` records over the alert line are kept as well, as many as those under
    it let expect; without it none are.
    """

    max_rows: Annotated[int, Ge(100)] = 200_000
    max_bytes: Annotated[int, Ge(1_000_000)] = 268_435_456
    max_age_seconds: Annotated[float, Gt(0)] = 604_800.0
    unfiltered_rows: Annotated[int, Ge(10)] = 40_000
    flush_seconds: Annotated[float, Gt(0)] = 5.0
    let_in_over_line: bool = True
