"""What is kept of alerts that are not sent one by one: counts, the worst, the features to blame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from vaeiso_monitor.alerts.alert import Alert

_WORST = 3
_LONGEST = 120


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """One of the worst alerts of several: enough to find it and to see how bad it is."""

    alert_id: str
    event_time: str | None
    entity: dict[str, Any] | None
    severity: str
    nats: float | None
    anomaly_score: float | None
    tail_probability: float
    feature: str | None

    @property
    def rank(self) -> float:
        """How bad it is; a score that is no number is the worst of all."""
        return math.inf if self.nats is None else self.nats


class Blame(msgspec.Struct, frozen=True):
    """A feature, in how many alerts it was the one that cost most, and what it cost there."""

    name: str
    alerts: int
    nats: float


class Tally(msgspec.Struct):
    """Alerts counted together; ``blamed`` is [alerts, nats] by feature.

    ``worst`` are alerts of different features, the worst first: ten alerts of one fault would hide
    a second fault.
    """

    alerts: int = 0
    criticals: int = 0
    worst: list[Worst] = msgspec.field(default_factory=list)
    blamed: dict[str, list[float]] = msgspec.field(default_factory=dict)

    def add(self, alert: Alert) -> None:
        """Count one alert."""
        self.alerts += 1
        self.criticals += alert.severity == "critical"
        first = alert.features[0] if alert.features else None
        if first is not None:
            self._blame(first.name, 1, first.nats)
        if self._tells_more(None if first is None else first.name, rank(alert)):
            self._insert(worst_of(alert))

    def take(self, other: Tally) -> None:
        """Count all that another tally has counted."""
        self.alerts += other.alerts
        self.criticals += other.criticals
        for name, (alerts, nats) in other.blamed.items():
            self._blame(name, alerts, nats)
        for worst in other.worst:
            if self._tells_more(worst.feature, worst.rank):
                self._insert(worst)

    def most_blamed(self) -> list[Blame]:
        """Return the features that were most often the one that cost most."""
        order = sorted(self.blamed.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
        return [Blame(name, int(alerts), nats) for name, (alerts, nats) in order[:_WORST]]

    def _blame(self, name: str, alerts: float, nats: float) -> None:
        cost = nats if math.isfinite(nats) else 0.0
        known = self.blamed.get(name)
        if known is None:
            self.blamed[name] = [alerts, cost]
        else:
            known[0] += alerts
            known[1] += cost

    def _tells_more(self, feature: str | None, rank: float) -> bool:
        """Say whether an alert is worse than those kept: than that of its feature, if one is."""
        for worst in self.worst:
            if worst.feature == feature:
                return rank > worst.rank
        return len(self.worst) < _WORST or rank > self.worst[-1].rank

    def _insert(self, worst: Worst) -> None:
        self.worst = [each for each in self.worst if each.feature != worst.feature]
        self.worst.append(worst)
        self.worst.sort(key=lambda each: -each.rank)  # stable: of equals the first stays first
        del self.worst[_WORST:]


def rank(alert: Alert) -> float:
    """Return how bad an alert is among others; a score that is no number is the worst of all."""
    return alert.nats if math.isfinite(alert.nats) else math.inf


def worst_of(alert: Alert) -> Worst:
    """Return what is kept of an alert that may be the worst."""
    return Worst(
        alert_id=alert.alert_id,
        event_time=alert.event_time,
        entity=short(alert.entity),
        severity=alert.severity,
        nats=_finite(alert.nats),
        anomaly_score=_finite(alert.anomaly_score),
        tail_probability=alert.tail_probability,
        feature=alert.features[0].name if alert.features else None,
    )


def short(entity: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an entity that is cheap to keep: a long value is cut, as text."""
    if entity is None:
        return None
    return {name: _cut(value) for name, value in entity.items()}


def _cut(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= _LONGEST else text[:_LONGEST]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
