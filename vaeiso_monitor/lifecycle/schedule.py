"""When a training is due, and the thread that watches the clock for it and for all else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import Ge, Gt
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CRON_FIELDS = 5
_THREADS = 4


@dataclass(frozen=True, slots=True)
class RetrainConfig:
    """When a new model is trained beside the one that serves.

    Every ``interval_seconds`` after the last training, or, where ``cron`` is set, at the instants
    that it names in ``timezone``; never where ``enabled`` is false, except by hand. A training
    needs ``min_records`` in the window, or ``adopt_min_records`` since a regime shift that is to be
    adopted. One that fails is tried again after ``retry_seconds``,
    then after twice that, up to ``retry_limit_seconds``.
    """

    enabled: bool = True
    interval_seconds: Annotated[float, Gt(0)] = 86400.0
    cron: str | None = None
    timezone: str = "UTC"
    min_records: Annotated[int, Ge(10)] = 5000
    adopt_min_records: Annotated[int, Ge(10)] = 1000
    retry_seconds: Annotated[float, Gt(0)] = 300.0
    retry_limit_seconds: Annotated[float, Gt(0)] = 21600.0

    def __post_init__(self) -> None:
        """Refuse a cron expression or a time zone that there is none of, naming the key."""
        zone = _zone(self.timezone)
        if self.cron is not None:
            _cron(self.cron, zone)


def next_training(config: RetrainConfig, last: float | None, now: float) -> float | None:
    """Return when the next training is due (Unix time): ``now`` if it is overdue, None for never.

    ``last`` is when a model was last trained.
    """
    if not config.enabled:
        return None
    if config.cron is None:
        return max(now, now if last is None else last + config.interval_seconds)
    since = datetime.fromtimestamp(now if last is None else last, UTC)
    due: datetime | None = _cron(config.cron, _zone(config.timezone)).get_next_fire_time(
        None, since + timedelta(microseconds=1)
    )
    return None if due is None else max(now, due.timestamp())


def back_off(config: RetrainConfig, failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return float(
        min(config.retry_seconds * 2.0 ** min(failures - 1, 60), config.retry_limit_seconds)
    )


class Timer:
    """Runs jobs by the clock in a few threads of its own; a job never runs twice at once.

    An error in a job is logged and counted, and the job comes again at its next time.
    """

    def __init__(self, telemetry: LifecycleTelemetry) -> None:
        self._telemetry = telemetry
        self._threads = ThreadPoolExecutor(_THREADS)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": self._threads},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._heard, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def every(self, seconds: float, name: str, job: Callable[[], Any]) -> None:
        """Run ``job`` every so many seconds, the first time after as long; replaces its like."""
        self._scheduler.add_job(
            job, IntervalTrigger(seconds=seconds, timezone=UTC), id=name, replace_existing=True
        )

    def at(self, instant: float, name: str, job: Callable[[], Any]) -> None:
        """Run ``job`` once at ``instant`` (Unix time), or at once if that is over."""
        when = DateTrigger(datetime.fromtimestamp(instant, UTC), timezone=UTC)
        self._scheduler.add_job(job, when, id=name, replace_existing=True)

    def cancel(self, name: str) -> None:
        """Forget a job that was to come."""
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def start(self) -> None:
        """Let the clock run."""
        self._scheduler.start()
        self._telemetry.scheduler_alive(True)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return bool(self._scheduler.running)

    def close(self) -> None:
        """Stop, and wait for the jobs that run.

        The library would wait with its locks held, for a job that plans the next and needs them.
        """
        if self._scheduler.running:
            self._scheduler.pause()
            self._scheduler.get_jobs()  # returns when what is being started has started
            self._scheduler.shutdown(wait=False)
            self._threads.shutdown(wait=True)
        self._telemetry.scheduler_alive(False)

    def _heard(self, event: Any) -> None:
        self._telemetry.job_failed(event.job_id)  # the library has logged it


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f'timezone must be a name such as "Europe/Berlin" or "UTC", not {name!r}'
        raise ValueError(msg) from error


def _cron(expression: str, zone: tzinfo) -> CronTrigger:
    """Return the trigger of a crontab line, where 0 and 7 are Sunday as everywhere else."""
    parts = expression.split()
    if len(parts) != _CRON_FIELDS:
        msg = (
            'cron must have five fields (minute, hour, day, month, weekday), such as "30 2 * * *", '
            f"not {expression!r}"
        )
        raise ValueError(msg)
    minute, hour, day, month, weekday = parts
    try:
        return CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=",".join(map(_weekdays, weekday.split(","))),
            timezone=zone,
        )
    except ValueError as error:
        msg = f"cron = {expression!r} cannot be read: {error}"
        raise ValueError(msg) from error


def _weekdays(part: str) -> str:
    """Return days of the week by name: the library numbers them from Monday."""
    found = re.fullmatch(r"([0-7])(?:-([0-7]))?", part)
    if found is None:
        return part
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        msg = f"the weekdays {part!r} run backwards"
        raise ValueError(msg)
    return ",".join(_WEEKDAYS[first : last + 1])
