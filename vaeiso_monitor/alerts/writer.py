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
        threshold, nats = engine.bundle.threshold, scored.nats[flagged]
        anomaly_scores = threshold.anomaly_score(nats).tolist()
        why = _Why(engine, scored.records, engine.explain(scored.x[flagged]), self._config)
        shared: dict[str, Any] = {
            "detected_at": iso(now),
            "threshold_nats": threshold.nats,
            "alert_budget": threshold.budget,
            "model": _model(engine),
        }
        places = scored.records.rows[flagged].tolist()
        figures = zip(
            nats.tolist(), anomaly_scores, threshold.tail_probability(nats).tolist(), strict=True
        )
        alerts = []
        for i, (score, anomaly_score, tail) in enumerate(figures):
            row, record = int(flagged[i]), engine.decoder.values(scored.batch, places[i])
            alerts.append(
                Alert(
                    **shared,
                    **_identity(engine, scored, row, places[i]),
                    **why.parts(i, row, record),
                    severity=severity(anomaly_score),
                    nats=score,
                    anomaly_score=anomaly_score,
                    tail_probability=tail,
                    record=record if self._config.include_record else None,
                )
            )
        return alerts


class _Why:
    """The explanation of some records, as it is written into their alerts."""

    def __init__(
        self, engine: Engine, records: Records, explanation: Explanation, config: AlertsConfig
    ) -> None:
        bundle, schema = engine.bundle, engine.schema
        self._numbers = records.numbers
        self._at = {c.name: (i, c.kind) for i, c in enumerate(schema.number_columns)}
        units = {column.name: column.unit for column in schema.columns}
        self._columns = [(f.name, units.get(f.name)) for f in bundle.encoder.features]
        self._expected = explanation.expected
        self._extreme = explanation.extreme_nats
        self._top = _largest(explanation.feature_nats, config.top_features)
        self._busiest = _largest(explanation.latent_nats, config.top_latents)
        self._distortion = explanation.feature_nats.sum(axis=1).tolist()
        self._rate = (explanation.latent_nats.sum(axis=1) + explanation.mode_nats).tolist()
        self._modes = _modes(bundle.mode_shares, explanation)
        self._importance = bundle.importance_ratios
        self._moves = bundle.moved_features

    def parts(self, i: int, row: int, record: dict[str, Any]) -> dict[str, Any]:
        """Return the explaining fields of the alert of record ``i``, which stands in ``row``."""
        importance, moves = self._importance.get, self._moves.get
        return {
            "distortion_nats": self._distortion[i],
            "rate_nats": self._rate[i],
            "features": [self._feature(i, j, nats, row, record) for j, nats in self._top[i]],
            "latents": [
                Latent(j, nats, importance(j), moves(j, ())) for j, nats in self._busiest[i]
            ],
            "mode": self._modes[i] if self._modes is not None else None,
        }

    def _feature(self, i: int, j: int, nats: float, row: int, record: dict[str, Any]) -> Feature:
        name, unit = self._columns[j]
        value = record.get(name)
        if isinstance(value, str) and name in self._at:  # of a CSV file all values are texts
            column, kind = self._at[name]
            number = float(self._numbers[row, column])
            value = bool(number) if kind == "boolean" else number
        extreme = 0.0 if self._extreme is None else float(self._extreme[i, j])
        return Feature(name, value, self._expected[j][i], nats, unit, value is None, extreme)


def _modes(shares: list[float], explanation: Explanation) -> list[Mode] | None:
    """Return the mode of each record, None for a model without modes."""
    if explanation.mode is None:
        return None
    found = zip(explanation.mode.tolist(), explanation.mode_nats.tolist(), strict=True)
    return [Mode(index, shares[index], nats) for index, nats in found]


def _largest(nats: NDArray[np.float64], count: int) -> list[list[tuple[int, float]]]:
    """Return for each record the ``count`` columns with the most nats, and how many these are."""
    order = np.argsort(-nats, axis=1, kind="stable")[:, :count]
    most = np.take_along_axis(nats, order, axis=1)
    pairs = zip(order.tolist(), most.tolist(), strict=True)
    return [list(zip(columns, values, strict=True)) for columns, values in pairs]


def _identity(engine: Engine, scored: Scored, row: int, at: int) -> dict[str, Any]:
    """Return who the record in ``row`` is, which came as ``at`` in its batch."""
    records, position = scored.records, scored.batch.position(at)
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
