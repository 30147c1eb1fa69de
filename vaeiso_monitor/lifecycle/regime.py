"""Regime shift: when so many records are anomalies for so long that normal itself has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import structlog
from annotated_types import Ge, Gt, Le
from scipy.special import betainc

from vaeiso_monitor.alerts import RegimeAction, RegimeShift
from vaeiso_monitor.alerts.words import iso_of

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry import RegimeTelemetry

log = structlog.get_logger(__name__)

# A rate at the line itself passes for a higher one in one interval of a thousand.
_SIGNIFICANCE = 1e-3
_HIGHEST_LINE = 0.9

RegimeEvent = RegimeShift
"""What :class:`RegimeWatch` finds: ``status`` started or ended, ``action`` alert or adopt."""


@dataclass(frozen=True, slots=True)
class RegimeConfig:
    """When the alert rate says that the plant has changed, and what is to be done then.

    The stream is judged interval by interval, each as long as ``interval_seconds`` and
    ``min_records``. An interval is high when its alert rate is beyond doubt above the line: the
    larger of ``min_alert_rate`` and ``budget_factor`` times the budget. A shift starts when
    ``persistence`` of the last ``persistence`` + 1 intervals are high, and ends when as many have
    at most half the line.
    """

    on_regime_shift: RegimeAction = "alert"
    budget_factor: Annotated[float, Gt(1)] = 10.0
    min_alert_rate: Annotated[float, Gt(0), Le(1)] = 0.1
    interval_seconds: Annotated[float, Gt(0)] = 60.0
    min_records: Annotated[int, Ge(1)] = 50
    persistence: Annotated[int, Ge(1)] = 10

    def line(self, budget: float) -> float:
        """Return the alert rate above which an interval is high."""
        return min(max(self.min_alert_rate, self.budget_factor * budget), _HIGHEST_LINE)


class _Interval(msgspec.Struct):
    began: float
    records: int = 0
    anomalies: int = 0
    level: Literal["high", "middle", "calm"] = "middle"


class _State(msgspec.Struct):
    """What survives a restart; ``records`` and ``anomalies`` are those since the shift started."""

    current: _Interval | None = None
    recent: list[_Interval] = msgspec.field(default_factory=list)
    started: float = 0.0
    shift: RegimeShift | None = None
    records: int = 0
    anomalies: int = 0


def ignore_event(event: RegimeEvent) -> None:
    """Do nothing: for those who only want the messages."""


class RegimeWatch:
    """Counts anomalies and says once when a regime shift starts, and once when it ends.

    The loop calls ``observe`` for each batch and ``settle`` when what it returned was delivered;
    ``settle`` makes the state durable in ``path`` and tells ``on_event``. A shift that was noticed
    and not settled when the process ended is noticed again. One thread calls it.
    """

    def __init__(
        self,
        config: RegimeConfig,
        budget: float,
        path: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        on_event: Callable[[RegimeEvent], None] = ignore_event,
        telemetry: RegimeTelemetry | None = None,
    ) -> None:
        self._config = config
        self._budget = budget
        self._path = path
        self._clock = clock
        self._on_event = on_event
        self._line = config.line(budget)
        self._unsettled: RegimeEvent | None = None
        self._changed = False
        self._state = _State()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._state = _restored(path)
        self._telemetry = telemetry
        if telemetry is not None:
            telemetry.watching(self._line, shifted=self._state.shift is not None)

    @property
    def shifted(self) -> RegimeEvent | None:
        """The start of the shift that goes on, None while all is well."""
        return self._state.shift

    @property
    def line(self) -> float:
        """The alert rate above which an interval is high."""
        return self._line

    def configure(self, config: RegimeConfig, budget: float) -> None:
        """Go by other settings from the next interval on; any thread may say so."""
        self._config = config
        self._budget = budget
        self._line = config.line(budget)
        if self._telemetry is not None:
            self._telemetry.watching(self._line, shifted=self._state.shift is not None)

    def observe(self, records: int, anomalies: int, now: float | None = None) -> RegimeEvent | None:
        """Count one batch (``now`` in Unix seconds); return a shift that starts or ends with it."""
        now = self._clock() if now is None else now
        state = self._state
        current = state.current
        if current is None or now < current.began:  # a clock that was put back starts anew
            current = state.current = _Interval(now)
        current.records += records
        current.anomalies += anomalies
        state.records += records
        state.anomalies += anomalies
        config = self._config
        long_enough = now - current.began >= config.interval_seconds
        if not long_enough or current.records < config.min_records:
            return None
        self._close_interval(current, now)
        return self._judge(now)

    def settle(self) -> None:
        """Be told that what ``observe`` returned was delivered: save, and say it to who acts."""
        if self._changed:
            self._save()
        event, self._unsettled = self._unsettled, None
        if event is not None:
            self._on_event(event)

    def close(self) -> None:
        """Save the state, the interval that is not over included."""
        self._save()

    def _close_interval(self, interval: _Interval, now: float) -> None:
        interval.level = self._level(interval)
        self._state.recent.append(interval)
        del self._state.recent[: -(self._config.persistence + 1)]
        self._state.current = _Interval(now)
        self._changed = True

    def _level(self, interval: _Interval) -> Literal["high", "middle", "calm"]:
        records, anomalies = interval.records, interval.anomalies
        if 2 * anomalies <= self._line * records:
            return "calm"
        # the binomial tail: how likely a rate at the line brings so many
        chance = float(betainc(anomalies, records - anomalies + 1, self._line))
        return "high" if chance < _SIGNIFICANCE else "middle"

    def _judge(self, now: float) -> RegimeEvent | None:
        state = self._state
        wanted = "calm" if state.shift is not None else "high"
        found = [interval for interval in state.recent if interval.level == wanted]
        if len(found) < self._config.persistence:
            return None
        since = found[0].began
        new = [interval for interval in state.recent if interval.began >= since]
        event = self._ended(since, new, now) if state.shift else self._started(since, new, now)
        state.recent = []
        self._unsettled = event
        if self._telemetry is not None:
            self._telemetry.started() if state.shift else self._telemetry.ended()
        log.warning("regime_shift", status=event.status, alert_rate=round(event.alert_rate, 4))
        return event

    def _started(self, since: float, new: Sequence[_Interval], now: float) -> RegimeEvent:
        state = self._state
        state.started = since
        state.records = sum(interval.records for interval in new)
        state.anomalies = sum(interval.anomalies for interval in new)
        state.shift = self._event("started", now, now - since, state.records, state.anomalies)
        return state.shift

    def _ended(self, since: float, new: Sequence[_Interval], now: float) -> RegimeEvent:
        state = self._state
        records = state.records - sum(interval.records for interval in new)
        anomalies = state.anomalies - sum(interval.anomalies for interval in new)
        event = self._event("ended", now, since - state.started, records, anomalies)
        state.shift = None
        return event

    def _event(
        self,
        status: Literal["started", "ended"],
        now: float,
        seconds: float,
        records: int,
        anomalies: int,
    ) -> RegimeEvent:
        started = datetime.fromtimestamp(self._state.started, UTC)
        return RegimeShift(
            regime_id=f"{started:%Y%m%dT%H%M%SZ}",
            status=status,
            started_at=iso_of(self._state.started),
            detected_at=iso_of(now),
            duration_seconds=round(max(seconds, 0.0), 3),
            alert_rate=anomalies / max(records, 1),
            alert_budget=self._budget,
            records=records,
            anomalies=anomalies,
            action=self._config.on_regime_shift,
        )

    def _save(self) -> None:
        self._changed = False
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_bytes(msgspec.json.encode(self._state))
        beside.replace(self._path)


def _restored(path: Path) -> _State:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        return _State()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("regime_forgotten", path=str(path), error=str(error))
        return _State()
