"""The lifecycle of the model: what runs by the clock and by request while the loop scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.feedback import checked
from vaeiso_monitor.lifecycle.schedule import RetrainConfig, Timer, back_off, next_training

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle.drift_config import DriftConfig
    from vaeiso_monitor.lifecycle.feedback import Judged
    from vaeiso_monitor.lifecycle.history_rows import Verdict
    from vaeiso_monitor.lifecycle.parts import Parts
    from vaeiso_monitor.lifecycle.retraining import Outcome
    from vaeiso_monitor.lifecycle.spool import Request
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

log = structlog.get_logger(__name__)

_ADOPT_EVERY_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0
_TIDY_EVERY_SECONDS = 3600.0
_SAME_REGIME_SECONDS = 86400.0


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
        """Start a training now, in a thread of the clock; say whether, and if not why.

        Takes as long as the window takes to be read: the records are counted first.
        """
        since = self._adoptable_since() if adopt else None
        if why := self._parts.retraining.hindrance(since):
            self._telemetry.skipped("request")
            log.info("training_skipped", reason="request", because=why)
            return {"started": False, "words": f"no training starts: {why}"}
        self.timer.at(self._clock(), "retrain_now", lambda: self.retrain("request", since))
        return {"started": True, "words": "a training starts now, beside the scoring"}

    def judge(self, alert_id: str, verdict: Verdict, note: str) -> Judged:
        """Put a verdict on an alert; raises TransientError where the disk refuses."""
        return self._parts.feedback.give(alert_id, verdict, note)

    def look(self) -> None:
        """Take up what ``models promote`` did, and carry out the requests that wait."""
        self._parts.swap.follow()
        pending = self._parts.spool.pending()
        self._judge_all([request for request in pending if request.kind == "feedback"])
        for request in (request for request in pending if request.kind != "feedback"):
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

    def _judge_all(self, requests: Sequence[Request]) -> None:
        """Put all verdicts that wait on their alerts at once."""
        spool, given = self._parts.spool, []
        for request in requests:
            try:
                given.append((request, checked(request.body)))
            except ValueError as error:
                spool.refuse(request, str(error))
        try:
            self._parts.feedback.give_all([verdict for _, verdict in given])
        except TransientError as error:
            log.warning("requests_wait", requests=len(given), because=str(error))
            return
        for request, _ in given:
            spool.done(request)

    def _carry_out(self, request: Request) -> None:
        match request.kind:
            case "retrain":
                self.ask_for_training(adopt=_flag(request.body, "adopt"))
            case kind:
                msg = f"there is no request of the kind {kind!r}"
                raise ValueError(msg)

    def _adoptable_since(self) -> float:
        """Return since when the stream is to be learned as it is: since the shift, if one is on.

        Where the serving model adopted a regime less than a day ago, since that began: it has seen
        little of it, and more of the same is to be learned.
        """
        shift = self._parts.regime.shifted
        if shift is not None:
            return datetime.fromisoformat(shift.started_at).timestamp()
        serving = self._parts.swap.serving
        earlier = (serving.summary.get("training_set") or {}).get("adopted_since")
        if earlier is not None:
            began = datetime.fromisoformat(earlier).timestamp()
            if self._clock() - began < _SAME_REGIME_SECONDS:
                return began
        return serving.created.timestamp()

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
