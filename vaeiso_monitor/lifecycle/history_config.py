"""How many alerts are remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """How many alerts are remembered, for how long, and how many a second at most."""

    max_alerts: Annotated[int, Ge(1)] = 20_000
    max_bytes: Annotated[int, Ge(100_000)] = 134_217_728
    max_age_seconds: Annotated[float, Gt(0)] = 2_592_000.0
    max_per_second: Annotated[float, Gt(0)] = 50.0
