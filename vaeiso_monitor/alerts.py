"""What leaves the daemon: the alert record, and the dead letter of a record that did not fit."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from annotated_types import Ge

from vaeiso_monitor.detect import severity
from vaeiso_monitor.records import parse_time
from vaeiso_monitor.sinks import FileSinkConfig, SinkConfig, StdoutSinkConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle import Engine, Explanation, Scored
    from vaeiso_monitor.types import Position, Records, Reject

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """What an alert holds and where it goes (``[[alerts.sinks]]``)."""

    top_features: Annotated[int, Ge(1)] = 5
    top_latents: Annotated[int, Ge(0)] = 3
    include_record: bool = True
    sinks: tuple[SinkConfig, ...] = (StdoutSinkConfig(),)


@dataclass(frozen=True, slots=True)
class DeadLettersConfig:
    """Where records go that do not fit the schema (``[[dead_letters.sinks]]``)."""

    sinks: tuple[SinkConfig, ...] = (FileSinkConfig(path="state/dead_letters.jsonl"),)


class Feature(msgspec.Struct, frozen=True):
    """One column's share of the score: its value, what the model expected, and the nats it cost."""

    name: str
    value: Any
    expected: Any
    nats: float
    unit: str | None = None
    imputed: bool = False


class Latent(msgspec.Struct, frozen=True):
    """One latent's share of the score (its rate, KL), and its importance among all (Eq. 22)."""

    index: int
    nats: float
    importance_ratio: float | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One anomalous record; docs/alerts.md describes every field.

    ``nats`` = sum of all feature nats + sum of all latent nats + the model's constant; only the top
    features and latents are listed. ``anomaly_score`` is 1.0 on the alert line.
    """

    schema_version: int = SCHEMA_VERSION
    alert_id: str
    severity: str
    event_time: str | None
    detected_at: str
    source: dict[str, Any]
    entity: dict[str, Any] | None
    record_key: Any
    model: dict[str, Any]
    nats: float
    threshold_nats: float
    anomaly_score: float
    tail_probability: float
    alert_budget: float
    distortion_nats: float
    rate_nats: float
    features: list[Feature]
    latents: list[Latent]
    record: dict[str, Any] | None

    @property
    def key(self) -> bytes:
        """Return the alert's id: the same for a repeat of the same record and bundle."""
        return self.alert_id.encode()

    def to_json(self) -> bytes:
        """Return the alert as one JSON document; what is not finite becomes null."""
        return msgspec.json.encode(self, enc_hook=str)

    def to_text(self) -> str:
        """Return the alert for a terminal: what, when, how rare, and why."""
        who = " ".join(str(v) for v in (self.entity or {}).values() if v is not None)
        if not who and self.record_key is not None:
            who = str(self.record_key)
        head = (
            f"{self.severity.upper():8} {self.event_time or self.detected_at}  {who}  "
            f"{self.nats:.1f} nats (alert line {self.threshold_nats:.1f}), "
            f"{_rarity(self.tail_probability)}"
        )
        return "\n".join([head, *(f"    {_feature_line(f)}" for f in self.features[:3])])


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be scored: why, where it was read, and its bytes as they came.

    ``raw`` is text where the bytes are UTF-8; otherwise ``raw_base64`` holds them.
    """

    schema_version: int = SCHEMA_VERSION
    reason: str
    detail: str
    rejected_at: str
    source: dict[str, Any]
    raw: str | None
    raw_base64: str | None

    @property
    def key(self) -> bytes:
        """Return the position as text: a repeat of the same record has the same key."""
        place = self.source
        return f"{place['type']}:{place['stream']}/{place['partition']}@{place['offset']}".encode()

    def to_json(self) -> bytes:
        """Return the dead letter as one JSON document."""
        return msgspec.json.encode(self)

    def to_text(self) -> str:
        """Return the dead letter in one line."""
        return f"DEAD LETTER {self.reason}: {self.detail} ({self.key.decode()})"


def dead_letter(reject: Reject, now: datetime) -> DeadLetter:
    """Wrap a reject for delivery."""
    try:
        text, encoded = reject.raw.decode(), None
    except UnicodeDecodeError:
        text, encoded = None, base64.b64encode(reject.raw).decode()
    return DeadLetter(
        reason=reject.reason.value,
        detail=reject.detail,
        rejected_at=_iso(now),
        source=_source(reject.position),
        raw=text,
        raw_base64=encoded,
    )


def alert_id(position: Position, version: str) -> str:
    """Return the id of an alert: a hash of where the record was read and of who scored it."""
    return hashlib.sha256(f"{position}|{version}".encode()).hexdigest()[:32]


class AlertWriter:
    """Turns the anomalous records of a batch into alerts, explained in one pass."""

    def __init__(self, config: AlertsConfig) -> None:
        self._config = config

    def write(
        self, engine: Engine, scored: Scored, flagged: NDArray[np.int64], now: datetime
    ) -> list[Alert]:
        """Return an alert for each of the ``flagged`` rows (indices into ``scored.records``)."""
        if not len(flagged):
            return []
        threshold = engine.bundle.threshold
        nats = scored.nats[flagged]
        anomaly_scores = threshold.anomaly_score(nats).tolist()
        tails = threshold.tail_probability(nats).tolist()
        why = _Why(engine, scored.records, engine.explain(scored.x[flagged]), self._config)
        shared: dict[str, Any] = {
            "detected_at": _iso(now),
            "threshold_nats": threshold.nats,
            "alert_budget": threshold.budget,
            "model": _model(engine),
        }
        alerts = []
        for i, row in enumerate(flagged.tolist()):
            record = engine.decoder.values(scored.batch, int(scored.records.rows[row]))
            alerts.append(
                Alert(
                    **shared,
                    **_identity(engine, scored, row),
                    **why.parts(i, row, record),
                    severity=severity(anomaly_scores[i]),
                    nats=float(nats[i]),
                    anomaly_score=anomaly_scores[i],
                    tail_probability=tails[i],
                    record=record if self._config.include_record else None,
                )
            )
        return alerts


class _Why:
    """The explanation of some records, as it is written into their alerts."""

    def __init__(
        self, engine: Engine, records: Records, explanation: Explanation, config: AlertsConfig
    ) -> None:
        bundle = engine.bundle
        self._numbers = records.numbers
        self._places = {c.name: (i, c.kind) for i, c in enumerate(engine.schema.number_columns)}
        self._names = [feature.name for feature in bundle.encoder.features]
        self._units = {column.name: column.unit for column in engine.schema.columns}
        self._why = explanation
        self._top = _largest(explanation.feature_nats, config.top_features)
        self._busiest = _largest(explanation.latent_nats, config.top_latents)
        self._distortion = explanation.feature_nats.sum(axis=1).tolist()
        self._rate = explanation.latent_nats.sum(axis=1).tolist()
        self._importance = bundle.importance_ratios

    def parts(self, i: int, row: int, record: dict[str, Any]) -> dict[str, Any]:
        """Return the explaining fields of the alert of record ``i``, which stands in ``row``."""
        features = [self._feature(i, j, row, record) for j in self._top[i]]
        latents = [
            Latent(j, float(self._why.latent_nats[i, j]), self._importance.get(j))
            for j in self._busiest[i]
        ]
        return {
            "distortion_nats": self._distortion[i],
            "rate_nats": self._rate[i],
            "features": features,
            "latents": latents,
        }

    def _feature(self, i: int, j: int, row: int, record: dict[str, Any]) -> Feature:
        name = self._names[j]
        value = record.get(name)
        if isinstance(value, str) and name in self._places:  # of a CSV file all values are texts
            place, kind = self._places[name]
            number = float(self._numbers[row, place])
            value = bool(number) if kind == "boolean" else number
        nats = float(self._why.feature_nats[i, j])
        expected = self._why.expected[j][i]
        return Feature(name, value, expected, nats, self._units.get(name), value is None)


def _largest(nats: NDArray[np.float64], count: int) -> list[list[int]]:
    order: list[list[int]] = np.argsort(-nats, axis=1, kind="stable")[:, :count].tolist()
    return order


def _identity(engine: Engine, scored: Scored, row: int) -> dict[str, Any]:
    records, place = scored.records, int(scored.records.rows[row])
    position = scored.batch.position(place)
    when = parse_time(records.times[row]) if records.times is not None else None
    when = when or _instant(scored.batch.timestamp(place))
    entity = engine.schema.entity
    return {
        "alert_id": alert_id(position, engine.bundle.version),
        "event_time": _iso(when) if when is not None else None,
        "source": _source(position),
        "entity": {entity: records.entities[row]} if entity and records.entities else None,
        "record_key": records.keys[row] if records.keys is not None else None,
    }


def _instant(stamp: float | None) -> datetime | None:
    """Return the source's own time, or None for a number that no calendar has."""
    try:
        return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _model(engine: Engine) -> dict[str, Any]:
    bundle = engine.bundle
    return {
        "version": bundle.version,
        "beta": bundle.model.betas[0],
        "trained_at": _iso(bundle.created),
        "isometry_healthy": bundle.isometry_healthy,
        "scoring": bundle.scoring.method,
    }


def _source(position: Position) -> dict[str, Any]:
    return {
        "type": position.source,
        "stream": position.stream,
        "partition": position.partition,
        "offset": position.offset,
    }


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rarity(tail_probability: float) -> str:
    if tail_probability < 1e-9:
        return "unheard of among normal records"
    return f"1 in {round(1 / tail_probability):,} normal records"


def _feature_line(feature: Feature) -> str:
    unit = f" {feature.unit}" if feature.unit else ""
    value = "missing" if feature.imputed else f"{_shown(feature.value)}{unit}"
    expected = f"expected {_shown(feature.expected)}{unit if feature.expected is not None else ''}"
    return f"{feature.name:24} {value:>18}   {expected:28} {feature.nats:+8.1f} nats"


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
