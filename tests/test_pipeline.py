from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.plain import anomaly, documents
from vaeiso_monitor.alerts import Alert, AlertsConfig, AlertWriter, DeadLetter
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle import Slot
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.sinks import FanOut, MemorySink
from vaeiso_monitor.sources import MemorySource
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Message

GOOD = documents(200, seed=5)


class Line:
    """A whole pipeline over memory."""

    def __init__(self, bundle: Bundle, payload: list[bytes | None], batch: int = 64) -> None:
        self.source = MemorySource(payload)
        self.alerts, self.dead_letters = MemorySink(), MemorySink()
        self.telemetry = Telemetry(CollectorRegistry())
        self.slot = Slot(Engine(bundle, resolve_device("cpu")))
        self.stopped = False
        self.pipeline = Pipeline(
            PipelineConfig(batch_records=batch),
            source=self.source,
            serving=self.slot,
            writer=AlertWriter(AlertsConfig()),
            alerts=FanOut([self.alerts]),
            dead_letters=FanOut([self.dead_letters]),
            telemetry=self.telemetry,
            stop=lambda: self.stopped,
        )

    def run(self) -> Line:
        try:
            self.pipeline.run()
        finally:
            self.slot.close()
        return self


broken = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            b"{}",
            b"[1]",
            b"not json",
            b'{"id":1,"flow":NaN}',
            b'{"id":1,"flow":1e999}',
            b'{"id":1,"flow":"12"}',
            b'{"id":1,"flow":-5}',
            b'{"flow":5}',
            b'{"id":1,"mode":"\xff"}',
            b'{"id":1,"flow":3' + b" " * 3000 + b"}",
        ]
    ),
    st.integers(0, 150).map(lambda cut: GOOD[0][:cut]),
)


@settings(max_examples=40, deadline=None)
@given(
    payload=st.lists(st.one_of(st.sampled_from(GOOD), broken), max_size=120),
    batch=st.integers(1, 50),
)
def test_every_record_is_scored_rejected_or_waiting(
    bundle: Bundle, payload: list[bytes | None], batch: int
) -> None:
    line = Line(bundle, payload, batch).run()
    counts = line.telemetry.status().records
    assert counts.received == len(payload) == line.source.committed
    assert counts.received == counts.scored + counts.rejected
    assert counts.waiting == 0
    assert counts.rejected == len(line.dead_letters.messages)
    offsets = [m.source["offset"] for m in line.dead_letters.messages if isinstance(m, DeadLetter)]
    assert len(set(offsets)) == len(offsets)


def test_an_anomaly_becomes_one_alert_that_explains_itself(bundle: Bundle) -> None:
    line = Line(bundle, [*documents(300, seed=9), anomaly(300)]).run()
    alert = line.alerts.messages[-1]
    assert isinstance(alert, Alert)
    assert alert.record_key == 300
    assert alert.entity == {"pump": "p0"}
    assert alert.severity == "critical"
    assert alert.nats > alert.threshold_nats
    assert alert.anomaly_score > 1
    assert alert.tail_probability < alert.alert_budget
    assert alert.features[0].name in {"pressure", "flow"}
    assert any(
        f.name == "pressure" and f.value == -60.0 and f.unit == "bar" for f in alert.features
    )
    assert alert.event_time == "2025-06-15T15:11:40.000Z"
    document = json.loads(alert.to_json())
    assert document["record"]["flow"] == 300.0
    assert document["source"] == {
        "type": "memory",
        "stream": "memory",
        "partition": 0,
        "offset": 300,
    }
    assert "pressure" in alert.to_text()


def test_parts_of_an_alert_add_up_to_its_score(bundle: Bundle) -> None:
    engine = Engine(bundle, resolve_device("cpu"))
    x = np.random.default_rng(0).standard_normal((50, bundle.encoder.width)).astype(np.float32)
    why = engine.explain(x)
    rate = why.latent_nats.sum(axis=1) + why.mode_nats
    total = why.feature_nats.sum(axis=1) + rate + why.constant
    np.testing.assert_allclose(total, why.nats, rtol=1e-4)
    engine.close()


def test_a_repeat_has_the_same_alert_id_and_another_position_another(bundle: Bundle) -> None:
    payload: list[bytes | None] = [anomaly(0), anomaly(1)]
    first, again = Line(bundle, payload).run(), Line(bundle, payload, batch=1).run()
    ids = [message.key for message in first.alerts.messages]
    assert ids == [message.key for message in again.alerts.messages]
    assert len(set(ids)) == 2


class _Failing(MemorySink):
    def deliver(self, messages: object) -> None:
        msg = "out of reach"
        raise TransientError(msg)


def test_nothing_is_committed_that_was_not_delivered(bundle: Bundle) -> None:
    line = Line(bundle, [*documents(64, seed=3), anomaly(64)], batch=64)
    line.pipeline._alerts = FanOut([_Failing()])
    with pytest.raises(TransientError):
        line.run()
    assert line.source.committed in (0, 64)  # whole batches, never the one that was not delivered
    assert line.telemetry.status().records.waiting >= 1


class _Watching(MemorySink):
    """Notes how far the source was committed when each message came."""

    def __init__(self, source: MemorySource) -> None:
        super().__init__()
        self._source = source
        self.committed: list[int] = []

    def deliver(self, messages: Sequence[Message]) -> None:
        super().deliver(messages)
        self.committed += [self._source.committed] * len(messages)


def test_a_record_is_committed_after_its_alert_or_dead_letter(bundle: Bundle) -> None:
    payload: list[bytes | None] = [*documents(60, seed=3), anomaly(60), b"nonsense", anomaly(62)]
    line = Line(bundle, payload, batch=7)
    alerts, letters = _Watching(line.source), _Watching(line.source)
    line.pipeline._alerts, line.pipeline._dead_letters = FanOut([alerts]), FanOut([letters])
    line.run()
    assert len(alerts.messages) >= 2
    assert len(letters.messages) == 1
    for sink in (alerts, letters):
        for message, committed in zip(sink.messages, sink.committed, strict=True):
            assert committed <= message.source["offset"]  # type: ignore[attr-defined]


def test_a_score_that_is_no_number_is_an_anomaly(bundle: Bundle) -> None:
    assert bundle.threshold.anomalous(np.array([np.nan, np.inf])).all()


def test_stop_finishes_what_was_read(bundle: Bundle) -> None:
    line = Line(bundle, list(documents(500)), batch=100)
    polled = line.source.poll

    def poll(count: int, timeout: float):
        line.stopped = line.source._read >= 200
        return polled(count, timeout)

    line.source.poll = poll  # type: ignore[method-assign]
    line.run()
    counts = line.telemetry.status().records
    assert counts.waiting == 0
    assert counts.received == counts.scored == line.source.committed < 500


def test_reasons_are_counted_one_by_one(bundle: Bundle) -> None:
    payload: list[bytes | None] = [None, b"nonsense", b"[]", b'{"id":1,"flow":"x"}', b'{"flow":1}']
    line = Line(bundle, payload).run()
    reasons = Counter(m.reason for m in line.dead_letters.messages if isinstance(m, DeadLetter))
    assert reasons == {
        "empty": 1,
        "not_json": 1,
        "not_an_object": 1,
        "wrong_type": 1,
        "missing_key": 1,
    }
