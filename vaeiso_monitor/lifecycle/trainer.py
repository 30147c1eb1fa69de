"""Whoever trains, in which bounds, on what; and training in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from annotated_types import Ge, Gt, Le

from vaeiso_monitor.detector import train
from vaeiso_monitor.errors import VaeisoError
from vaeiso_monitor.model import TrainingStopped

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.detector import Recipe
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.types import Records


class TrainingFailed(VaeisoError):
    """No candidate came out: it took too long or too much memory, it died, or was stopped."""


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """The bounds of a training beside the scoring.

    The child process runs with ``niceness`` (19 gives way to everything) and is killed when it has
    worked for ``deadline_seconds`` or holds more than ``memory_limit_bytes``.
    """

    deadline_seconds: Annotated[float, Gt(0)] = 3600.0
    memory_limit_bytes: Annotated[int, Ge(100_000_000)] = 4_294_967_296
    niceness: Annotated[int, Ge(0), Le(19)] = 15


@dataclass(frozen=True, slots=True)
class Effort:
    """How far a training is: share done, seconds since it started, bytes that the child holds."""

    progress: float
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Records to train on, and where they come from (JSON-able)."""

    records: Records
    ledger: Mapping[str, Any] = field(default_factory=dict)


class Trainer(Protocol):
    """Whoever makes a bundle of a training set."""

    def train(
        self,
        given: TrainingSet,
        recipe: Recipe,
        *,
        report: Callable[[Effort], None],
        stop: Callable[[], bool],
    ) -> Bundle:
        """Return a new bundle; raise TrainingFailed where none came out."""


class LocalTrainer:
    """Trains in the calling thread: for simulations, whose clock is not the wall's."""

    def __init__(self, schema: Schema, clock: Callable[[], float] = time.time) -> None:
        self._schema = schema
        self._clock = clock

    def train(
        self,
        given: TrainingSet,
        recipe: Recipe,
        *,
        report: Callable[[Effort], None],
        stop: Callable[[], bool],
    ) -> Bundle:
        """Train a bundle on ``given``."""
        try:
            return train(
                given.records,
                self._schema,
                recipe,
                progress=lambda p: report(Effort(p.step / p.max_steps, p.seconds, 0)),
                stop=stop,
                ledger=given.ledger,
                created=datetime.fromtimestamp(self._clock(), UTC),
            )
        except TrainingStopped as error:
            msg = "it was stopped"
            raise TrainingFailed(msg) from error
        except ValueError as error:
            msg = f"these records cannot be trained on: {error}"
            raise TrainingFailed(msg) from error
