"""The alert history: what is remembered, what is forgotten, and the verdicts."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from vaeiso_monitor.alerts import Alert
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.lifecycle import AlertHistory, HistoryConfig, HistoryReader
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Records

ROOT = Path(__file__).parent.parent
SCHEMA = Schema((Column("x"), Column("y"), Column("mode", kind="category")), entity="pump")
NOW = 1_700_000_000.0


def alert(number, nats=30.0, severity="warning", entity="p1"):
    return Alert(
        alert_id=f"{number:032x}",
        severity=severity,
        event_time=None,
        detected_at="2026-11-22T05:00:00.000Z",
        source={"type": "file", "stream": "f", "partition": 0, "offset": number},
        entity={"pump": entity},
        record_key=None,
        model={"version": "v1"},
        nats=nats,
        threshold_nats=20.0,
        anomaly_score=1.5,
        tail_probability=1e-5,
        alert_budget=1e-3,
        distortion_nats=20.0,
        rate_nats=10.0,
        features=[],
        latents=[],
        record={"x": float(number)},
    )


def rows(*numbers):
    values = np.array([[float(n), np.nan] for n in numbers]).reshape(-1, 2)
    modes = [None if n % 2 else f"m{n}" for n in numbers]
    return Records(values, [modes], np.arange(len(numbers)))


def opened(folder, schema=SCHEMA, telemetry=None, **config):
    return AlertHistory(HistoryConfig(**config), schema, folder, telemetry=telemetry)


def add(history, *numbers, now=NOW, **about):
    return history.add([alert(n, **about) for n in numbers], rows(*numbers), now)


def numbers(page):
    return [int(stored.alert_id, 16) for stored in page.alerts]


@pytest.fixture
def history(tmp_path):
    made = opened(tmp_path)
    yield made
    made.close()


def test_remembers_an_alert_as_it_was_sent(history):
    assert add(history, 7) == 1
    stored = history.get(f"{7:032x}")
    assert stored.document == json.loads(alert(7).to_json())
    assert (stored.stored_at, stored.verdict, stored.note) == (NOW, None, "")
    assert stored.to_dict()["feedback"] is None
    assert history.get(f"{8:032x}") is None


def test_an_alert_is_found_by_the_beginning_of_its_id(tmp_path):
    history = opened(tmp_path)
    first = alert(0)
    for text in ("abc1", "abd2", "abc"):
        named = Alert(
            **{f: getattr(first, f) for f in first.__struct_fields__} | {"alert_id": text}
        )
        history.add([named], rows(1), NOW)
    assert history.get("abd").alert_id == "abd2"
    assert history.get("abc").alert_id == "abc"  # whole
    assert history.get("ab") is None
    assert history.get("%") is None
    history.close()


def test_a_repeat_changes_nothing(history):
    add(history, 1)
    history.judge(f"{1:032x}", "anomaly", "", NOW)
    assert add(history, 1, 2) == 1
    assert history.get(f"{1:032x}").verdict == "anomaly"


def test_pages_go_back_in_time_and_can_be_filtered(history):
    for number in range(10):
        severity = "critical" if number % 2 else "warning"
        add(history, number, severity=severity, entity=f"p{number % 3}")
    first = history.page(4)
    assert numbers(first) == [9, 8, 7, 6]
    second = history.page(4, before=first.older)
    assert numbers(second) == [5, 4, 3, 2]
    last = history.page(4, before=second.older)
    assert (numbers(last), last.older) == ([1, 0], None)
    assert numbers(history.page(severity="critical")) == [9, 7, 5, 3, 1]
    assert numbers(history.page(severity="critical", entity="p0")) == [9, 3]
    history.judge(f"{3:032x}", "normal", "", NOW)
    assert numbers(history.page(verdict="normal")) == [3]
    assert numbers(history.page(entity="p0", verdict="none")) == [9, 6, 0]
    assert numbers(history.page(10)) == list(range(9, -1, -1))
    assert history.page(10).older is None


def test_a_verdict_can_be_given_again_and_changed(history):
    add(history, 1, 2)
    assert history.judge("nobody", "normal", "", NOW) is None
    judged = history.judge(f"{1:032x}", "normal", "pump test", NOW + 1)
    assert (judged.verdict, judged.note, judged.judged_at) == ("normal", "pump test", NOW + 1)
    assert history.judge(f"{1:032x}", "normal", "pump test", NOW + 2).judged_at == NOW + 1
    assert (history.precision().judged, history.precision().confirmed) == (1, 0)
    changed = history.judge(f"{1:032x}", "anomaly", "", NOW + 3)
    assert (changed.verdict, changed.note, changed.judged_at) == ("anomaly", "", NOW + 3)
    history.judge(f"{2:032x}", "normal", "", NOW)
    assert history.precision().ratio == 0.5
    shown = json.loads(json.dumps(changed.to_dict()))
    assert shown["feedback"] == {
        "verdict": "anomaly",
        "note": "",
        "judged_at": "2023-11-14T22:13:23.000+00:00",
    }


def test_precision_of_nothing(history):
    add(history, 1)
    assert history.precision().ratio is None


def test_the_records_come_back_as_they_were(history):
    add(history, 1, 2, 3, nats=40.0)
    add(history, 4, nats=float("nan"), now=NOW + 1)
    history.judge(f"{2:032x}", "normal", "", NOW)
    history.judge(f"{3:032x}", "anomaly", "", NOW)
    found = history.recent_rows(10)
    expected = rows(1, 3, 4)
    np.testing.assert_array_equal(found.records.numbers, expected.numbers)
    assert list(found.records.categories) == expected.categories
    np.testing.assert_array_equal(found.nats, [40.0, 40.0, np.nan])
    assert found.seen.tolist() == [NOW, NOW, NOW + 1]
    assert len(history.recent_rows(2)) == 2
    assert history.recent_rows(2).records.numbers[:, 0].tolist() == [3.0, 4.0]
    one = history.rows([f"{2:032x}", "nobody"])
    assert (one.alert_ids, one.records.numbers[0, 0]) == ([f"{2:032x}"], 2.0)


def test_records_of_another_schema_are_not_mixed_in(tmp_path):
    history = opened(tmp_path)
    add(history, 1)
    history.close()
    other = opened(tmp_path, Schema((Column("z"),)))
    assert len(other.recent_rows(5)) == 0
    assert len(other.rows([f"{1:032x}"])) == 0
    assert other.get(f"{1:032x}") is not None
    other.add([alert(2)], Records(np.ones((1, 1)), [], np.zeros(1)), NOW)
    assert other.recent_rows(5).records.numbers.shape == (1, 1)
    other.close()


def test_the_oldest_that_no_one_judged_go_first(tmp_path):
    history = opened(tmp_path, max_alerts=5, max_per_second=1000)
    add(history, *range(4))
    history.judge(f"{0:032x}", "anomaly", "", NOW)
    add(history, *range(4, 8))
    assert sorted(numbers(history.page())) == [0, 4, 5, 6, 7]
    for number in (4, 5, 6, 7):
        history.judge(f"{number:032x}", "anomaly", "", NOW)
    add(history, 8)
    assert sorted(numbers(history.page())) == [4, 5, 6, 7, 8]
    history.close()


def test_bytes_are_bounded(tmp_path):
    history = opened(tmp_path, max_bytes=100_000, max_per_second=10_000)
    for start in range(0, 2000, 100):
        add(history, *range(start, start + 100))
    kept = numbers(history.page(2000))
    assert kept == list(range(1999, 1999 - len(kept), -1))
    assert 50 < len(kept) < 400
    history.close()
    assert (tmp_path / "alerts.sqlite").stat().st_size < 400_000


def test_old_alerts_are_forgotten(tmp_path):
    history = opened(tmp_path, max_age_seconds=100)
    add(history, 1)
    add(history, 2, now=NOW + 60)
    history.tidy(NOW + 120)
    assert numbers(history.page()) == [2]
    history.close()


def test_in_a_flood_the_worst_are_stored_and_the_rest_counted(tmp_path):
    telemetry = Telemetry(CollectorRegistry())
    history = opened(tmp_path, telemetry=telemetry.feedback, max_per_second=2)
    many = [alert(n, nats=float(n % 50)) for n in range(100)]
    assert history.add(many, rows(*range(100)), NOW) == 20
    assert {stored.document["nats"] for stored in history.page(100).alerts} == set(range(40, 50))
    assert history.add(many, rows(*range(100)), NOW) == 0
    assert add(history, *range(100, 120), now=NOW + 3) == 6
    value = telemetry.registry.get_sample_value
    assert value("vaeiso_history_alerts_skipped_total", {"reason": "flood"}) == 194
    assert value("vaeiso_history_alerts") == 26
    assert history.add([], rows(), NOW) == 0
    history.close()


def test_telemetry_of_verdicts(tmp_path):
    telemetry = Telemetry(CollectorRegistry())
    history = opened(tmp_path, telemetry=telemetry.feedback)
    value = telemetry.registry.get_sample_value
    assert value("vaeiso_feedback_precision_ratio") is None
    add(history, 1, 2, 3)
    history.judge(f"{1:032x}", "anomaly", "", NOW)
    history.judge(f"{2:032x}", "normal", "", NOW)
    history.judge(f"{3:032x}", "anomaly", "", NOW)
    assert value("vaeiso_feedback_verdicts", {"verdict": "anomaly"}) == 2
    assert value("vaeiso_feedback_verdicts", {"verdict": "normal"}) == 1
    assert value("vaeiso_feedback_precision_ratio") == pytest.approx(2 / 3)
    history.close()
    again = Telemetry(CollectorRegistry())
    opened(tmp_path, telemetry=again.feedback).close()
    assert again.registry.get_sample_value("vaeiso_history_alerts") == 3
    assert again.registry.get_sample_value("vaeiso_feedback_precision_ratio") == pytest.approx(
        2 / 3
    )


# Damage


@pytest.mark.parametrize("how", ["text", "half", "foreign table", "foreign version", "bit"])
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, how):
    path = tmp_path / "alerts.sqlite"
    history = opened(tmp_path, max_per_second=1000)
    add(history, *range(400))
    history.close()
    content = path.read_bytes()
    if how == "text":
        path.write_bytes(b"this is no database" * 100)
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "bit":
        path.write_bytes(content[:4096] + bytes(4096) + content[8192:])
    else:
        path.unlink()
        other = sqlite3.connect(path)
        if how == "foreign table":
            other.execute("CREATE TABLE alerts (something TEXT)")
        else:
            other.execute("PRAGMA user_version = 99")
        other.commit()
        other.close()
    before = path.read_bytes()
    again = opened(tmp_path)
    assert add(again, 1000) == 1
    assert numbers(again.page()) == [1000]
    again.close()
    aside = path.with_name("alerts.sqlite.damaged").read_bytes()
    assert aside == before or how == "foreign table"  # that one was opened before it was refused


def test_a_disk_that_refuses_is_counted_and_the_loop_goes_on(tmp_path):
    telemetry = Telemetry(CollectorRegistry())
    history = opened(tmp_path, telemetry=telemetry.feedback, max_per_second=1000)
    add(history, 1)
    history._connection.execute("PRAGMA max_page_count = 20")
    stored = sum(add(history, *range(start, start + 50)) for start in range(100, 600, 50))
    value = telemetry.registry.get_sample_value
    skipped = value("vaeiso_history_alerts_skipped_total", {"reason": "error"})
    assert 0 < stored < 500
    assert stored + skipped == 500
    assert value("vaeiso_history_alerts") == len(history.page(1000).alerts) == stored + 1
    with pytest.raises(TransientError, match="the verdict on"):
        history.judge(f"{1:032x}", "normal", "x" * 100_000, NOW)
    history._connection.execute("PRAGMA max_page_count = 100000")
    assert add(history, 9000) == 1
    history.close()


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path):
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot keep the alert history"):
        opened(tmp_path / "state")


def test_a_reader_of_nothing_fails_at_once(tmp_path):
    with pytest.raises(TransientError, match="cannot be read"):
        HistoryReader(tmp_path)


def test_another_process_reads_while_the_daemon_writes(tmp_path, history):
    add(history, 1)
    reader = HistoryReader(tmp_path)
    add(history, 2)
    assert reader.beginning_with(f"{2:032x}") == [f"{2:032x}"]
    reader.close()


def test_several_threads(tmp_path):
    history = opened(tmp_path, max_alerts=200, max_per_second=1e6)
    writer = Thread(target=lambda: [add(history, *range(i, i + 5)) for i in range(0, 1000, 5)])
    writer.start()
    while writer.is_alive():
        for stored in history.page(5).alerts:
            history.judge(stored.alert_id, "normal", "", NOW)
        history.tidy(NOW)
    writer.join()
    assert len(history.page(1000).alerts) == 200
    history.close()


KILLED = """
import sys
from pathlib import Path
from tests.test_lifecycle_history import NOW, add, opened

