"""The month as it goes by: what the loop found against the truth, and what an operator does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lifetime import DEVICE, Attempt, Lifetime, Seen
from benchmarks.station import BROKEN, SCHEMA, Phase, Station, Step
from vaeiso_monitor.alerts import DriftAlert, RegimeShift
from vaeiso_monitor.bundle import Bundle, Engine, in_common_units
from vaeiso_monitor.lifecycle import concatenate, taken
from vaeiso_monitor.model import isometry
from vaeiso_monitor.types import Records

HOUR, DAY = 3600.0, 86400.0
CAP = 30.0  # nats above the line: as in the gate, one record must not decide a mean
KNOWN_AFTER = 600.0  # seconds that a regime shift lasts until the operator asks to adopt it
ASKED_AGAIN = 3600.0
SEEN_MORE = 6 * HOUR  # after the last adoption the operator asks once more, for more was seen
MEASURED_EVERY = 4  # hours between two measurements of the isometry


@dataclass(frozen=True, slots=True)
class Month:
    """The script: ``cold`` hours for the first model, then ``phases``.

    With the first phase called poisoned the operator calls the alerts of the last
    ``called_normal`` hours normal, and with the phase after it he takes that back.
    """

    cold: int
    phases: Sequence[Phase]
    called_normal: int
    rate: int = 1200
    batch: int = 100
    min_records: int = 5000
    window_rows: int = 20_000


@dataclass(slots=True)
class Hour:
    """What one hour brought; of two numbers the first is with the lifecycle, the second without."""

    hour: int
    phase: str
    healthy: int = 0
    false: list[int] = field(default_factory=lambda: [0, 0])
    faulty: int = 0
    found: list[int] = field(default_factory=lambda: [0, 0])
    broken: int = 0
    broken_found: list[int] = field(default_factory=lambda: [0, 0])
    nats: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sums over the healthy
    probed: list[float] = field(default_factory=lambda: [0.0, 0.0])  # recall
    norm_error: list[float] | None = None
    orthogonality_error: list[float] | None = None
    ruler: bool = False
    inputs: list[str] = field(default_factory=list)
    regime: bool = False
    version: str = ""


@dataclass(slots=True)
class Training:
    """A training, and what its candidate would have done, as only the script can know.

    ``day_after`` is by how many nats per healthy record the promoted candidate was worse than the
    model before, over the day that followed.
    """

    hour: float
    reason: str
    status: str
    words: str
    version: str | None = None
    adopted: bool = False
    nats_difference: float | None = None
    finds: float | None = None
    champion_finds: float | None = None
    alerts: float | None = None
    day_after: float | None = None
    day_after_records: int = 0


class Operator:
    """Adopts a regime that he knows of, and once calls a day's alerts normal that are not."""

    def __init__(self, month: Month, life: Lifetime) -> None:
        self._month, self._life = month, life
        self._asked = float("-inf")
        self._again = False
        self._called: list[str] = []

    def act(self, phase: Phase) -> None:
        if phase.renewed:
            self._adopt()
        if phase.poisoned and not self._called:
            self._err()
        if not phase.poisoned and self._called:
            self._judge("anomaly", "it was not normal after all")
            self._called = []

    def _adopt(self) -> None:
        life, now = self._life, self._life.clock()
        shift = life.regime.shifted
        if self._asked + SEEN_MORE <= now and self._again:
            life.spool.put("retrain", {"adopt": True})
            self._again = False
        if shift is None or now - self._asked < ASKED_AGAIN:
            return
        lasted = now - datetime.fromisoformat(shift.detected_at).timestamp()
        seen = now - datetime.fromisoformat(shift.started_at).timestamp()
        if lasted >= KNOWN_AFTER and seen >= 0.9 * HOUR:
            life.spool.put("retrain", {"adopt": True})
            self._asked, self._again = now, True

    def _err(self) -> None:
        since, before = self._life.clock() - self._month.called_normal * HOUR, None
        while True:
            page = self._life.history.page(500, before)
            late = [alert for alert in page.alerts if alert.stored_at >= since]
            self._called += [alert.alert_id for alert in late]
            before = page.older
            if len(late) < len(page.alerts) or before is None:
                break
        self._judge("normal", "all of that day")

    def _judge(self, verdict: Any, note: str) -> None:
        self._life.feedback.give_all([(alert_id, verdict, note) for alert_id in self._called])


