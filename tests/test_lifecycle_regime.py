"""Regime shift: when the alert rate of the whole stream says that normal has changed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.plain import anomaly, documents
from vaeiso_monitor.alerts import AlertsConfig, AlertWriter, RegimeShift
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.lifecycle import RegimeConfig, RegimeEvent, RegimeWatch, Slot
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.sinks import FanOut, MemorySink
from vaeiso_monitor.sources import MemorySource
from vaeiso_monitor.telemetry import Telemetry

BUDGET = 0.001
CONFIG = RegimeConfig(persistence=5)
START = 1_800_000_000.0


class Stream:
    """Feeds a watch with so many records every ten seconds, and collects what it says."""

    def __init__(self, watch: RegimeWatch, seed: int = 0) -> None:
        self.watch = watch
        self.now = START
        self.events: list[RegimeEvent] = []
        self._rng = np.random.default_rng(seed)

    def run(self, minutes: float, rate: float, records: int = 1000) -> Stream:
        for _ in range(round(minutes * 6)):
            self.now += 10
            found = int(self._rng.binomial(records, rate))
            if (event := self.watch.observe(records, found, self.now)) is not None:
                self.events.append(event)
            self.watch.settle()
        return self


def watch(path: Path | None = None, config: RegimeConfig = CONFIG, **more: object) -> RegimeWatch:
    return RegimeWatch(config, BUDGET, path, **more)  # type: ignore[arg-type]


def test_a_shift_is_told_once_when_it_starts_and_once_when_it_ends() -> None:
    stream = Stream(watch()).run(30, BUDGET)
    assert stream.watch.shifted is None
    stream.run(60, 0.5)
    started = stream.watch.shifted
    assert [event.status for event in stream.events] == ["started"]
    assert started == stream.events[0]
    assert started.alert_rate == pytest.approx(0.5, abs=0.02)
    assert started.duration_seconds == pytest.approx(5 * 60, abs=70)
    assert started.alert_budget == BUDGET
    assert started.action == "alert"
    stream.run(30, BUDGET)
    ended = stream.events[-1]
    assert [event.status for event in stream.events] == ["started", "ended"]
    assert ended.regime_id == started.regime_id
    assert ended.duration_seconds == pytest.approx(60 * 60, abs=130)
    assert ended.alert_rate == pytest.approx(0.5, abs=0.02)
    assert ended.records == pytest.approx(360_000, rel=0.05)
    assert stream.watch.shifted is None


@pytest.mark.parametrize(
    ("minutes", "rate"),
    [(600, BUDGET), (600, 0.05), (600, 0.095), (3, 1.0)],
    ids=["normal", "five percent of faults", "just under the line", "too short"],
)
def test_this_is_no_shift(minutes: float, rate: float) -> None:
    stream = Stream(watch()).run(20, BUDGET).run(minutes, rate).run(20, BUDGET)
    assert stream.events == []


def test_a_few_records_prove_nothing() -> None:
    """Three of ten are 30 %, but ten records are no interval; of fifty, eight are no proof."""
    stream = Stream(watch())
    for _ in range(4):
        stream.now += 3600
        assert stream.watch.observe(10, 3, stream.now) is None
    for _ in range(50):
        stream.now += 60
        assert stream.watch.observe(50, 8, stream.now) is None
    for _ in range(5):
        stream.now += 60
        event = stream.watch.observe(50, 20, stream.now)
    assert event is not None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 5, 40, 2000]))
def test_chance_alone_is_no_shift_however_slow_the_stream(seed: int, records: int) -> None:
    """At a rate that is not far from the line."""
    assert Stream(watch(), seed).run(500, 0.08, records).events == []


def test_one_interval_in_between_does_not_hide_it() -> None:
    stream = Stream(watch()).run(3, 0.6).run(1, BUDGET).run(3, 0.6)
    assert [event.status for event in stream.events] == ["started"]


def test_between_the_lines_a_shift_goes_on() -> None:
    stream = Stream(watch()).run(10, 0.6).run(120, 0.07)
    assert [event.status for event in stream.events] == ["started"]


def test_the_line_is_the_larger_of_the_two_and_can_always_be_passed() -> None:
    assert watch().line == 0.1
    assert RegimeWatch(RegimeConfig(min_alert_rate=0.001), 0.02).line == pytest.approx(0.2)
    assert RegimeWatch(RegimeConfig(), 0.5).line == 0.9


def test_who_acts_is_told_after_the_delivery() -> None:
    told: list[RegimeEvent] = []
    it = watch(config=RegimeConfig(persistence=1, on_regime_shift="adopt"), on_event=told.append)
    it.observe(1000, 900, START)
    event = it.observe(1000, 900, START + 60)
    assert event is not None
    assert told == []
    it.settle()
    it.settle()
    assert told == [event]
    assert event.action == "adopt"


# Restart


def test_a_shift_and_what_led_to_it_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "regime.json"
    first = Stream(watch(path)).run(3, 0.5)
    second = Stream(watch(path))
    second.now = first.now
    second.run(4, 0.5)
    assert [event.status for event in second.events] == ["started"]
    third = watch(path)
    assert third.shifted == second.events[0]
    stream = Stream(third)
    stream.now = second.now
    stream.run(10, 0.5).run(10, BUDGET)
    assert [event.status for event in stream.events] == ["ended"]
    assert watch(path).shifted is None
    assert [each.name for each in path.parent.iterdir()] == ["regime.json"]


def test_what_was_not_delivered_is_noticed_again(tmp_path: Path) -> None:
    path = tmp_path / "regime.json"
    stream = Stream(watch(path)).run(4.5, 0.5)
    it, now = stream.watch, stream.now
    while it.observe(1000, 500, now := now + 10) is None:
        it.settle()
    after = Stream(watch(path))  # killed before it was delivered
    after.now = now
    after.run(3, 0.5)
    assert [event.status for event in after.events] == ["started"]


def test_what_is_not_over_is_saved_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "regime.json"
    first = watch(path)
    first.observe(900, 800, START)
    first.close()
    again = watch(path)
    for minute in range(1, 6):
        event = again.observe(100, 90, START + 60 * minute)
    assert event is not None
    assert event.records == 1400


@pytest.mark.parametrize("content", [b"", b"[]", b'{"recent": 3}', b"\xff"])
def test_a_damaged_state_is_left_behind_with_a_word(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "regime.json"
    path.write_bytes(content)
    with capture_logs() as logs:
        assert watch(path).shifted is None
    assert [entry["event"] for entry in logs] == ["regime_forgotten"]


def test_a_clock_that_is_put_back_starts_the_interval_anew() -> None:
    it = watch(config=RegimeConfig(persistence=1), clock=lambda: START - 3600)
    it.observe(1000, 900, START)
    assert it.observe(1000, 900) is None
    assert it.observe(1000, 900, START - 3540) is not None


# What is said of it


def shift(**changes: object) -> RegimeShift:
    fields: dict = {
        "regime_id": "20260102T030000Z",
        "status": "started",
        "started_at": "2026-01-02T03:00:00.000Z",
        "detected_at": "2026-01-02T03:10:00.000Z",
        "duration_seconds": 600.0,
        "alert_rate": 0.44,
        "alert_budget": 0.001,
        "records": 60_000,
        "anomalies": 26_400,
        "action": "alert",
    }
    return RegimeShift(**(fields | changes))


def test_a_shift_reads_well() -> None:
    text = shift().to_text()
    assert text.startswith("REGIME   2026-01-02T03:10:00.000Z  normal seems to have changed: 44.0%")
    assert "440 times the budget, for 10 min" in text
    assert "26,400 of 60,000 records since 2026-01-02T03:00:00.000Z" in text
    assert "vaeiso-monitor retrain" in text
    assert "adopted" in shift(action="adopt").to_text()
    assert "back to normal after 10 min" in shift(status="ended").to_text()


def test_a_shift_is_one_document_and_its_end_another() -> None:
    document = json.loads(shift().to_json())
    assert document["type"] == "regime_shift"
    assert msgspec.convert(document, RegimeShift) == shift()
    assert shift().key != shift(status="ended").key


# In the loop


def test_all_sinks_are_told(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "regime.json"
    every, brief, told = MemorySink(), MemorySink(), []
    telemetry = Telemetry(CollectorRegistry())
    value = telemetry.registry.get_sample_value
    slot = Slot(Engine(bundle, resolve_device("cpu")))
    clock = iter(range(10**6))
    config = RegimeConfig(persistence=3, interval_seconds=1, min_records=10)
    it = RegimeWatch(config, BUDGET, path, on_event=told.append, telemetry=telemetry.regime)
    assert value("vaeiso_regime_shift") == 0
    Pipeline(
        PipelineConfig(batch_records=20),
        source=MemorySource([*documents(100), *(anomaly(100 + i) for i in range(200))]),
        serving=slot,
        writer=AlertWriter(AlertsConfig()),
        alerts=FanOut([every, brief], details=["every", "episodes"]),
        dead_letters=FanOut([]),
        telemetry=telemetry,
        stop=lambda: False,
        regime=it,
        clock=lambda: START + next(clock),
    ).run()
    slot.close()
    for sink in (every, brief):
        shifts = [message for message in sink.messages if isinstance(message, RegimeShift)]
        assert [each.status for each in shifts] == ["started"]
    assert told == [it.shifted]
    assert value("vaeiso_regime_shift") == value("vaeiso_regime_shifts_total") == 1
    assert value("vaeiso_regime_line_ratio") == 0.1
    assert RegimeWatch(config, BUDGET, path).shifted == it.shifted
