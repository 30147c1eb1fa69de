"""When a training is due, in which time zone, and what a clock's threads do with errors."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from threading import Event

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from vaeiso_monitor.lifecycle import RetrainConfig, Timer, back_off, next_training
from vaeiso_monitor.telemetry import Telemetry

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()
DAY = 86400.0


def dates(config: RetrainConfig, count: int) -> list[str]:
    found, last = [], NOW
    for _ in range(count):
        due = next_training(config, last, last)
        assert due is not None
        found.append(f"{datetime.fromtimestamp(due, UTC):%a %d %H:%M}")
        last = due
    return found


def test_the_interval_counts_from_the_last_training() -> None:
    config = RetrainConfig()
    assert next_training(config, NOW - 1000, NOW) == NOW + DAY - 1000
    assert next_training(config, NOW - 9 * DAY, NOW) == NOW  # overdue: once, not nine times
    assert next_training(config, None, NOW) == NOW
    assert next_training(RetrainConfig(enabled=False), NOW, NOW) is None


def test_cron_speaks_of_weekdays_as_everywhere_and_of_its_own_zone() -> None:
    config = RetrainConfig(cron="30 2 * * 0,3-5", timezone="Europe/Berlin")
    assert dates(config, 4) == ["Wed 25 01:30", "Thu 26 01:30", "Fri 27 01:30", "Sun 29 01:30"]
    assert dates(RetrainConfig(cron="0 0 * * 7"), 1) == ["Sun 29 00:00"]
    assert dates(RetrainConfig(cron="0 0 * * mon-tue"), 2) == ["Mon 23 00:00", "Tue 24 00:00"]
    assert next_training(config, NOW - 30 * DAY, NOW) == NOW


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cron": "daily"}, "cron must have five fields"),
        ({"cron": "61 * * * *"}, "cannot be read"),
        ({"cron": "* * * * 5-2"}, "run backwards"),
        ({"timezone": "Mars/Olympus"}, "timezone must be a name"),
        ({"timezone": "../zone"}, "timezone must be a name"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_key(keys: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RetrainConfig(**keys)  # type: ignore[arg-type]


def test_failures_are_tried_again_more_and_more_seldom() -> None:
    waits = [back_off(RetrainConfig(), failures) for failures in (1, 2, 3, 8, 1000)]
    assert waits == [300, 600, 1200, 21600, 21600]


def test_an_error_ends_a_job_and_not_the_clock() -> None:
    telemetry = Telemetry(CollectorRegistry())
    timer = Timer(telemetry.lifecycle)
    broken, fine = Event(), Event()

    def breaks() -> None:
        broken.set()
        msg = "a bug"
        raise RuntimeError(msg)

    timer.at(time.time() - 5, "breaks", breaks)
    timer.every(0.02, "fine", lambda: fine.set() if broken.is_set() else None)
    timer.at(time.time() + 3600, "never", breaks)
    timer.cancel("never")
    timer.cancel("unknown")
    timer.start()
    try:
        assert broken.wait(30)
        assert fine.wait(30)
        assert timer.alive
        shown = generate_latest(telemetry.registry).decode()
        assert "vaeiso_scheduler_alive 1.0" in shown
    finally:
        timer.close()
    shown = generate_latest(telemetry.registry).decode()
    assert 'vaeiso_lifecycle_errors_total{task="breaks"} 1.0' in shown
    assert "vaeiso_scheduler_alive 0.0" in shown
