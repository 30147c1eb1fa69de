"""From scores to alerts: the anomalous records of a batch, explained in one pass."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.alerts.alert import Alert, Feature, Latent, Mode, alert_id
from vaeiso_monitor.alerts.words import iso, place
from vaeiso_monitor.detect import severity
from vaeiso_monitor.records import parse_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.alerts.config import AlertsConfig
    from vaeiso_monitor.bundle import Engine, Explanation, Scored
    from vaeiso_monitor.types import Records


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
            "detected_at": iso(now),
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
        self._at = {c.name: (i, c.kind) for i, c in enumerate(engine.schema.number_columns)}
        self._names = [feature.name for feature in bundle.encoder.features]
        self._units = {column.name: column.unit for column in engine.schema.columns}
        self._why = explanation
        self._top = _largest(explanation.feature_nats, config.top_features)
        self._busiest = _largest(explanation.latent_nats, config.top_latents)
        self._distortion = explanation.feature_nats.sum(axis=1).tolist()
        self._rate = (explanation.latent_nats.sum(axis=1) + explanation.mode_nats).tolist()
        self._modes = explanation.mode.tolist() if explanation.mode is not None else None
        self._shares = bundle.mode_shares
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
            "mode": self._mode(i),
        }

    def _mode(self, i: int) -> Mode | None:
        if self._modes is None:
            return None
        index = self._modes[i]
        return Mode(index, self._shares[index], float(self._why.mode_nats[i]))

    def _feature(self, i: int, j: int, row: int, record: dict[str, Any]) -> Feature:
        name = self._names[j]
        value = record.get(name)
        if isinstance(value, str) and name in self._at:  # of a CSV file all values are texts
            column, kind = self._at[name]
            number = float(self._numbers[row, column])
            value = bool(number) if kind == "boolean" else number
        nats = float(self._why.feature_nats[i, j])
        expected = self._why.expected[j][i]
        return Feature(name, value, expected, nats, self._units.get(name), value is None)


def _largest(nats: NDArray[np.float64], count: int) -> list[list[int]]:
    order: list[list[int]] = np.argsort(-nats, axis=1, kind="stable")[:, :count].tolist()
    return order


def _identity(engine: Engine, scored: Scored, row: int) -> dict[str, Any]:
    records, at = scored.records, int(scored.records.rows[row])
    position = scored.batch.position(at)
    when = parse_time(records.times[row]) if records.times is not None else None
    when = when or _instant(scored.batch.timestamp(at))
    entity = engine.schema.entity
    return {
        "alert_id": alert_id(position, engine.bundle.version),
        "event_time": iso(when) if when is not None else None,
        "source": place(position),
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
        "trained_at": iso(bundle.created),
        "isometry_healthy": bundle.isometry_healthy,
        "scoring": bundle.scoring.method,
    }
