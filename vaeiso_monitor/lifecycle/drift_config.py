"""When the isometry and the inputs are measured, and how far off is too far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

DriftAction = Literal["none", "alert", "retrain"]


def _require_persistence(persistence: int, of_checks: int) -> None:
    if persistence > of_checks:
        msg = f"persistence = {persistence} cannot exceed of_checks = {of_checks}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class IsometryDriftConfig:
    """How the serving model is measured on recent normal records, and what a drift leads to.

    ``size`` is the smallest departure that matters, as a share of the tolerances of a healthy
    isometry; a departure in ``persistence`` of the last ``of_checks`` checks is a drift.
    """

    interval_seconds: Annotated[float, Gt(0)] = 900.0
    min_records: Annotated[int, Ge(50)] = 200
    max_records: Annotated[int, Ge(50)] = 1000
    size: Annotated[float, Gt(0)] = 0.5
    persistence: Annotated[int, Ge(1)] = 2
    of_checks: Annotated[int, Ge(1)] = 3
    max_latents: Annotated[int, Ge(0)] = 64
    action: DriftAction = "alert"

    def __post_init__(self) -> None:
        """Refuse what can never be reached."""
        _require_persistence(self.persistence, self.of_checks)
        if self.min_records > self.max_records:
            msg = f"min_records = {self.min_records} cannot exceed max_records = {self.max_records}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class InputDriftConfig:
    """How each feature is compared with the training records, and what a drift leads to.

    ``psi`` and ``share`` are the smallest departures that matter: of the population stability
    index, and of the shares of missing, unseen and out-of-range values. A departure in
    ``persistence`` of the last ``of_checks`` checks is a drift.
    """

    interval_seconds: Annotated[float, Gt(0)] = 900.0
    window_seconds: Annotated[float, Gt(0)] = 86400.0
    min_records: Annotated[int, Ge(50)] = 500
    psi: Annotated[float, Gt(0)] = 0.25
    share: Annotated[float, Gt(0), Le(1)] = 0.05
    persistence: Annotated[int, Ge(1)] = 2
    of_checks: Annotated[int, Ge(1)] = 3
    max_features: Annotated[int, Ge(0)] = 100
    action: DriftAction = "alert"

    def __post_init__(self) -> None:
        """Refuse what can never be reached."""
        _require_persistence(self.persistence, self.of_checks)


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """Both kinds of drift: the ruler's and the inputs'."""

    isometry: IsometryDriftConfig = field(default_factory=IsometryDriftConfig)
    inputs: InputDriftConfig = field(default_factory=InputDriftConfig)