history = opened(Path(sys.argv[1]), max_alerts=100, max_per_second=1e9)
for number in range(10**9):
    add(history, number, number + 10**6)
    history.judge(f"{number:032x}", "anomaly", "", NOW)
    print(number, flush=True)
"""


@pytest.mark.usefixtures("unmeasured")
def test_a_process_that_is_killed_leaves_a_whole_history(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    said = [int(child.stdout.readline()) for _ in range(150)]
    os.kill(child.pid, signal.SIGKILL)
    said += [int(line) for line in child.communicate()[0].splitlines() if line]
    assert child.returncode == -signal.SIGKILL
    history = opened(tmp_path, max_alerts=100)
    assert not list(tmp_path.glob("*.damaged"))
    assert history.get(f"{said[-1]:032x}").verdict == "anomaly"
    assert len(history.page(1000).alerts) <= 100
    history.close()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.floats(0, 500)), max_size=25),
    st.integers(1, 80),
)
def test_the_bounds_hold_whatever_comes(tmp_path_factory, steps, max_alerts):
    history = opened(
        tmp_path_factory.mktemp("h"), max_alerts=max_alerts, max_age_seconds=1000, max_per_second=1
    )
    now, offered, stored = NOW, 0, 0
    for count, judged, wait in steps:
        now += wait
        stored += add(history, *range(offered, offered + count), now=now)
        offered += count
        history.judge(f"{judged:032x}", "normal", "", now)
        history.tidy(now)
        assert len(history.page(1000).alerts) <= max_alerts
    assert stored <= 10 + (now - NOW) + 1
    assert all(s.stored_at >= now - 1000 for s in history.page(1000).alerts)
    history.close()
