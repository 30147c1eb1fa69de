"""A long stream of which every tenth record is damaged: it goes on, and the counts add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tests.plain import SCHEMA, documents
from vaeiso_monitor.alerts import AlertsConfig, AlertWriter
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.lifecycle import Slot
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.sinks import FileSinkConfig, open_sinks
from vaeiso_monitor.sources import FileSourceConfig, open_source
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import RejectReason

RECORDS = 100_000

# How a record is damaged, and the reason that its dead letter has to give.
DAMAGES: list[tuple[RejectReason, Callable[[bytes], bytes]]] = [
    (RejectReason.EMPTY, lambda raw: b""),
    (RejectReason.NOT_JSON, lambda raw: b"<html>502 Bad Gateway</html>"),
    (RejectReason.NOT_JSON, lambda raw: raw[: len(raw) // 2]),
    (RejectReason.NOT_AN_OBJECT, lambda raw: b"[1,2,3]"),
    (RejectReason.WRONG_TYPE, lambda raw: _with(raw, flow="12")),
    (RejectReason.WRONG_TYPE, lambda raw: _with(raw, pressure={"bar": 2})),
    (RejectReason.OUT_OF_RANGE, lambda raw: _with(raw, flow=-1)),
    (RejectReason.MISSING_KEY, lambda raw: _with(raw, id=None)),
    (RejectReason.NOT_FINITE, lambda raw: _with(raw, flow=float("nan"))),
    (RejectReason.NOT_FINITE, lambda raw: _with(raw, pressure=float("-inf"))),
    (RejectReason.NOT_FINITE, lambda raw: raw.replace(b'"flow": ', b'"flow": 1e999, "was": ')),
    (RejectReason.TOO_LARGE, lambda raw: _with(raw, note="x" * 3000)),
    (RejectReason.INVALID_UTF8, lambda raw: raw.replace(b"not scored", b"\xff\xfe")),
]


def _with(raw: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(raw) | changes).encode()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, RejectReason]]:
    path = tmp_path_factory.mktemp("damaged") / "stream.jsonl"
    lines = documents(RECORDS, seed=11)
    expected = {}
    for number, row in enumerate(range(3, RECORDS, 10)):
        reason, damage = DAMAGES[number % len(DAMAGES)]
        lines[row] = damage(lines[row])
        expected[row] = reason
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path, expected


def test_every_damaged_record_becomes_a_dead_letter_with_its_reason(
    bundle: Bundle,
    stream: tuple[Path, dict[int, RejectReason]],
    tmp_path: Path,
) -> None:
    path, expected = stream
    source = open_source(
        FileSourceConfig(path=str(path), position_file=str(tmp_path / "position.json")),
        max_record_bytes=SCHEMA.max_record_bytes,
    )
    alerts = open_sinks([FileSinkConfig(path=str(tmp_path / "alerts.jsonl"))])
    letters = open_sinks([FileSinkConfig(path=str(tmp_path / "dead_letters.jsonl"), max_bytes=0)])
    slot = Slot(Engine(bundle, resolve_device("cpu")))
    telemetry = Telemetry(CollectorRegistry())
    Pipeline(
        PipelineConfig(),
        source=source,
        serving=slot,
        writer=AlertWriter(AlertsConfig()),
        alerts=alerts,
        dead_letters=letters,
        telemetry=telemetry,
        stop=lambda: False,
    ).run()
    for part in (slot, source, alerts, letters):
        part.close()

    counts = telemetry.status().records
    assert counts.received == RECORDS
    assert counts.scored == RECORDS - len(expected)
    assert counts.rejected == len(expected)
    assert counts.waiting == 0

    found = _lines(tmp_path / "dead_letters.jsonl")
    assert {letter["source"]["offset"]: letter["reason"] for letter in found} == expected
    assert len(found) == len(expected)
    assert Counter(letter["reason"] for letter in found).keys() == {r for r, _ in DAMAGES}
    originals = path.read_bytes().split(b"\n")
    for letter in found[:: len(DAMAGES) + 1]:
        if letter["reason"] != RejectReason.TOO_LARGE and letter["raw"] is not None:
            assert letter["raw"].encode() == originals[letter["source"]["offset"]]
        assert letter["detail"]

    raised = _lines(tmp_path / "alerts.jsonl")
    assert len({alert["alert_id"] for alert in raised}) == len(raised)
    budget = bundle.threshold.budget
    assert len(raised) < 5 * budget * RECORDS  # damage must not leak into the scores
    assert np.isfinite([alert["nats"] for alert in raised]).all()
