"""The station as a source: JSON documents at a steady pace, as a gateway would send them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from annotated_types import Ge, Gt, Le

from vaeiso_monitor.sources.plant.columns import CABINET, FILTERS, MODES, SENSORS
from vaeiso_monitor.sources.plant.faults import Schedule, truth
from vaeiso_monitor.sources.plant.process import CHUNK, Process
from vaeiso_monitor.types import PartitionProgress, Polled, RawBatch, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

STATION = "PS1"
_EPOCH = np.datetime64("2026-03-02T00:00:00", "ms")
_LINGER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class PlantConfig:
    """A simulated pumping station with 31 sensors.

    ``rate_per_second`` records come each second (0: as fast as they are read), ``records`` in all
    (0: without end), each ``seconds_per_record`` of the plant's time after the one before; the
    first ``history_records`` are there at once, as in a topic that has a past. From
    record ``faults_after`` on about ``fault_share`` of the records belong to a fault.
    ``missing_share`` of all values are missing: those of one cabinet, together.
    ``drift`` scales how fast the machines age. What is not read waits, ``max_waiting_records`` at
    most: then the plant's time stands still.
    """

    type: Literal["plant"] = "plant"
    seed: Annotated[int, Ge(0)] = 7
    rate_per_second: Annotated[float, Ge(0)] = 200.0
    records: Annotated[int, Ge(0)] = 0
    history_records: Annotated[int, Ge(0)] = 0
    seconds_per_record: Annotated[float, Gt(0)] = 60.0
    faults_after: Annotated[int, Ge(0)] = 10_000
    fault_share: Annotated[float, Ge(0), Le(0.3)] = 0.02
    missing_share: Annotated[float, Ge(0), Le(0.5)] = 0.005
    drift: Annotated[float, Ge(0)] = 1.0
    max_waiting_records: Annotated[int, Gt(0)] = 20_000


class PlantSource:
    """Serves the records of a simulated station and knows which of them are faulty.

    The same config gives the same records, however they are polled. ``clock`` gives seconds that
    never go back, ``sleep`` waits for so many of them.
    """

    name = "plant"
    errors = 0

    def __init__(
        self,
        config: PlantConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        self.committed = 0
        self._clock = clock
        self._sleep = sleep
        self._process = Process(config.seed, config.seconds_per_record, config.drift)
        self._schedule = Schedule(
            config.seed, config.fault_share, config.faults_after, config.seconds_per_record
        )
        self._encoder = msgspec.json.Encoder()
        self._ready: deque[bytes] = deque()
        self._made = 0
        self._read = 0
        self._began: float | None = None
        self._open = True

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        """Return the records that are due, none after ``timeout`` seconds, None at the end."""
        if self._exhausted():
            return None
        deadline = self._clock() + timeout
        linger = self._clock() + min(timeout, _LINGER_SECONDS)
        while (due := min(self._due(), max_records)) < max_records:
            now = self._clock()
            if now >= deadline or (due and now >= linger) or self._ends_with(due):
                break
            self._sleep(min(deadline - now, _LINGER_SECONDS / 4))
        payload = [self._next() for _ in range(due)]
        start, self._read = self._read, self._read + due
        spans = (Span(self.name, STATION, 0, 0, range(start, self._read)),) if due else ()
        return Polled(RawBatch(payload, spans), self._read)

    def commit(self, checkpoint: int) -> None:
        """Remember how many records were delivered."""
        self.committed = max(self.committed, checkpoint)

    def keep_alive(self) -> None:
        """Let the plant's time stand still where too many records wait already."""
        self._due()

    def progress(self) -> Sequence[PartitionProgress]:
        """Return the one partition and how many records wait in it."""
        return (
            PartitionProgress(STATION, 0, self._due() if self.config.rate_per_second else 0, 0.0),
        )

    def connected(self) -> bool:
        """Return True until it is closed."""
        return self._open

    def check(self) -> str:
        """Say what the plant will send."""
        rate = self.config.rate_per_second
        pace = f"{rate:g} records/s" if rate else "as fast as they are read"
        return f"simulated pumping station with {len(SENSORS)} sensors, {pace}"

    def close(self) -> None:
        """Close; there is nothing to release."""
        self._open = False

    def truth(self, offset: int) -> str | None:
        """Return the fault that record ``offset`` belongs to, None if it is healthy."""
        return self.truth_between(offset, offset + 1)[0]

    def truth_between(self, start: int, stop: int) -> list[str | None]:
        """Return the fault of each record from ``start`` up to and without ``stop``."""
        return truth(self._schedule.between(start, stop), start, stop)

    def _exhausted(self) -> bool:
        return 0 < self.config.records <= self._read

    def _ends_with(self, count: int) -> bool:
        return 0 < self.config.records <= self._read + count

    def _due(self) -> int:
        """Return how many records wait now, and hold the plant's time where they are too many."""
        left = self.config.records - self._read if self.config.records else 1 << 62
        if not self.config.rate_per_second:
            return left
        now = self._clock()
        if self._began is None:
            self._began = now
        rate, history = self.config.rate_per_second, self.config.history_records
        due = history + int((now - self._began) * rate) - self._read
        bound = self.config.max_waiting_records + max(history - self._read, 0)
        if due > bound:
            due = bound
            self._began = now - (self._read + due - history) / rate
        return min(due, left)

    def _next(self) -> bytes:
        if not self._ready:
            self._make()
        return self._ready.popleft()

    def _make(self) -> None:
        """Simulate one more chunk and write it as JSON documents."""
        first, self._made = self._made, self._made + CHUNK
        values, indices = self._process.next_chunk()
        touched = self._schedule.apply(first, values, indices)
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, (1 << 32) + first]))
        share = self.config.missing_share * len(SENSORS) / len(CABINET)
        silent = rng.random(CHUNK) < share
        columns: dict[str, list[object]] = dict(_labels(first, self.config.seconds_per_record))
        columns["mode"] = [MODES[index] for index in indices["mode"].tolist()]
        columns["filter_line"] = [FILTERS[index] for index in indices["filter_line"].tolist()]
        columns["tank_filling"] = list(map(bool, indices["tank_filling"].tolist()))
        for sensor in SENSORS:
            shown = np.clip(values[sensor.name], sensor.minimum, sensor.maximum)
            column: list[object] = shown.round(sensor.decimals).tolist()
            if sensor.name in CABINET:
                # A fault is not hidden by a gap, or its truth would be a lie.
                for row in np.flatnonzero(silent & ~touched[sensor.name]).tolist():
                    column[row] = None
            columns[sensor.name] = column
        rows = zip(*columns.values(), strict=True)
        names = tuple(columns)
        self._ready.extend(self._encoder.encode(dict(zip(names, row, strict=True))) for row in rows)


def _labels(first: int, step_seconds: float) -> dict[str, list[object]]:
    """Return the columns that name the records: id, time and station."""
    offsets = first + np.arange(CHUNK)
    times = _EPOCH + (offsets * step_seconds * 1000).astype("timedelta64[ms]")
    texts: NDArray[np.str_] = np.datetime_as_string(times, unit="ms")
    return {
        "id": [f"{STATION}-{offset:09d}" for offset in offsets.tolist()],
        "time": [f"{text}Z" for text in texts.tolist()],
        "station": [STATION] * CHUNK,
    }
