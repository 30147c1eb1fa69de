"""The last quarter of an hour in bounded memory."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from vaeiso_monitor.telemetry import OverviewTelemetry, Scored, Telemetry
from vaeiso_monitor.telemetry.overview import BIN_SECONDS, BINS, SCORE_EDGES
from vaeiso_monitor.types import PartitionProgress

START = 1_000_000.0


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def overview(clock: Clock) -> OverviewTelemetry:
    return OverviewTelemetry(clock)


def test_what_is_counted_appears_when_its_bin_is_over(clock, overview):
    overview.received(12)
    overview.scored(10, 2, 1, np.full(10, 0.5))
    overview.lagging(7)
    assert sum(n or 0 for n in overview.snapshot()["series"]["received"]) == 0
    clock.now += BIN_SECONDS
    series = overview.snapshot()["series"]
    last = {name: series[name][-1] for name in ("received", "scored", "warnings", "criticals")}
    assert last == {"received": 12, "scored": 10, "warnings": 2, "criticals": 1}
    assert series["lag"][-1] == 7
    assert series["from"] + BINS * series["step_seconds"] == START + BIN_SECONDS


def test_before_the_start_nothing_is_known_and_later_silence_is_zero(clock, overview):
    clock.now += 3 * BIN_SECONDS
    series = overview.snapshot()["series"]
    assert series["scored"] == [None] * (BINS - 3) + [0] * 3
    assert series["lag"] == [None] * BINS


def test_the_lag_is_unknown_where_the_source_cannot_tell(clock, overview):
    overview.lagging(None)
    clock.now += BIN_SECONDS
    assert overview.snapshot()["series"]["lag"][-1] is None


def test_the_alert_line_is_a_bound_of_the_bins(overview):
    assert 1.0 in SCORE_EDGES
    overview.scored(2, 1, 0, [np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)])
    counts = overview.snapshot()["scores"]["counts"]
    line = int(np.searchsorted(SCORE_EDGES, 1.0))
    assert (counts[line - 1], counts[line]) == (1, 1)


def test_scores_are_forgotten_after_a_quarter_of_an_hour(clock, overview):
    overview.scored(3, 0, 0, [0.1, 0.2, 0.3])
    clock.now += 14 * 60
    assert sum(overview.snapshot()["scores"]["counts"]) == 3
    clock.now += 2 * 60
    assert sum(overview.snapshot()["scores"]["counts"]) == 0


def test_a_clock_that_is_put_back_breaks_nothing(clock, overview):
    overview.scored(3, 0, 0, [0.1, 0.2, 0.3])
    clock.now -= 3600
    overview.scored(3, 0, 0, [0.1, 0.2, 0.3])
    overview.snapshot()


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
def test_every_score_is_counted_once_and_what_is_no_number_as_the_highest(scores):
    overview = OverviewTelemetry(Clock())
    overview.scored(len(scores), 0, 0, scores)
    counts = overview.snapshot()["scores"]["counts"]
    assert sum(counts) == len(scores)
    wild = sum(math.isnan(score) or score >= SCORE_EDGES[-2] for score in scores)
    assert counts[-1] == wild


@given(st.lists(st.tuples(st.floats(0, 4000), st.integers(0, 1000)), max_size=60))
def test_the_series_add_up_to_what_came_in_the_window(batches):
    clock = Clock()
    overview = OverviewTelemetry(clock)
    for after, records in sorted(batches):
        clock.now = START + after
        overview.received(records)
    last = int(clock.now // BIN_SECONDS)
    bins = [int((START + after) // BIN_SECONDS) for after, _ in batches]
    within = [
        records for at, (_, records) in zip(bins, batches, strict=True) if last - BINS <= at < last
    ]
    assert sum(n or 0 for n in overview.snapshot()["series"]["received"]) == sum(within)


def test_the_telemetry_feeds_it(clock):
    telemetry = Telemetry(CollectorRegistry(), clock=clock)
    telemetry.records_received("kafka", "t", 5, 100)
    telemetry.batch_scored(Scored(np.ones(4), np.full(4, 2.0), 4, 0, 4))
    telemetry.partitions([PartitionProgress("t", 0, 9, 0.0), PartitionProgress("t", 1, None, 0.0)])
    clock.now += BIN_SECONDS
    found = telemetry.overview.snapshot()
    assert [found["series"][name][-1] for name in ("received", "scored", "criticals")] == [5, 4, 4]
    assert found["series"]["lag"][-1] == 9
    assert sum(found["scores"]["counts"]) == 4
    assert len(json.dumps(found)) < 20_000
