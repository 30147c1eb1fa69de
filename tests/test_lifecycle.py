from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from tests.plain import RECIPE, SCHEMA, anomaly, documents
from vaeiso_monitor.alerts import AlertsConfig, AlertWriter
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.detector import Recipe
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.lifecycle import ColdStart, ColdStartConfig, Slot, concatenate, first_of
from vaeiso_monitor.model import Progress, TrainingConfig, resolve_device
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.sinks import FanOut, MemorySink
from vaeiso_monitor.sources import MemorySource
from vaeiso_monitor.telemetry import State, Telemetry
from vaeiso_monitor.types import Records

LONG = replace(RECIPE, training=TrainingConfig(max_steps=1_000_000, patience=1.0, seed=1))


class Watched(Telemetry):
    """Telemetry that remembers the states it was in."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.warm: list[int] = []
        self.shares: list[float] = []
        super().__init__(CollectorRegistry())

    def state_changed(self, state: State) -> None:
        self.states.append(state)
        super().state_changed(state)

    def warming_up(self, rows: int, required: int) -> None:
        self.warm.append(rows)
        super().warming_up(rows, required)

    def training(self, progress: float) -> None:
        self.shares.append(progress)
        super().training(progress)


class Told:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.collected: list[tuple[int, int]] = []
        self.trained: list[Progress] = []
        self.ended = 0

    def collecting(self, records: int, required: int) -> None:
        self.collected.append((records, required))

    def training(self, progress: Progress) -> None:
        self.trained.append(progress)

    def finished(self) -> None:
        self.ended += 1


class Start:
    """A cold start over memory, beside the pipeline that goes on after it."""

    def __init__(
        self,
        payload: Sequence[bytes | None],
        *,
        required: int = 300,
        batch: int = 100,
        recipe: Recipe = RECIPE,
        source: MemorySource | None = None,
    ) -> None:
        self.source = source or MemorySource(payload)
        self.telemetry, self.reporter, self.slot = Watched(), Told(), Slot()
        self.alerts, self.dead_letters = MemorySink(), MemorySink()
        self.stopped = False
        self.pipeline = Pipeline(
            PipelineConfig(batch_records=batch),
            source=self.source,
            serving=self.slot,
            writer=AlertWriter(AlertsConfig()),
            alerts=FanOut([self.alerts]),
            dead_letters=FanOut([self.dead_letters]),
            telemetry=self.telemetry,
            stop=self.stop,
        )
        self.cold_start = ColdStart(
            ColdStartConfig(min_records=required),
            schema=SCHEMA,
            recipe=recipe,
            source=self.source,
            intake=self.pipeline,
            telemetry=self.telemetry,
            reporter=self.reporter,
            stop=self.stop,
        )

    def stop(self) -> bool:
        return self.stopped

    def serve(self, bundle: Bundle) -> None:
        self.slot.put(Engine(bundle, resolve_device("cpu")))
        try:
            self.pipeline.run(self.cold_start.release())
        finally:
            self.slot.close()


def test_it_trains_and_loses_nothing() -> None:
    payload: list[bytes | None] = [*documents(330), b"broken", anomaly(331), *documents(200, 3)]
    start = Start(payload)
    bundle = start.cold_start.run()
    assert bundle is not None
    assert bundle.summary["records"] == 300
    held = start.telemetry.status().records
    assert held.received == held.waiting == 300
    assert start.source.committed == 0
    assert len(start.cold_start.held) == 3
    start.serve(bundle)
    counts = start.telemetry.status().records
    assert counts.received == len(payload) == start.source.committed
    assert counts.scored == len(payload) - 1
    assert counts.rejected == 1 == len(start.dead_letters.messages)
    assert counts.waiting == 0
    assert any(message.record_key == 331 for message in start.alerts.messages)  # type: ignore[attr-defined]
    assert not start.cold_start.held
    assert start.telemetry.states == [State.WARMING_UP, State.TRAINING, State.DRAINING]


def test_it_says_how_far_it_is() -> None:
    start = Start(documents(400), required=250)
    assert start.cold_start.run() is not None
    assert start.telemetry.warm == [0, 100, 200, 300]
    assert start.reporter.collected[-1] == (300, 250)
    shares = start.telemetry.shares
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1
    assert [p.step / p.max_steps for p in start.reporter.trained] == shares
    assert start.reporter.ended == 1


def test_one_batch_may_bring_all_that_is_needed() -> None:
    # also far more than is needed, which must not look like a stream that never fits
    start = Start(documents(600), required=10, batch=4096)
    assert start.cold_start.run() is not None


def test_the_source_is_kept_alive_while_a_model_is_trained() -> None:
    source = MemorySource(documents(300))
    start = Start((), source=source, recipe=LONG)
    keep_alive = source.keep_alive

    def counted() -> None:
        keep_alive()
        start.stopped = source.kept_alive >= 2

    source.keep_alive = counted  # type: ignore[method-assign]
    assert start.cold_start.run() is None
    assert source.kept_alive == 2
    assert start.reporter.ended == 1
    assert start.telemetry.status().state is State.TRAINING


def test_stop_while_collecting_ends_without_a_bundle() -> None:
    start = Start(documents(1000), required=900)
    poll = start.source.poll

    def stopping(count: int, timeout: float):
        start.stopped = start.source._read >= 200
        return poll(count, timeout)

    start.source.poll = stopping  # type: ignore[method-assign]
    assert start.cold_start.run() is None
    assert start.source.committed == 0
    counts = start.telemetry.status().records
    assert counts.received == counts.waiting == 300
    assert start.telemetry.states == [State.WARMING_UP]


def test_a_source_that_fails_during_training_is_not_waited_for() -> None:
    class Failing(MemorySource):
        def keep_alive(self) -> None:
            msg = "the cluster is silent"
            raise TransientError(msg)

    start = Start((), source=Failing(documents(300)), recipe=LONG)
    with pytest.raises(TransientError, match="silent"):
        start.cold_start.run()
    assert all(progress.step < progress.max_steps for progress in start.reporter.trained)
    assert start.reporter.ended == 1


def test_a_source_that_ends_too_early_says_what_to_do() -> None:
    start = Start([*documents(120), b"broken"])
    with pytest.raises(ConfigError, match="ended after 120 records") as caught:
        start.cold_start.run()
    assert "cold_start.min_records" in str(caught.value)
    assert "vaeiso-monitor train" in str(caught.value)
    assert start.source.committed == 0


def test_a_stream_that_never_fits_names_the_most_frequent_reason() -> None:
    wrong = [b'{"id": 1, "flow": "many"}'] * 3 + [b"broken"]
    start = Start(wrong * 100, required=10)
    with pytest.raises(ConfigError) as caught:
        start.cold_start.run()
    told = str(caught.value)
    assert "300 of the first 300 records do not fit the schema" in told
    assert "wrong_type" in told
    assert "225 times" in told
    assert "vaeiso-monitor init" in told


def test_records_that_cannot_be_trained_on_are_a_clear_error() -> None:
    start = Start([documents(1)[0]] * 400)
    with pytest.raises(ConfigError, match="the first 300 records cannot be trained on"):
        start.cold_start.run()


def decoded(count: int, seed: int) -> Records:
    from tests.plain import raw

    return Decoder(SCHEMA).decode(raw(list(documents(count, seed))))[0]


def test_records_are_joined_and_cut() -> None:
    joined = concatenate([decoded(3, 1), decoded(0, 2), decoded(4, 3)])
    assert len(joined) == 7
    assert joined.rows.tolist() == list(range(7))
    assert [len(column) for column in joined.categories] == [7]
    assert joined.numbers[3:].tolist() == decoded(4, 3).numbers.tolist()
    cut = first_of(joined, 2)
    assert len(cut) == 2
    assert [len(column) for column in cut.categories] == [2]
    assert first_of(joined, 7) is joined


def test_an_empty_slot_serves_nothing(bundle: Bundle) -> None:
    slot = Slot()
    assert slot.empty
    with pytest.raises(AssertionError, match="no bundle serves"):
        _ = slot.engine
    slot.close()
    engine = Engine(bundle, resolve_device("cpu"))
    slot.put(engine)
    assert not slot.empty
    assert slot.engine is engine
    slot.close()
