"""How the model is kept true: trainings, verdicts, swaps, reloads of the config, as metrics."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaeiso_monitor.telemetry.series import Labels, Series

RetrainStatus = Literal["promoted", "rejected", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class RetrainFacts:
    """How retraining stands, for the status. Times are Unix time, None for what has not been.

    ``phase`` is idle, training or judging; ``last`` holds what the latest attempt came to.
    """

    phase: str = "idle"
    reason: str | None = None
    progress: float | None = None
    next_at: float | None = None
    last: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)


class LifecycleTelemetry:
    """The facts about the lifecycle of the model; reached as ``Telemetry.lifecycle``."""

    def __init__(self, series: Series, clock: Callable[[], float]) -> None:
        self._series = series
        self._clock = clock
        self._lock = RLock()
        self.retrain = RetrainFacts()
        self.config_refused = self.restart_needed = False
        self._series.set(metrics.RETRAIN_IN_PROGRESS, 0.0)
        self._series.set(metrics.TRAINER_MEMORY, 0.0)

    def training_began(self, reason: str) -> None:
        """Say that a training runs, and why."""
        self._series.set(metrics.RETRAIN_IN_PROGRESS, 1.0)
        self._series.set(metrics.TRAINING_PROGRESS, 0.0)
        self._tell(phase="training", reason=reason, progress=0.0)

    def training_effort(self, progress: float, memory_bytes: int) -> None:
        """Say how far it is and how much memory it holds."""
        self._series.set(metrics.TRAINING_PROGRESS, progress)
        self._series.set(metrics.TRAINER_MEMORY, memory_bytes)
        self._tell(progress=progress)

    def judging(self) -> None:
        """Say that a candidate is being judged."""
        self._series.set(metrics.TRAINER_MEMORY, 0.0)
        self._tell(phase="judging", progress=None)

    def training_ended(
        self, status: RetrainStatus, reason: str, words: str, seconds: float, version: str | None
    ) -> None:
        """Say what came of it, in one word and in many."""
        now = self._clock()
        self._series.add(metrics.RETRAINS, 1, status, reason)
        self._series.set(metrics.RETRAIN_IN_PROGRESS, 0.0)
        self._series.set(metrics.TRAINER_MEMORY, 0.0)
        self._series.set(metrics.RETRAIN_DURATION, seconds)
        if status == "promoted":
            self._series.set(metrics.LAST_RETRAIN_SUCCESS, now)
        self._count_streak(status)
        last = {"status": status, "reason": reason, "words": words, "at": now, "version": version}
        self._tell(phase="idle", reason=None, progress=None, last=last)

    def skipped(self, reason: str) -> None:
        """Say that a training was asked for that could not start."""
        self._series.add(metrics.RETRAINS, 1, "skipped", reason)

    def next_training(self, at: float | None) -> None:
        """Say when the next training is due (Unix time), None where none is planned."""
        self._series.replace(metrics.NEXT_RETRAIN, {} if at is None else {(): at})
        self._tell(next_at=at)

    def verdict(
        self, *, accepted: bool, figures: Mapping[str, float], passed: Mapping[str, bool]
    ) -> None:
        """Export a verdict of the gate: its figures, and which checks were passed."""
        known: dict[Labels, float] = {
            (name,): value for name, value in figures.items() if math.isfinite(value)
        }
        checks: dict[Labels, float] = {(name,): float(value) for name, value in passed.items()}
        self._series.replace(metrics.GATE_FIGURE, known)
        self._series.replace(metrics.GATE_CHECK, checks)
        self._series.set(metrics.GATE_ACCEPTED, float(accepted))

    def swapped(self, *, worked: bool) -> None:
        """Say that another model took over, or could not."""
        self._series.add(metrics.MODEL_SWAPS, 1, "swapped" if worked else "failed")

    def models_stored(self, count: int) -> None:
        """Say how many bundles the store holds."""
        self._series.set(metrics.MODELS_STORED, count)

    def job_failed(self, task: str) -> None:
        """Say that something that runs by the clock broke off."""
        self._series.add(metrics.LIFECYCLE_ERRORS, 1, task)

    def scheduler_alive(self, alive: bool) -> None:
        """Say whether the thread that watches the clock runs."""
        self._series.set(metrics.SCHEDULER_ALIVE, float(alive))
        self.scheduler_turned()

    def scheduler_turned(self) -> None:
        """Say that something ran by the clock."""
        self._series.set(metrics.SCHEDULER_HEARTBEAT_AGE, self._clock())

    def config_reloaded(self, *, worked: bool, restart_needed: bool) -> None:
        """Say that a changed config was taken up or refused, and whether a part of it waits."""
        self._series.add(metrics.CONFIG_RELOADS, 1, "applied" if worked else "refused")
        self._series.set(metrics.CONFIG_RELOAD_SUCCESSFUL, float(worked))
        self.config_refused = not worked
        if worked:
            self.restart_needed = restart_needed
            self._series.set(metrics.CONFIG_RESTART_NEEDED, float(restart_needed))
            self._series.set(metrics.CONFIG_RELOAD_SUCCESS, self._clock())

    def _count_streak(self, status: RetrainStatus) -> None:
        """Count what ends the same way in a row; a rejected model was trained without failing."""
        ended = {"rejected": ("failed",), "promoted": ("failed", "rejected")}.get(status, ())
        for other in ended:
            self._series.set(metrics.RETRAIN_STREAK, 0.0, other)
        if status in ("rejected", "failed"):
            self._series.add(metrics.RETRAIN_STREAK, 1, status)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self.retrain = replace(self.retrain, **changes)
