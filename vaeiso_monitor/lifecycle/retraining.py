"""One training beside the scoring, from the window to the swap, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog

from vaeiso_monitor.errors import BundleError, ConfigError
from vaeiso_monitor.lifecycle.evidence import AlertedPast, Material, Past, gathered
from vaeiso_monitor.lifecycle.trainer import Effort, Trainer, TrainingFailed

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle, BundleStore
    from vaeiso_monitor.detector import Recipe
    from vaeiso_monitor.lifecycle.gate import Gate, GateConfig
    from vaeiso_monitor.lifecycle.gate_verdict import GateVerdict
    from vaeiso_monitor.lifecycle.joined import NormalNow
    from vaeiso_monitor.lifecycle.swap import Swap
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry, RetrainStatus

log = structlog.get_logger(__name__)

_RUNNING = "another training runs"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt, in one word and in many; ``version`` is the candidate's."""

    status: RetrainStatus
    words: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What an attempt goes by; replaced as a whole when the config changes."""

    recipe: Recipe
    gate: Gate
    gate_config: GateConfig
    min_records: int
    adopt_min_records: int


class Retraining:
    """Trains, judges, stores and swaps; one attempt at a time."""

    def __init__(
        self,
        terms: Terms,
        *,
        trainer: Trainer,
        past: Past,
        alerts: AlertedPast,
        store: BundleStore,
        swap: Swap,
        telemetry: LifecycleTelemetry,
        stop: Callable[[], bool],
    ) -> None:
        self.terms = terms
        self.trainer = trainer
        self._past = past
        self._alerts = alerts
        self._store = store
        self._swap = swap
        self._telemetry = telemetry
        self._stop = stop
        self._abandoned = False
        self._busy = Lock()

    def attempt(self, reason: str, adopt_since: float | None = None) -> Outcome:
        """Train a candidate because of ``reason`` and let it serve if the gate accepts it.

        With ``adopt_since`` it learns only from what was seen since then. While another attempt
        runs, or with too few records, nothing is done but counted.
        """
        if not self._busy.acquire(blocking=False):
            return self._skipped(reason, _RUNNING)
        try:
            return self._attempt(reason, adopt_since)
        finally:
            self._busy.release()

    def hindrance(self, adopt_since: float | None = None) -> str:
        """Say why no attempt can begin right now, nothing where one can."""
        if self.running:
            return _RUNNING
        return _too_few(self.terms, self._material(adopt_since), adopt=adopt_since is not None)

    def abandon(self) -> None:
        """End a training that runs, and let no other come to an end: the daemon stops."""
        self._abandoned = True

    @property
    def running(self) -> bool:
        """Whether an attempt is under way."""
        return self._busy.locked()

    def _attempt(self, reason: str, adopt_since: float | None) -> Outcome:
        terms, champion = self.terms, self._swap.serving
        normal_now = partial(terms.gate.normal, champion)
        material = self._material(adopt_since, normal_now)
        if why := _too_few(terms, material, adopt=adopt_since is not None):
            return self._skipped(reason, why)
        began = time.monotonic()
        self._telemetry.training_began(reason)
        log.info("training_started", reason=reason, **_counts(material))
        outcome = Outcome("failed", "it broke off")
        try:
            self._store.prepare()  # clears what a crash left, or the training would be for nothing
            outcome = self._candidate(terms, champion, material, adopt=adopt_since is not None)
        except (TrainingFailed, BundleError, ConfigError) as error:
            outcome = Outcome("failed", str(error))
        finally:
            self._tell(outcome, reason, time.monotonic() - began)
        return outcome

    def _material(self, adopt_since: float | None, normal_now: NormalNow | None = None) -> Material:
        return gathered(
            self._past,
            self._alerts,
            self.terms.gate_config,
            champion_since=self._swap.serving.created.timestamp(),
            adopt_since=adopt_since,
            normal_now=normal_now,
        )

    def _candidate(
        self, terms: Terms, champion: Bundle, material: Material, *, adopt: bool
    ) -> Outcome:
        candidate = self.trainer.train(
            material.given,
            terms.recipe,
            report=self._effort,
            stop=lambda: self._abandoned or self._stop(),
        )
        self._telemetry.judging()
        verdict = terms.gate.judge(champion, candidate, material.evidence, adopt=adopt)
        self._publish(verdict)
        self._store.add(candidate, verdict.to_dict())
        if verdict.accepted:
            self._swap.adopt(candidate.version, instead_of=champion.version)
        self._tidy()
        status: RetrainStatus = "promoted" if verdict.accepted else "rejected"
        return Outcome(status, verdict.sentence, candidate.version)

    def _publish(self, verdict: GateVerdict) -> None:
        passed = {check.name: check.passed for check in verdict.checks}
        self._telemetry.verdict(accepted=verdict.accepted, figures=verdict.figures, passed=passed)
        figures = {name: round(value, 4) for name, value in verdict.figures.items()}
        tell = log.info if verdict.accepted else log.warning
        tell("verdict", candidate=verdict.candidate, says=verdict.sentence, **figures)

    def _tidy(self) -> None:
        gone = self._store.retain()
        if gone:
            log.info("bundles_deleted", versions=gone)
        self._telemetry.models_stored(len(self._store.versions()))

    def _effort(self, effort: Effort) -> None:
        self._telemetry.training_effort(effort.progress, effort.memory_bytes)

    def _tell(self, outcome: Outcome, reason: str, seconds: float) -> None:
        self._telemetry.training_ended(
            outcome.status, reason, outcome.words, seconds, outcome.version
        )
        tell = log.warning if outcome.status == "failed" else log.info
        tell(
            "training_ended",
            status=outcome.status,
            reason=reason,
            version=outcome.version,
            seconds=round(seconds, 1),
            says=outcome.words,
        )

    def _skipped(self, reason: str, why: str) -> Outcome:
        self._telemetry.skipped(reason)
        log.info("training_skipped", reason=reason, because=why)
        return Outcome("skipped", why)


def _too_few(terms: Terms, material: Material, *, adopt: bool) -> str:
    """Say how many records are missing, nothing where there are enough."""
    key = "adopt_min_records" if adopt else "min_records"
    needed = terms.adopt_min_records if adopt else terms.min_records
    count = len(material.given.records) + len(material.evidence.recent)
    return "" if count >= needed else f"{count:,} of {needed:,} records (retrain.{key}) are there"


def _counts(material: Material) -> dict[str, Any]:
    return {
        "records": len(material.given.records),
        "judged_on": len(material.evidence.recent),
        "alerts_to_find": len(material.evidence.alerted),
    }