@dataclass(slots=True)
class _Follower:
    """The model before a promotion, which scores the day after as well."""

    training: Training
    before: Engine
    now: Engine
    until: float
    worse: list[NDArray[np.float64]] = field(default_factory=list)

    def score(self, records: Records) -> None:
        new = common(self.now.bundle, self.now.score(records), records, self.before.bundle)
        old = common(self.before.bundle, self.before.score(records), records, self.now.bundle)
        self.worse.append(new - old)

    def close(self) -> None:
        worse = np.concatenate(self.worse) if self.worse else np.zeros(0)
        self.training.day_after = float(worse.mean()) if len(worse) else None
        self.training.day_after_records = len(worse)
        self.before.close()
        self.now.close()


class Run:
    """``hours``, ``judged`` and ``news`` are what came of the month."""

    def __init__(self, month: Month, station: Station, first: Bundle, life: Lifetime) -> None:
        self._month, self._station, self._life = month, station, life
        self._first, self._frozen = first, Engine(first, DEVICE, SCHEMA)
        self._operator = Operator(month, life)
        self._began = life.clock()
        self._own: list[Records] = []
        self._batches: list[tuple[Step, Seen]] = []
        self._followers: list[_Follower] = []
        self.hours: list[Hour] = []
        self.judged: list[Training] = []

    @property
    def news(self) -> list[dict[str, Any]]:
        """What was sent to the sinks beside the alerts."""
        found = []
        for message in self._life.news.messages:
            if isinstance(message, RegimeShift):
                found.append(
                    {"kind": "regime", "status": message.status, "at": message.detected_at}
                )
            elif isinstance(message, DriftAlert):
                found.append(
                    {
                        "kind": message.kind,
                        "status": message.status,
                        "at": message.detected_at,
                        "sentence": message.sentence,
                    }
                )
        return found

    def batches(self) -> Iterator[Sequence[bytes]]:
        month, clock = self._month, self._life.clock
        total = sum(phase.hours for phase in month.phases) * month.rate
        for stop in range(month.batch, total + 1, month.batch):
            step = self._station.take(month.batch)
            hour = self._hour((stop - 1) // month.rate, step.phase)
            clock.now = self._began + stop / month.rate * HOUR
            yield step.payload
            self._count(step, self._life.last())
            self._look_at_trainings()
            self._operator.act(step.phase)
            if stop % month.rate == 0:
                self._close(hour)
        for follower in self._followers:
            follower.close()
        self._frozen.close()

    def _hour(self, number: int, phase: Phase) -> Hour:
        if not self.hours or self.hours[-1].hour != number:
            self.hours.append(Hour(number, phase.name))
        return self.hours[-1]

    def _count(self, step: Step, seen: Seen) -> None:
        records = seen.scored.records
        assert len(records) == len(step.truth), "a record was rejected"
        self._batches.append((step, seen))
        own = taken(records, np.flatnonzero([name is None for name in step.truth]))
        if len(own):
            self._own.append(own)

    def _sum_up(self, hour: Hour) -> None:
        """Count what the batches of the hour brought, under both models."""
        batches, self._batches = self._batches, []
        frozen = self._frozen.score(concatenate([seen.scored.records for _, seen in batches]))
        starts = np.cumsum([len(step.truth) for step, _ in batches])[:-1]
        for (step, seen), old in zip(batches, np.split(frozen, starts), strict=True):
            healthy = np.array([name is None for name in step.truth])
            broken = np.array([name == BROKEN for name in step.truth])
            hour.healthy += int(healthy.sum())
            hour.broken += int(broken.sum())
            hour.faulty += int((~healthy & ~broken).sum())
            anomalous = seen.anomalous, self._first.threshold.anomalous(old)
            for i, found in enumerate(anomalous):
                hour.false[i] += int((found & healthy).sum())
                hour.found[i] += int((found & ~healthy & ~broken).sum())
                hour.broken_found[i] += int((found & broken).sum())
        self._add_nats(hour, batches, frozen)

    def _add_nats(
        self, hour: Hour, batches: Sequence[tuple[Step, Seen]], frozen: NDArray[np.float64]
    ) -> None:
        """Add up what the healthy records cost, in the units that both models share."""
        start = 0
        for _, group in groupby(batches, key=lambda pair: id(pair[1].bundle)):
            parts = list(group)
            records = concatenate([seen.scored.records for _, seen in parts])
            nats = np.concatenate([seen.scored.nats for _, seen in parts])
            healthy = np.flatnonzero([name is None for step, _ in parts for name in step.truth])
            bundle, own = parts[0][1].bundle, taken(records, healthy)
            old = frozen[start : start + len(records)][healthy]
            start += len(records)
            hour.nats[0] += float(common(bundle, nats[healthy], own, self._first).sum())
            hour.nats[1] += float(common(self._first, old, own, bundle).sum())

    def _look_at_trainings(self) -> None:
        for attempt in self._life.retraining.attempts[len(self.judged) :]:
            training = self._judged(attempt)
            self.judged.append(training)
            if training.status == "promoted":
                self._follow(training, attempt)

    def _judged(self, attempt: Attempt) -> Training:
        outcome, verdict = attempt.outcome, attempt.verdict
        hour = (attempt.at - self._began) / HOUR
        training = Training(round(hour, 2), attempt.reason, outcome.status, outcome.words)
        if outcome.version is None:
            return training
        training.version = outcome.version
        if verdict is not None:
            figures = {n: v for check in verdict["checks"] for n, v in check["figures"].items()}
            training.adopted = verdict["adopted"]
            training.nats_difference = figures.get("nats_difference")
        store, probes = self._life.store, self._station.probes
        training.champion_finds = _alerting(store.load(attempt.champion), probes)
        candidate = store.load(outcome.version)
        training.finds = _alerting(candidate, probes)
        training.alerts = _alerting(candidate, concatenate(self._own)) if self._own else None
        return training

    def _follow(self, training: Training, attempt: Attempt) -> None:
        assert training.version is not None
        load = self._life.store.load
        before = Engine(load(attempt.champion), DEVICE, SCHEMA)
        now = Engine(load(training.version), DEVICE, SCHEMA)
        self._followers.append(_Follower(training, before, now, attempt.at + DAY))

    def _close(self, hour: Hour) -> None:
        self._sum_up(hour)
        life, serving = self._life, self._life.serving
        hour.version = serving.version
        hour.probed = [_alerting(b, self._station.probes) for b in (serving, self._first)]
        hour.ruler = life.ruler.last is not None and life.ruler.last.verdict.drifted
        hour.inputs = [] if life.inputs.last is None else list(life.inputs.last.drifted_features)
        hour.regime = life.regime.shifted is not None
        if self._own:
            own = concatenate(self._own)
            self._measure(hour, own, serving)
            for follower in self._followers:
                follower.score(own)
        for follower in [f for f in self._followers if f.until <= life.clock()]:
            self._followers.remove(follower)
            follower.close()
        self._own = []

    def _measure(self, hour: Hour, own: Records, serving: Bundle) -> None:
        if hour.hour % MEASURED_EVERY:
            return
        found = [
            isometry(b.model, b.encoder.encode(own), max_records=500)
            for b in (serving, self._first)
        ]
        hour.norm_error = [float(each.norm_error) for each in found]
        hour.orthogonality_error = [float(each.orthogonality_error) for each in found]


def common(
    bundle: Bundle, nats: NDArray[np.float64], records: Records, other: Bundle
) -> NDArray[np.float64]:
    """Return scores [n] of ``bundle`` as they compare with those of ``other``, capped."""
    capped = np.minimum(nats, bundle.threshold.nats + CAP)
    return in_common_units(bundle, capped, records, other)


def _alerting(bundle: Bundle, records: Records) -> float:
    """Return the share of ``records`` on which ``bundle`` alerts."""
    engine = Engine(bundle, DEVICE, SCHEMA)
    try:
        return float(bundle.threshold.anomalous(engine.score(records)).mean())
    finally:
        engine.close()
