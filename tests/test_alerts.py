from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plain import SCHEMA, anomaly, documents, raw
from vaeiso_monitor.alerts import (
    Alert,
    AlertsConfig,
    AlertWriter,
    DeadLetter,
    Feature,
    Latent,
    alert_id,
    dead_letter,
)
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.bundle.meaning import moved_by
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.types import Position, RawBatch, Reject, RejectReason, Span

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def alerts(
    bundle: Bundle,
    batch: RawBatch,
    config: AlertsConfig | None = None,
    schema: Schema | None = None,
) -> list[Alert]:
    """Return an alert for every record of ``batch``, anomalous or not."""
    engine = Engine(bundle, resolve_device("cpu"), schema)
    try:
        scored = engine.launch(batch).wait()
        assert not scored.rejects
        rows = np.arange(len(scored.nats))
        return AlertWriter(config or AlertsConfig()).write(engine, scored, rows, NOW)
    finally:
        engine.close()


def one(bundle: Bundle, **changes: object) -> Alert:
    record = {**json.loads(anomaly(7)), **changes}
    return alerts(bundle, raw([json.dumps(record).encode()]))[0]


def test_an_alert_is_written_as_it_is_declared(bundle: Bundle) -> None:
    alert = one(bundle)
    document = json.loads(alert.to_json())
    assert list(document) == [field.name for field in msgspec.structs.fields(Alert)]
    for kind, items in ((Feature, document["features"]), (Latent, document["latents"])):
        for item in items:
            assert list(item) == [field.name for field in msgspec.structs.fields(kind)]
    assert document["schema_version"] == 1
    assert document["alert_id"].encode() == alert.key
    assert document["event_time"] == "2025-06-15T15:06:47.000Z"
    assert document["detected_at"] == "2026-01-02T03:04:05.678Z"
    assert document["source"] == {
        "type": "memory",
        "stream": "memory",
        "partition": 0,
        "offset": 0,
    }
    assert document["entity"] == {"pump": "p0"}
    assert document["record_key"] == 7
    assert document["model"]["version"] == bundle.version
    assert document["model"]["scoring"] == "sampled"
    assert document["severity"] == "critical"
    assert document["alert_budget"] == 0.02
    assert document["record"] == json.loads(anomaly(7))
    assert msgspec.convert(document, Alert) == alert
    assert b"\n" not in alert.to_json()


def test_parts_add_up_and_the_largest_come_first(bundle: Bundle) -> None:
    every = AlertsConfig(top_features=99, top_latents=99)
    alert = alerts(bundle, raw([anomaly(1)]), every)[0]
    features = [feature.nats for feature in alert.features]
    latents = [latent.nats for latent in alert.latents]
    assert features == sorted(features, reverse=True)
    assert latents == sorted(latents, reverse=True)
    assert sum(features) == pytest.approx(alert.distortion_nats)
    mode = alert.mode.nats if alert.mode else 0.0
    assert sum(latents) + mode == pytest.approx(alert.rate_nats, abs=1e-9)
    shares = [latent.importance_ratio for latent in alert.latents]
    assert sum(share for share in shares if share is not None) == pytest.approx(1)
    few = alerts(bundle, raw([anomaly(1)]), AlertsConfig(top_features=1, top_latents=0))[0]
    assert few.features == alert.features[:1]
    assert few.latents == []
    assert few.distortion_nats == alert.distortion_nats


def test_the_record_can_be_left_out(bundle: Bundle) -> None:
    alert = alerts(bundle, raw([anomaly(1)]), AlertsConfig(include_record=False))[0]
    assert alert.record is None
    assert alert.features[0].value is not None


def test_a_missing_value_is_told_as_missing(bundle: Bundle) -> None:
    alert = one(bundle, flow=None, pressure=None, mode=None)
    missing = {feature.name: feature for feature in alert.features if feature.imputed}
    assert set(missing) == {"flow", "pressure", "mode"}
    assert all(feature.value is None for feature in missing.values())
    assert "missing" in alert.to_text()


