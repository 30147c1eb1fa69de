"""What stands at Alertmanager: one alert for each episode, regime shift and drift that goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_LONGEST_LABEL: Final = 120
_LONGEST_ANNOTATION: Final = 2000
_NAMES: Final = {
    "alert": "VaeisoAnomaly",
    "regime_shift": "VaeisoRegimeShift",
    "drift": "VaeisoDrift",
}
FLOOD: Final = "VaeisoAnomalyFlood"


class Said(msgspec.Struct, kw_only=True):
    """What is read of a message: the fields that alerts, regime shifts and drifts have."""

    type: str = ""
    severity: str = "warning"
    status: str = "started"
    kind: str | None = None
    entity: dict[str, Any] | None = None
    source: dict[str, Any] | None = None
    alert_id: str | None = None
    event_time: str | None = None
    detected_at: str | None = None
    anomaly_score: float | None = None
    episode: dict[str, Any] | None = None


class Standing(msgspec.Struct, kw_only=True):
    """An alert that stands; ``started`` and ``seen`` (the last message) are Unix seconds.

    A ``lasting`` one stands until its end is told, any other until nothing was seen for a while.
    """

    labels: dict[str, str]
    annotations: dict[str, str]
    started: float
    seen: float
    lasting: bool
    worst: float = 0.0
    messages: int = 0

    def posted(self, ends: float, page_url: str | None) -> dict[str, Any]:
        """Return it as the v2 interface of Alertmanager takes it, ending at ``ends``."""
        link = {} if page_url is None else {"generatorURL": page_url}
        return {
            "labels": self.labels,
            "annotations": {**self.annotations, "messages": str(self.messages)},
            "startsAt": _instant(self.started),
            "endsAt": _instant(max(ends, self.started)),
            **link,
        }


class Board:
    """The alerts that stand, at most ``max_alerts`` of entities; beyond that they are one flood.

    An episode ends when its entity raised no alert for ``quiet_seconds``. ``labels`` are put on
    every alert. What stands can be taken over by the next process: see ``standing``.
    """

    def __init__(
        self, quiet_seconds: float, max_alerts: int, labels: Mapping[str, str] | None = None
    ) -> None:
        self._quiet = quiet_seconds
        self._max = max_alerts
        self._labels = dict(labels or {})
        self.standing: dict[str, Standing] = {}

    def take(self, said: Said, text: str, now: float) -> tuple[list[Standing], list[Standing]]:
        """Take note of a message; return what stands anew through it, and what is over."""
        if said.type not in _NAMES:
            return [], []
        if said.type != "alert":
            return self._take_lasting(said, text, now)
        key = self._key(said)
        there = self.standing.get(key)
        over: list[Standing] = []
        if there is not None and now - there.seen > self._quiet:
            over, there = [self.standing.pop(key)], None
        rose = there is not None and said.severity == "critical" != there.labels["severity"]
        if there is None or rose:
            if there is not None:
                over.append(there)
            started = now if there is None else there.started
            new = self.standing[key] = self._new(key, said, started, now)
            new.messages = 0 if there is None else there.messages
            self._note(new, said, text, now)
            return [new], over
        self._note(there, said, text, now)
        return [], over

    def ended(self, now: float) -> list[Standing]:
        """Take down, and return, the episodes that are over."""
        keys = [
            key
            for key, each in self.standing.items()
            if not each.lasting and abs(now - each.seen) > self._quiet
        ]
        return [self.standing.pop(key) for key in keys]

    def _take_lasting(
        self, said: Said, text: str, now: float
    ) -> tuple[list[Standing], list[Standing]]:
        key = f"{said.type}:{said.kind or ''}"
        there = self.standing.pop(key, None)
        if said.status == "ended":
            return [], [] if there is None else [there]
        new = self.standing[key] = self._new(key, said, there.started if there else now, now)
        self._note(new, said, text, now)
        return [new], [] if there is None or there.labels == new.labels else [there]

    def _key(self, said: Said) -> str:
        """Return what tells episodes apart: the entity, or that it is one of too many."""
        key = f"alert:{_value(said.entity)}"
        held = sum(not each.lasting for each in self.standing.values())
        return key if key in self.standing or held < self._max else FLOOD

    def _new(self, key: str, said: Said, started: float, now: float) -> Standing:
        flood, lasting = key == FLOOD, said.type != "alert"
        labels = {"alertname": FLOOD if flood else _NAMES[said.type], "severity": said.severity}
        if said.type == "regime_shift":
            labels["severity"] = "critical"
        if said.kind:
            labels["kind"] = said.kind
        if said.source:
            labels["source"] = _short(said.source.get("type"))
        if (entity := _value(said.entity)) and not flood:
            labels["entity"] = entity
        labels = {**self._labels, **labels}
        return Standing(labels=labels, annotations={}, started=started, seen=now, lasting=lasting)

    def _note(self, standing: Standing, said: Said, text: str, now: float) -> None:
        """Count a message, and keep what it says if it is the worst so far."""
        standing.seen = now
        standing.messages += 1
        score = float("inf") if said.anomaly_score is None else said.anomaly_score
        if standing.annotations and score <= standing.worst:
            return
        standing.worst = min(
            score, 1e300
        )  # what is no number is the worst, and JSON has no infinity
        head, _, rest = text.partition("\n")
        told = {
            "summary": " ".join(head.split()),
            "description": rest,
            "alert_id": said.alert_id,
            "episode_id": (said.episode or {}).get("id"),
            "event_time": said.event_time,
        }
        standing.annotations = {
            name: str(value)[:_LONGEST_ANNOTATION] for name, value in told.items() if value
        }


def _value(entity: Mapping[str, Any] | None) -> str:
    """Return the value of an entity as a label: one line, not too long."""
    return "" if not entity else _short(next(iter(entity.values())))


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:_LONGEST_LABEL].strip()


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
