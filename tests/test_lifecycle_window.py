"""The window: what is kept, within which bounds, and what becomes of damage."""

from __future__ import annotations

import json
import os
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from vaeiso_monitor.detect import calibrate
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle.window import Window, WindowConfig
from vaeiso_monitor.lifecycle.window_rows import fingerprints
from vaeiso_monitor.lifecycle.window_thinning import level, survivors
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Records

SCHEMA = Schema((Column("x"), Column("y"), Column("mode", kind="category")))
NOW = 1_700_000_000.0
DAY = 86_400.0


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _disk_in_no_hurry(monkeypatch):
    """Do not wait for the platter: these tests cut no power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def clock():
    return Clock()


def records(count, first=0):
    """Records numbered from ``first``; y is missing in some, and so is the mode."""
    x = np.arange(first, first + count, dtype=np.float64)
    y = np.where(x % 7 == 0, np.nan, -x)
    return Records(
        np.column_stack([x, y]),
        [[None if i % 5 == 0 else f"m{i % 3}" for i in range(first, first + count)]],
        np.arange(count),
    )


def keep(window, count, first=0, anomalous=()):
    flags = np.isin(np.arange(first, first + count), list(anomalous))
    window.keep(records(count, first), np.where(flags, 99.0, 1.0), flags)


def serials(look):
    return look.records.numbers[:, 0].tolist()


def opened(folder, clock, seed=0, schema=SCHEMA, **config):
    return Window(WindowConfig(**config), schema, folder / "window", clock, seed=seed)


def segments(folder, ending="parquet"):
    return sorted((folder / "window").glob(f"*.{ending}"))


@pytest.mark.parametrize("let_in", [True, False])
def test_of_those_over_the_line_some_are_let_in_and_counted(tmp_path, clock, let_in):
    window = opened(tmp_path, clock, let_in_over_line=let_in)
    line = calibrate(np.random.default_rng(0).gamma(4, 3, 5000), 0.05)
    nats = np.random.default_rng(1).gamma(4, 3, 4000)
    over = line.anomalous(nats)
    for start in range(0, 4000, 100):
        part = slice(start, start + 100)
        window.keep(records(100, start), nats[part], over[part], line)
    look, sample = window.snapshot(), window.unfiltered()
    counted = look.ledger.over_line
    assert (counted > 0.4 * over.sum()) if let_in else (counted == 0)
    assert counted == look.let_in.sum() == look.anomalous.sum() == sample.let_in.sum()
    assert len(look) == 4000 - over.sum() + counted
    assert (sample.anomalous == over).all()
    assert set(look.origins) == {None}
    window.close()
    again = opened(tmp_path, clock).snapshot()
    assert (again.let_in == look.let_in).all()


def test_keeps_normal_records_as_they_are_and_a_sample_of_all(tmp_path, clock):
    window = opened(tmp_path, clock)
    keep(window, 100, anomalous=[3, 50])
    clock.now += 1
    keep(window, 10, first=100)
    look = window.snapshot()
    assert serials(look) == [float(i) for i in range(110) if i not in (3, 50)]
    expected = records(110)
    kept = np.delete(np.arange(110), [3, 50])
    np.testing.assert_array_equal(look.records.numbers, expected.numbers[kept])
    assert look.records.categories[0] == [expected.categories[0][i] for i in kept]
    assert set(look.seen) == {NOW, NOW + 1}
    assert not look.anomalous.any()
    everything = window.unfiltered()
    assert serials(everything) == [float(i) for i in range(110)]
    assert everything.nats[3] == 99.0
    assert np.flatnonzero(everything.anomalous).tolist() == [3, 50]
    assert serials(window.unfiltered(since=NOW + 1)) == [float(i) for i in range(100, 110)]


def test_the_ledger_accounts_for_every_record(tmp_path, clock):
    window = opened(tmp_path, clock, max_rows=400, unfiltered_rows=100)
    for i in range(20):
        keep(window, 200, first=200 * i, anomalous=[200 * i])
        clock.now += 600
        window.flush()
    ledger = window.snapshot().ledger
    assert ledger.received == 20 * 200
    assert ledger.left_out["anomalous"] == 20
    assert ledger.records + sum(ledger.left_out.values()) == ledger.received
    assert ledger.first_seen == NOW
    shown = json.loads(json.dumps(ledger.to_dict()))
    assert shown["records"] == ledger.records
    assert shown["first_seen"] == "2023-11-14T22:13:20.000+00:00"
    later = window.unfiltered(since=clock.now - 1200).ledger
    assert later.which == "unfiltered"
    assert later.records + sum(later.left_out.values()) == later.received


def test_survives_a_restart(tmp_path, clock):
    window = opened(tmp_path, clock)
    keep(window, 50, anomalous=[7])
    window.close()
    again = opened(tmp_path, clock)
    keep(again, 5, first=50)
    assert len(again.snapshot()) == 54
    assert len(again.unfiltered()) == 55
    assert again.snapshot().ledger.left_out["anomalous"] == 1


def test_rows_span_the_time_however_fast_the_stream_is(tmp_path, clock):
    """Thirty busy hours: every hour is there, with about as many rows as any other."""
    window = opened(tmp_path, clock, max_rows=3000, max_age_seconds=128 * 3600)
    for part in range(4 * 30):
        keep(window, 1000, first=1000 * part)
        clock.now += 900
        window.flush()
    look = window.snapshot()
    assert 2000 <= len(look) <= 3000
    counts = np.histogram(look.seen, 15, (NOW, clock.now))[0]
    assert counts.min() > 0.4 * counts.mean()
    assert counts.max() < 2.0 * counts.mean()
    assert len(segments(tmp_path)) < 150


def test_the_unfiltered_sample_knows_the_latest_hours_best(tmp_path, clock):
    window = opened(tmp_path, clock, unfiltered_rows=1000, max_age_seconds=128 * 3600)
    for part in range(4 * 30):
        keep(window, 400, first=400 * part, anomalous=range(400 * part, 400 * part + 400, 2))
        clock.now += 900
        window.flush()
    look = window.unfiltered()
    counts = np.histogram(look.seen, 6, (NOW, clock.now))[0]
    assert len(look) <= 1000
    assert counts.min() > 0
    assert counts[-1] > 4 * counts[0]
    assert 0.4 < look.anomalous.mean() < 0.6
    assert len(window.unfiltered(since=clock.now - 2 * 3600)) > 50


def test_a_quiet_stream_is_kept_whole_after_a_burst(tmp_path, clock):
    window = opened(tmp_path, clock, max_rows=2000, max_age_seconds=128 * 3600)
    for part in range(20):  # a backlog, all in one second
        keep(window, 4000, first=4000 * part)
    window.flush()
    for part in range(80):
        clock.now += 120
        keep(window, 5, first=1_000_000 + 5 * part)
        window.flush()
    late = [serial for serial in serials(window.snapshot()) if serial >= 1_000_250]
    assert len(late) == 150


def test_old_rows_expire(tmp_path, clock):
    window = opened(tmp_path, clock, max_age_seconds=DAY)
    keep(window, 10)
    window.flush()
    clock.now += 0.9 * DAY
    keep(window, 10, first=10)
    assert len(window.snapshot()) == 20
    clock.now += 0.2 * DAY
    assert serials(window.snapshot()) == [float(i) for i in range(10, 20)]
    clock.now += DAY
    assert len(window.snapshot()) == len(window.unfiltered()) == 0
    assert segments(tmp_path) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),  # records of the batch
            st.floats(0.0, 1.0),  # share of anomalies
            st.floats(-100.0, 5000.0),  # seconds until the next: clocks are set back, too
            st.sampled_from(["nothing", "flush", "flush", "restart"]),
        ),
        max_size=40,
    ),
    st.integers(100, 500),
    st.integers(12_000, 60_000),
)
def test_the_bounds_hold_whatever_comes(tmp_path_factory, steps, max_rows, max_bytes):
    folder, clock = tmp_path_factory.mktemp("window"), Clock()
    bounds = {"max_rows": max_rows, "max_bytes": max_bytes, "unfiltered_rows": 60}
    window = opened(folder, clock, max_age_seconds=20_000.0, **bounds)
    first = 0
    for size, share, wait, then in steps:
        keep(window, size, first, range(first, first + int(share * size)))
        first += size
        clock.now += wait
        if then == "flush":
            window.flush()
            assert sum(path.stat().st_size for path in segments(folder)) <= max_bytes
        elif then == "restart":
            window.close()
            window = opened(folder, clock, seed=1, max_age_seconds=20_000.0, **bounds)
    look, everything = window.snapshot(), window.unfiltered()
    assert len(look) <= max_rows
    assert len(everything) <= 60
    assert not look.anomalous.any()
    for each in (look, everything):
        assert len(set(serials(each))) == len(each)
        assert (np.diff(each.seen) >= 0).all()
        assert (each.seen >= clock.now - 20_000.0).all()
        assert each.ledger.records == len(each)
        assert all(left >= 0 for left in each.ledger.left_out.values())


def test_without_a_flush_memory_is_bounded_too(tmp_path, clock):
    window = opened(tmp_path, clock, max_rows=800)
    for part in range(200):
        keep(window, 500, first=500 * part)
    held = window._buffers["normal"]._rows
    assert held <= 256
    assert len(window.snapshot()) == held


# What people say


def test_admitted_records_enter_once_and_keep_their_origin(tmp_path, clock):
    window = opened(tmp_path, clock)
    keep(window, 10)
    window.admit(records(2, 500), np.array([40.0, 41.0]), ["a", "b"])
    window.admit(records(1, 500), np.array([40.0]), ["a"])
    again = opened(tmp_path, clock)
    look = again.snapshot()
    assert len(look) == 2  # what was not flushed is lost, what a person said is not
    assert look.origins == ["a", "b"]
    assert look.nats.tolist() == [40.0, 41.0]
    assert look.ledger.admitted == 2


def test_withdrawn_records_stay_out_wherever_they_stand(tmp_path, clock):
    window = opened(tmp_path, clock)
    keep(window, 20, anomalous=[4])
    window.withdraw(records(2, 4))
    assert {4.0, 5.0}.isdisjoint(serials(window.snapshot()))
    assert {4.0, 5.0}.isdisjoint(serials(window.unfiltered()))
    assert window.snapshot().ledger.left_out["judged_anomalous"] == 1
    keep(window, 1, first=5)  # its equal
    window.flush()
    again = opened(tmp_path, clock)
    assert 5.0 not in serials(again.snapshot())


def test_the_last_word_stands(tmp_path, clock):
    window = opened(tmp_path, clock)
    window.admit(records(1), np.array([50.0]), ["a"])
    window.withdraw(records(1))
    assert len(window.snapshot()) == 0
    window.admit(records(1), np.array([50.0]), ["a"])
    assert window.snapshot().origins == ["a"]


def test_admitted_records_are_bounded_and_count_as_rows(tmp_path, clock):
    window = opened(tmp_path, clock, max_rows=160)
    for part in range(20):
        keep(window, 100, first=1000 + 100 * part)
        window.admit(records(1, part), np.ones(1), [f"a{part}"])
    look = window.snapshot()
    assert len(look) <= 160
    assert 5 <= look.ledger.admitted <= 10


def test_a_damaged_list_of_withdrawn_records_is_set_aside(tmp_path, clock):
    window = opened(tmp_path, clock)
    window.withdraw(records(1))
    path = tmp_path / "window" / "withdrawn.json"
    path.write_bytes(b"[1, 2")
    again = opened(tmp_path, clock)
    again.withdraw(records(1, 5))
    assert path.with_name("withdrawn.json.damaged").read_bytes() == b"[1, 2"


def test_fingerprints_tell_values_apart_and_know_equals():
    many = records(5000)
    prints = fingerprints(many)
    assert len(np.unique(prints)) == 5000
    np.testing.assert_array_equal(fingerprints(records(10, 90)), prints[90:100])
    zero = Records(np.array([[0.0, np.nan]]), [["a"]], np.zeros(1, int))
    minus = Records(np.array([[-0.0, -np.nan]]), [["a"]], np.zeros(1, int))
    other = Records(np.array([[np.nan, 0.0]]), [["a"]], np.zeros(1, int))
    none = Records(np.array([[0.0, np.nan]]), [[None]], np.zeros(1, int))
    assert fingerprints(zero) == fingerprints(minus)
    assert len({int(fingerprints(each)[0]) for each in (zero, other, none)}) == 3


# Damage


def damaged(content, how):
    if how == "cut":
        return content[: len(content) // 2]
    if how == "empty":
        return b""
    place = {"first": 0, "middle": len(content) // 3, "last": len(content) - 1}[how]
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["cut", "empty", "first", "middle", "last"])
@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_damaged_segment_is_set_aside_and_the_rest_serves(tmp_path, clock, how, when):
    window = opened(tmp_path, clock)
    for part in range(3):
        keep(window, 10, first=10 * part)
        window.flush()
        clock.now += 1
    victim = [path for path in segments(tmp_path) if path.name.startswith("normal")][1]
    victim.write_bytes(damaged(victim.read_bytes(), how))
    if when == "before the start":
        window = opened(tmp_path, clock)
    look = window.snapshot()
    assert serials(look) == [float(i) for i in (*range(10), *range(20, 30))]
    assert look.ledger.damaged_segments == 1
    assert [path.name for path in segments(tmp_path, "damaged")] == [f"{victim.name}.damaged"]
    assert len(opened(tmp_path, clock).snapshot()) == 20


def test_a_segment_that_vanished_is_no_more(tmp_path, clock):
    window = opened(tmp_path, clock)
    keep(window, 10)
    window.flush()
    for path in segments(tmp_path):
        path.unlink()
    assert len(window.snapshot()) == 0
    keep(window, 5)
    assert len(window.snapshot()) == 5


def test_damage_found_while_segments_are_gathered(tmp_path, clock):
    window = opened(tmp_path, clock)
    for part in range(7):
        keep(window, 10, first=10 * part)
        window.flush()
    victim = next(path for path in segments(tmp_path) if path.name.startswith("normal"))
    victim.write_bytes(b"PAR1")
    keep(window, 10, first=70)
    assert len(window.snapshot()) == 70


def test_another_schema_is_set_aside_and_taken_back(tmp_path, clock):
    other = Schema((Column("x"), Column("z")))
    window = opened(tmp_path, clock)
    keep(window, 10)
    window.close()
    before = segments(tmp_path)
    changed = opened(tmp_path, clock, schema=other)
    assert len(changed.snapshot()) == 0
    assert changed.snapshot().ledger.foreign_segments == len(before)
    changed.keep(Records(np.ones((3, 2)), [], np.arange(3)), np.ones(3), np.zeros(3, bool))
    changed.close()
    back = opened(tmp_path, clock)
    assert len(back.snapshot()) == 10
    assert set(before) <= set(segments(tmp_path))
    assert back.snapshot().ledger.foreign_segments == 2


def test_what_lies_aside_is_bounded_and_goes_first(tmp_path, clock):
    window = opened(tmp_path, clock, max_bytes=30_000)
    for part in range(6):
        keep(window, 50, first=50 * part)
        window.flush()
    for path in segments(tmp_path)[:4]:
        path.write_bytes(bytes(20_000))
    again = opened(tmp_path, clock, max_bytes=30_000)
    keep(again, 5)
    again.flush()
    assert sum(path.stat().st_size for path in (tmp_path / "window").iterdir()) <= 30_000
    assert len(again.snapshot()) > 0
    clock.now += 8 * DAY
    again.flush()
    assert segments(tmp_path, "damaged") == []


def test_leftovers_of_a_crash_are_cleared(tmp_path, clock):
    """A segment that was replaced by another, and one that was being written."""
    window = opened(tmp_path, clock)
    kept = {}
    for part in range(8):
        kept |= {path: path.read_bytes() for path in segments(tmp_path)}
        keep(window, 10, first=10 * part)
        window.flush()
    window.flush()
    for path, content in kept.items():
        path.write_bytes(content)
    (tmp_path / "window" / ".incoming-1").write_bytes(b"half")
    again = opened(tmp_path, clock)
    assert sorted(serials(again.snapshot())) == [float(i) for i in range(80)]
    assert not list((tmp_path / "window").glob(".incoming*"))


def test_a_disk_that_refuses_loses_rows_and_nothing_else(tmp_path, clock):
    telemetry = Telemetry(CollectorRegistry())
    folder = tmp_path / "window"
    window = Window(WindowConfig(), SCHEMA, folder, clock, telemetry=telemetry.window)
    keep(window, 10)
    window.flush()
    away = folder.rename(tmp_path / "away")
    keep(window, 20, first=10)
    window.flush()
    assert telemetry.registry.get_sample_value("vaeiso_window_write_errors_total") == 1
    away.rename(folder)
    keep(window, 5, first=30)
    look = window.snapshot()
    assert serials(look) == [float(i) for i in (*range(10), *range(30, 35))]
    assert look.ledger.left_out["not_written"] == 20


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path, clock):
    (tmp_path / "window").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot keep the window in"):
        opened(tmp_path, clock)


# Telemetry and arithmetic


def test_telemetry_says_how_the_window_stands(tmp_path, clock):
    telemetry = Telemetry(CollectorRegistry(), clock=clock)
    window = Window(
        WindowConfig(), SCHEMA, tmp_path / "window", clock, telemetry=telemetry.window, seed=0
    )
    value = telemetry.registry.get_sample_value
    assert value("vaeiso_window_oldest_age_seconds") is None
    keep(window, 10, anomalous=[1])
    window.admit(records(1, 100), np.ones(1), ["a"])
    window.flush()
    clock.now += 5
    assert value("vaeiso_window_rows", {"kind": "normal"}) == 9
    assert value("vaeiso_window_rows", {"kind": "unfiltered"}) == 10
    assert value("vaeiso_window_rows", {"kind": "admitted"}) == 1
    size = sum(path.stat().st_size for path in segments(tmp_path))
    assert value("vaeiso_window_bytes") == size
    assert value("vaeiso_window_oldest_age_seconds") == 5
    segments(tmp_path)[0].write_bytes(b"")
    window.snapshot()
    window.flush()
    assert value("vaeiso_window_segments_set_aside_total", {"reason": "damaged"}) == 1


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 3000), st.data())
def test_the_level_fills_the_budget(rows, budget, data):
    size = len(rows)
    weights = data.draw(st.lists(st.floats(0.01, 10.0), min_size=size, max_size=size))
    water = level(np.array(rows, float), np.array(weights), budget)
    kept = np.minimum(rows, water * np.array(weights)).sum()
    assert kept == pytest.approx(min(budget, sum(rows)))


def test_a_finer_sieve_before_is_made_up_for():
    """Of a first half that was kept whole and a second kept to a tenth, equal shares survive."""
    shares = np.concatenate([np.full(20_000, 1.0), np.full(2_000, 0.1)])
    chosen, share = survivors(shares, 2000, np.random.default_rng(0))
    assert len(chosen) == 2000
    assert (np.diff(chosen) > 0).all()
    assert 800 < np.count_nonzero(chosen < 20_000) < 1200
    assert 0.04 < share < 0.06


@pytest.mark.parametrize(("count_", "left"), [(0, 0), (3, 3), (9, 3)])
def test_survivors_of_few(count_, left):
    chosen, _ = survivors(np.ones(3), count_, np.random.default_rng(0))
    assert len(chosen) == left


def test_two_threads(tmp_path):
    """One keeps, one looks and flushes: nothing is lost, nothing is there twice."""
    from threading import Thread

    ticks = count()
    window = Window(
        WindowConfig(), SCHEMA, tmp_path / "window", lambda: NOW + next(ticks) * 1e-3, seed=0
    )
    worker = Thread(target=lambda: [keep(window, 40, first=40 * i) for i in range(200)])
    worker.start()
    while worker.is_alive():
        window.flush()
    worker.join()
    look = window.snapshot()
    assert look.ledger.received == 8000
    assert look.ledger.records + look.ledger.left_out["thinned"] == 8000
    assert len(set(serials(look))) == len(look)
