"""The summary: what is said of an episode, or of a flood, instead of its alerts one by one."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from vaeiso_monitor.alerts.tally import Blame, Worst
from vaeiso_monitor.alerts.words import SCHEMA_VERSION, counted, lasting, named, rarity, short_id
from vaeiso_monitor.records import parse_time

SummaryType = Literal["episode", "flood"]
SummaryStatus = Literal["started", "ongoing", "ended"]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Many alerts in one message, to sinks with ``detail = "episodes"``.

    ``alerts`` and ``criticals`` count from the start, those that were sent one by one included;
    ``new_alerts``, ``new_criticals``, ``worst`` and ``features`` are about those that were not, and
    that no summary before this one told of. ``peak`` is the worst alert of all.
    """

    schema_version: int = SCHEMA_VERSION
    type: SummaryType
    episode_id: str
    status: SummaryStatus
    severity: str
    entity: dict[str, Any] | None
    entities: int
    first_event_time: str | None
    last_event_time: str | None
    started_at: str
    detected_at: str
    duration_seconds: float
    alerts: int
    criticals: int
    new_alerts: int
    new_criticals: int
    peak: Worst
    worst: list[Worst]
    features: list[Blame]

    @property
    def key(self) -> bytes:
        """Return episode, status and count: two summaries of an episode have different keys."""
        return f"{self.episode_id}:{self.status}:{self.alerts}".encode()

    def to_json(self) -> bytes:
        """Return the summary as one JSON document; what is not finite becomes null."""
        return msgspec.json.encode(self, enc_hook=str)

    def to_text(self) -> str:
        """Return the summary for a terminal: how it goes on, what is to blame, the worst."""
        word = "FLOOD" if self.type == "flood" else self.status.upper()
        when = self.last_event_time or self.detected_at
        head = f"{word:8} {when}  {self._who()}  {self._course()}"
        lines = [head]
        if self.features:
            lines.append(f"    most often because of {', '.join(map(_blamed, self.features))}")
        lines += [f"    {self._worst_line(worst)}" for worst in self.worst]
        return "\n".join(lines)

    def _who(self) -> str:
        if self.type == "flood":
            return "1 entity" if self.entities == 1 else f"{self.entities:,} entities"
        return named(self.entity) or "the stream"

    def _course(self) -> str:
        critical = f" ({self.new_criticals:,} critical)" if self.new_criticals else ""
        if self.status == "started":
            return f"raise alerts at once; {self.new_alerts:,}{critical} held back so far"
        word = "over after" if self.status == "ended" else "going on for"
        more = counted(self.new_alerts, "more alert") if self.new_alerts else "no more alerts"
        return f"{word} {lasting(self._seconds())}: {more}{critical}, {self.alerts:,} in all"

    def _seconds(self) -> float:
        """Return how long it lasts by the records' own time where they have one."""
        first, last = parse_time(self.first_event_time), parse_time(self.last_event_time)
        if first is None or last is None or last < first:
            return self.duration_seconds
        return (last - first).total_seconds()

    def _worst_line(self, worst: Worst) -> str:
        nats = "no number of" if worst.nats is None else f"{worst.nats:.1f}"
        who = f"  {named(worst.entity)}" if self.type == "flood" else ""
        why = f", {worst.feature}" if worst.feature else ""
        return (
            f"{worst.event_time or ''}{who}  {nats} nats, {rarity(worst.tail_probability)}{why}"
            f"  ({short_id(worst.alert_id)})"
        ).strip()


def _blamed(blame: Blame) -> str:
    return f"{blame.name} ({blame.alerts:,})"
