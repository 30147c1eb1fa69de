"""The lifecycle of the model: what runs by the clock and by request while the loop scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.schedule import RetrainConfig, Timer, back_off, next_training

if TYPE_CHECKING:
    from vaeiso_monitor.alerts import RegimeShift
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.lifecycle.drift_config import DriftConfig
    from vaeiso_monitor.lifecycle.feedback import Feedback, Judged
    from vaeiso_monitor.lifecycle.history_rows import Verdict
    from vaeiso_monitor.lifecycle.retraining import Outcome, Retraining
    from vaeiso_monitor.lifecycle.spool import Request, Spool
    from vaeiso_monitor.lifecycle.swap import Swap
    from vaeiso_monitor.lifecycle.watches import Watches
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

log = structlog.get_logger(__name__)

_ADOPT_EVERY_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0
_TIDY_EVERY_SECONDS = 3600.0


class Regime(Protocol):
    """Whoever knows whether normal itself has changed."""

    @property
    def shifted(self) -> RegimeShift | None:
        """The start of the shift that goes on, None while all is well."""


class Memory(Protocol):
    """Something that is written now and then, and forgets what is too old."""

    def flush(self) -> None:
        """Write what was taken since the last time."""


class Tidied(Protocol):
    """Something that forgets what is too old."""

    def tidy(self, now: float) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a lifecycle is put together from."""

    store: BundleStore
    swap: Swap
    retraining: Retraining
    watches: Watches
    regime: Regime
    feedback: Feedback
    spool: Spool
    window: Memory
    history: Tidied


class Lifecycle:
    """Keeps the model true beside the loop; ``start`` lets its clock run, ``close`` ends it.

    Nothing here touches the scoring but the swap. An error ends one job, not the daemon.
    """

    def __init__(
        self,
        parts: Parts,
        retrain: RetrainConfig,
        drift: DriftConfig,
        *,
        flush_seconds: float,
        telemetry: LifecycleTelemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts = parts
        self._retrain = retrain
        self._drift = drift
        self._flush_seconds = flush_seconds
        self._telemetry = telemetry
        self._clock = clock
        self._failures = 0
        self._attempted: float | None = None
        self._adopted_at: float | None = None
        self.timer = Timer(telemetry)

    def start(self) -> None:
        """Clear what a crash left, and let the clock run; the schedule goes on where it was."""
        timer, parts = self.timer, self._parts
        if self._retrain.enabled:
            parts.store.prepare()
        self._telemetry.models_stored(len(parts.store.versions()))
        timer.every(_LOOK_EVERY_SECONDS, "requests", self.look)
        timer.every(self._flush_seconds, "window", parts.window.flush)
        timer.every(_ADOPT_EVERY_SECONDS, "regime", self.adopt_if_shifted)
        timer.every(_TIDY_EVERY_SECONDS, "tidy", self.tidy)
        self._watch()
        self._plan()
        timer.start()

    def configure(self, retrain: RetrainConfig, drift: DriftConfig) -> None:
        """Go by other settings from now on."""
        self._retrain, self._drift = retrain, drift
        self._watch()
        self._plan()

    def retrain(self, reason: str, adopt_since: float | None = None) -> Outcome:
        """Train now, in this thread, and plan the next time by what comes of it."""
        self._attempted = self._clock()
        try:
            outcome = self._parts.retraining.attempt(reason, adopt_since)
        except BaseException:
            self._failures += 1
            self._plan()
            raise
        if outcome.status == "failed":
            self._failures += 1
        elif outcome.status != "skipped":
            self._failures = 0
        if not self._parts.retraining.running:
            self._plan(waiting=outcome.status == "skipped")
        return outcome

    def ask_for_training(self, *, adopt: bool = False) -> dict[str, Any]:
        """Start a training soon, in a thread of the clock; say whether it will be."""
        if self._parts.retraining.running:
            self._telemetry.skipped("request")
            return {"started": False, "words": "another training runs"}
        since = self._adoptable_since() if adopt else None
        self.timer.at(self._clock(), "retrain_now", lambda: self.retrain("request", since))
        return {"started": True, "words": "a training starts now, beside the scoring"}

    def judge(self, alert_id: str, verdict: Verdict, note: str) -> Judged:
        """Put a verdict on an alert; raises TransientError where the disk refuses."""
        return self._parts.feedback.give(alert_id, verdict, note)

    def look(self) -> None:
        """Take up what ``models promote`` did, and carry out the requests that wait."""
        self._parts.swap.follow()
        for request in self._parts.spool.pending():
            try:
                self._carry_out(request)
            except ValueError as error:
                self._parts.spool.refuse(request, str(error))
            except TransientError as error:
                log.warning("request_waits", name=request.name, because=str(error))
            else:
                self._parts.spool.done(request)

    def adopt_if_shifted(self) -> None:
        """Adopt a new regime as soon as enough of it was seen, if the config wants that."""
        shift = self._parts.regime.shifted
        if shift is None or shift.action != "adopt" or self._parts.retraining.running:
            return
        if self._adopted_at is not None:
            waited = self._clock() - self._adopted_at
            if waited < back_off(self._retrain, self._failures + 1):
                return
        since = datetime.fromisoformat(shift.started_at).timestamp()
        if self.retrain("regime_shift", since).status != "skipped":
            self._adopted_at = self._clock()

    def drifted(self) -> None:
        """Train because of a drift, unless that was tried lately."""
        lately = self._attempted is not None and (
            self._clock() - self._attempted < self._retrain.retry_limit_seconds
        )
        if not lately:
            self.retrain("drift")

    def tidy(self) -> None:
        """Forget old alerts and delete old bundles."""
        self._parts.history.tidy(self._clock())
        self._parts.store.retain()
        self._telemetry.models_stored(len(self._parts.store.versions()))

    def close(self) -> None:
        """Stop the clock, give up a training, and wait for what else runs."""
        self._parts.retraining.abandon()
        self.timer.close()

    def _carry_out(self, request: Request) -> None:
        match request.kind:
            case "feedback":
                self._parts.feedback.carry_out(request.body)
            case "retrain":
                self.ask_for_training(adopt=_flag(request.body, "adopt"))
            case kind:
                msg = f"there is no request of the kind {kind!r}"
                raise ValueError(msg)

    def _adoptable_since(self) -> float:
        """Return since when the stream is to be learned as it is: since the shift, if one is on."""
        shift = self._parts.regime.shifted
        if shift is not None:
            return datetime.fromisoformat(shift.started_at).timestamp()
        return self._parts.swap.serving.created.timestamp()

    def _watch(self) -> None:
        watches, drift = self._parts.watches, self._drift
        self.timer.every(drift.isometry.interval_seconds, "isometry", watches.check_ruler)
        self.timer.every(drift.inputs.interval_seconds, "inputs", watches.check_inputs)

    def _plan(self, *, waiting: bool = False) -> None:
        """Plan the next training, sooner after a failure or where records were too few."""
        now, trained = self._clock(), self._parts.store.last_trained()
        last = max((t for t in (trained, self._attempted) if t is not None), default=None)
        due = next_training(self._retrain, last, now)
        if due is not None and (self._failures or waiting):
            due = min(due, now + back_off(self._retrain, max(self._failures, 1)))
        self._telemetry.next_training(due)
        if due is None:
            self.timer.cancel("retrain")
            return
        reason = "retry" if self._failures else "schedule"
        self.timer.at(due, "retrain", lambda: self.retrain(reason))


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool) or set(body) - {name}:
        msg = f"a request to retrain has one field, {name}, true or false"
        raise ValueError(msg)
    return value