def test_an_alert_reads_well(bundle: Bundle) -> None:
    head, *rest = one(bundle).to_text().splitlines()
    assert head.startswith("CRITICAL 2025-06-15T15:06:47.000Z  p0  ")
    assert "alert line" in head
    assert "normal records" in head
    *features, mode = rest
    assert len(features) == 3
    assert "operating mode" in mode
    pressure = next(line for line in rest if "pressure" in line)
    assert "-60 bar" in pressure
    assert "expected" in pressure
    assert pressure.endswith("nats")


def test_a_key_of_zero_still_names_the_record(bundle: Bundle) -> None:
    text = one(bundle, id=0, pump=None).to_text()
    assert text.split("Z  ")[1].startswith("0  ")


def test_what_is_no_number_becomes_null(bundle: Bundle) -> None:
    alert = msgspec.structs.replace(
        one(bundle), nats=float("nan"), anomaly_score=float("inf"), tail_probability=0.0
    )
    document = json.loads(alert.to_json())
    assert document["nats"] is None
    assert document["anomaly_score"] is None
    assert "unheard of" in alert.to_text()


@pytest.mark.parametrize(
    "extra",
    [
        b'"note": 123456789012345678901234567890',
        b'"note": 1e999',
        b'"note": ' + b"[" * 600 + b"]" * 600,
        b'"note": "\\u0000\\u2028"',
        b'"\\u00e9": {"a": [null, true]}',
        b'"ts": 4611686018427387904',
        b'"ts": "yesterday"',
        b'"id": 1180591620717411303424, "pump": {"a": 1}',
    ],
)
def test_odd_records_become_alerts_all_the_same(bundle: Bundle, extra: bytes) -> None:
    alert = alerts(bundle, raw([anomaly(1)[:-1] + b", " + extra + b"}"]))[0]
    assert json.loads(alert.to_json())["record"]["pressure"] == -60.0
    assert alert.to_text()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [(1.5, "1970-01-01T00:00:01.500Z"), (9e15, None), (-9e18, None), (float("nan"), None)],
)
def test_without_a_time_field_the_source_tells_the_time(
    bundle: Bundle, stamp: float, expected: str | None
) -> None:
    record = json.loads(anomaly(1))
    del record["ts"]
    span = Span("kafka", "topic", 3, 0, [991], [stamp])
    alert = alerts(bundle, RawBatch([json.dumps(record).encode()], [span]))[0]
    assert alert.event_time == expected
    assert alert.source == {"type": "kafka", "stream": "topic", "partition": 3, "offset": 991}


def test_csv_values_are_told_as_numbers(bundle: Bundle) -> None:
    record = {name: str(value).encode() for name, value in json.loads(anomaly(1)).items()}
    payload = pa.RecordBatch.from_pylist([record])
    alert = alerts(bundle, RawBatch(payload, [Span("file", "a.csv", 0, 0, [0])]))[0]
    values = {feature.name: feature.value for feature in alert.features}
    assert values == {"flow": 300.0, "pressure": -60.0, "open": True, "mode": "day"}


def test_labels_and_units_are_those_of_the_config(bundle: Bundle) -> None:
    flow, pressure, *rest = SCHEMA.columns
    columns = (flow, Column("pressure", unit="kPa"), *rest)
    schema = Schema(columns=columns, entity="id", key="pump")
    alert = alerts(bundle, raw([anomaly(5)]), schema=schema)[0]
    assert alert.entity == {"id": 5}
    assert alert.record_key == "p0"
    assert {f.name: f.unit for f in alert.features}["pressure"] == "kPa"
    assert pressure.unit == "bar"


def test_ids_are_stable_and_distinct() -> None:
    position = Position("kafka", "topic", 3, 991)
    assert alert_id(position, "v1") == "c58e0ec6856669e36d0cf8bfc5345419"
    others = [alert_id(Position("kafka", "topic", 3, 992), "v1"), alert_id(position, "v2")]
    assert len({alert_id(position, "v1"), *others}) == 3


