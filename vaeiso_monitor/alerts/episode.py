"""One episode: the alerts of an entity that follow each other without a quiet time between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.alerts.summary import Summary, SummaryStatus, SummaryType
from vaeiso_monitor.alerts.tally import Tally, Worst, rank, short, worst_of
from vaeiso_monitor.alerts.words import iso_of

if TYPE_CHECKING:
    from vaeiso_monitor.alerts.alert import Alert


class Episode(msgspec.Struct, kw_only=True):
    """What is known of an episode, or of a flood (many episodes told as one).

    ``started``, ``last`` and ``told`` (the last message about it) are Unix seconds by the monitor's
    clock. ``pending`` are the alerts that no message has told of yet; those of an episode that
    belongs to a ``flood`` (its id) are pending there.
    """

    id: str
    type: SummaryType = "episode"
    entity: dict[str, Any] | None
    entities: int = 1
    first_event_time: str | None
    last_event_time: str | None
    started: float
    last: float
    told: float
    last_critical: float | None = None
    count: int = 0
    criticals: int = 0
    summaries: int = 0
    flood: str | None = None
    peak: Worst
    pending: Tally = msgspec.field(default_factory=Tally)

    def note(self, alert: Alert, now: float) -> None:
        """Count an alert, sent or not."""
        self.count += 1
        self.last = now
        self.last_event_time = alert.event_time
        if alert.severity == "critical":
            self.criticals += 1
            self.last_critical = now
        if rank(alert) > self.peak.rank:
            self.peak = worst_of(alert)

    def quiet(self, now: float, seconds: float) -> bool:
        """Say whether nothing came for so long; a clock that was put back ends it as well."""
        return abs(now - self.last) > seconds

    def calm(self, now: float, seconds: float) -> bool:
        """Say whether nothing critical came for so long."""
        return self.last_critical is None or abs(now - self.last_critical) > seconds

    def due(self, now: float, seconds: float) -> bool:
        """Say whether there is something to tell, and long enough ago that something was."""
        return bool(self.pending.alerts) and abs(now - self.told) >= seconds

    def summary(self, status: SummaryStatus, now: float) -> Summary:
        """Return a summary of what is pending, which from now on counts as told."""
        pending, self.pending = self.pending, Tally()
        self.told = now
        self.summaries += 1
        return Summary(
            type=self.type,
            episode_id=self.id,
            status=status,
            severity="critical" if self.criticals else "warning",
            entity=self.entity,
            entities=self.entities,
            first_event_time=self.first_event_time,
            last_event_time=self.last_event_time,
            started_at=iso_of(self.started),
            detected_at=iso_of(now),
            duration_seconds=round(max(self.last - self.started, 0.0), 3),
            alerts=self.count,
            criticals=self.criticals,
            new_alerts=pending.alerts,
            new_criticals=pending.criticals,
            peak=self.peak,
            worst=pending.worst,
            features=pending.most_blamed(),
        )


def begun(alert: Alert, now: float, type_: SummaryType = "episode") -> Episode:
    """Return an episode, or a flood, that begins with ``alert``, which is not counted yet."""
    return Episode(
        id=f"{type_[0]}{alert.alert_id[:15]}",
        type=type_,
        entity=short(alert.entity) if type_ == "episode" else None,
        entities=1 if type_ == "episode" else 0,
        first_event_time=alert.event_time,
        last_event_time=alert.event_time,
        started=now,
        last=now,
        told=now,
        peak=worst_of(alert),
    )