def test_an_alert_does_not_depend_on_its_batch(bundle: Bundle) -> None:
    payload: list[bytes | None] = [*documents(40, seed=6), anomaly(40)]
    together = alerts(bundle, raw(payload))[-1]
    alone = alerts(bundle, raw([anomaly(40)], start=40))[0]
    assert alone.key == together.key
    assert alone.nats == pytest.approx(together.nats, rel=1e-5)


@given(st.binary(max_size=300), st.text(max_size=40), st.integers(0, 2**62))
def test_a_dead_letter_holds_the_bytes_as_they_came(content: bytes, detail: str, at: int) -> None:
    reject = Reject(RejectReason.NOT_JSON, detail, Position("file", "a.jsonl", 2, at), content)
    letter = dead_letter(reject, NOW)
    document = json.loads(letter.to_json())
    assert list(document) == [field.name for field in msgspec.structs.fields(DeadLetter)]
    if document["raw"] is not None:
        assert document["raw"].encode() == content
        assert document["raw_base64"] is None
    else:
        assert base64.b64decode(document["raw_base64"]) == content
        with pytest.raises(UnicodeDecodeError):
            content.decode()
    assert document["reason"] == "not_json"
    assert letter.key.decode() == str(reject.position)
    assert f"DEAD LETTER not_json: {detail}" in letter.to_text()


@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda text: json.dumps(text).encode()))
def test_every_reject_can_be_delivered(bundle: Bundle, content: bytes) -> None:
    engine = Engine(bundle, resolve_device("cpu"))
    try:
        flows = [content, b'{"id": 1, "flow": ' + content + b"}"]
        for reject in engine.launch(raw(list(flows))).rejects:
            json.loads(dead_letter(reject, NOW).to_json())
    finally:
        engine.close()


def test_a_latent_that_costs_more_than_every_column_is_shown(bundle: Bundle) -> None:
    features = [Feature("flow", 3.0, 2.5, 4.0), Feature("level", 1.0, 1.0, 1.0)]

    def text(nats: float) -> str:
        found = msgspec.structs.replace(
            one(bundle), latents=[Latent(3, nats), Latent(1, 0.5)], features=features
        )
        return found.to_text()

    assert "latent " in text(46.0)
    assert "+46.0 nats" in text(46.0)
    assert "latent 3" not in text(3.9)


@pytest.mark.parametrize(
    ("shares", "names"),
    [((0.5, 0.1, 0.09), ("a", "b")), ((0.09, 0.08, 0.07), ("a", "b", "c")), ((), ())],
)
def test_of_a_latent_those_columns_are_named_that_have_a_share(shares, names) -> None:
    loadings = [
        {"feature": name, "share": share} for name, share in zip("abc", shares, strict=False)
    ]
    assert moved_by(loadings) == names


def test_a_latent_is_told_by_the_columns_that_it_moves(bundle: Bundle) -> None:
    alert = alerts(bundle, raw([anomaly(1)]), AlertsConfig(top_latents=99))[0]
    assert alert.latents
    names = {feature.name for feature in bundle.encoder.features}
    for latent in alert.latents:
        kept = bundle.summary["loadings"][latent.index]
        assert 1 <= len(latent.moves) <= 3
        assert set(latent.moves) <= names
        noticed = [each["feature"] for each in kept if each["share"] >= 0.1]
        assert list(latent.moves) == (noticed or [each["feature"] for each in kept])

    def line(*moves: str) -> str:
        one_latent = {"features": [], "latents": [Latent(3, 90.0, None, moves)], "mode": None}
        return msgspec.structs.replace(alert, **one_latent).to_text().split("\n")[-1]

    assert line("flow", "level").startswith("    flow, level  ")
    width = len(line())
    assert line().strip().startswith("latent  ")
    assert "flow    " in line("flow")
    assert "unusual (latent 3) " in line("flow")
    long = line("a_rather_long_name_of_a_column", "another_one_as_long_as_that", "flow")
    assert len(long) == width
    assert "another_on…   unusual together (latent 3)" in long
