"""The demo's pumping station with a script: phases of faults, a drift, a change, a dead sensor.

The healthy process and the nine kinds of faults are the simulator's own; see
``vaeiso_monitor.sources.plant``. The truth about each record is known.
"""

from __future__ import annotations

import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaeiso_monitor.records import Schema
from vaeiso_monitor.sources.plant import PLANT_SCHEMA
from vaeiso_monitor.sources.plant.columns import CABINET, FILTERS, MODES, SENSORS
from vaeiso_monitor.sources.plant.faults import Schedule, truth
from vaeiso_monitor.sources.plant.process import CHUNK, Process
from vaeiso_monitor.types import Records

SCHEMA = Schema.from_mapping(tomllib.loads(PLANT_SCHEMA)["schema"])
BROKEN = "broken_sensor"
_EPOCH = np.datetime64("2026-03-02T00:00:00", "ms")
_MISSING = 0.005
_PROBED = 0.3  # share of probes that are faulty
_STUCK = 5.2  # bar, a discharge pressure of every morning and every evening

Values = dict[str, NDArray[np.float64]]
Indices = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the script: ``hours`` long, with ``faults`` as share of its records.

    Over a phase ``drifts`` the machines age, which stays; from a phase ``renewed`` on the station
    runs in another regime; in a phase ``broken`` the sensor of the discharge pressure is dead.
    With a phase ``poisoned`` an operator errs about the alerts.
    """

    name: str
    hours: int
    faults: float = 0.01
    drifts: bool = False
    renewed: bool = False
    broken: bool = False
    poisoned: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Some records as JSON, the truth about each (None: healthy), and the phase."""

    payload: Sequence[bytes]
    truth: Sequence[str | None]
    phase: Phase


class Station:
    """The station under a script of ``phases``, ``rate`` records an hour."""

    def __init__(self, phases: Sequence[Phase], rate: int, seed: int = 7) -> None:
        self._step = (
            60.0  # a record a minute, as in the demo: an hour of the script is most of a day
        )
        self._seed = seed
        self._process = Process(seed, self._step, drift=0.0)
        self._spans: list[tuple[int, int, Phase]] = []
        start = 0
        for phase in phases:
            stop = start + phase.hours * rate
            self._spans.append((start, stop, phase))
            start = stop
        self._encoder = msgspec.json.Encoder()
        self._made = 0
        self._ready: deque[tuple[bytes, str | None, Phase]] = deque()
        self.probes = Records(np.zeros((0, len(SCHEMA.numbers))), [[], []], np.zeros(0, np.int64))

    def take(self, count: int) -> Step:
        """Return the next records, all of one phase as long as ``count`` divides its records."""
        while len(self._ready) < count:
            self._make()
        rows = [self._ready.popleft() for _ in range(count)]
        return Step([row[0] for row in rows], [row[1] for row in rows], rows[0][2])

    def _make(self) -> None:
        first, self._made = self._made, self._made + CHUNK
        values, indices = self._process.next_chunk()
        offsets = np.arange(first, first + CHUNK)
        self._age(values, offsets)
        self._renew(values, offsets)
        self.probes = self._probes(first, values, indices)
        names: list[str | None] = [None] * CHUNK
        phases = [self._spans[-1][2]] * CHUNK
        touched = {sensor: np.zeros(CHUNK, dtype=bool) for sensor in values}
        for start, stop, phase in self._spans:
            low, high = max(start - first, 0), min(stop - first, CHUNK)
            if low < high:
                part = slice(low, high)
                phases[part] = [phase] * (high - low)
                names[part] = self._strike(first, part, start, phase, values, indices, touched)
        documents = self._documents(first, values, indices, touched)
        self._ready.extend(zip(documents, names, phases, strict=True))

    def _strike(
        self,
        first: int,
        part: slice,
        start: int,
        phase: Phase,
        values: Values,
        indices: Indices,
        touched: dict[str, NDArray[np.bool_]],
    ) -> list[str | None]:
        low, high = first + part.start, first + part.stop
        names: list[str | None] = [None] * (high - low)
        if phase.faults:
            schedule = Schedule(self._seed + 1, phase.faults, start, self._step)
            inside = {sensor: value[part] for sensor, value in values.items()}
            hit = schedule.apply(
                low, inside, {name: index[part] for name, index in indices.items()}
            )
            for sensor, rows in hit.items():
                touched[sensor][part] |= rows
            names = truth(schedule.between(low, high), low, high)
        if phase.broken:
            noise = np.random.default_rng((self._seed, 5, low)).normal(size=high - low)
            values["discharge_pressure"][part] = _STUCK + 0.002 * noise
            names = [name or BROKEN for name in names]
        return names

    def _share(self, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how far the ageing is [n], 0 to 1."""
        spans = [(a, b) for a, b, phase in self._spans if phase.drifts]
        total = sum(b - a for a, b in spans) or 1
        return np.asarray(
            sum((np.clip(offsets - a, 0, b - a) for a, b in spans), 0 * offsets) / total
        )

    def _age(self, values: Values, offsets: NDArray[np.int64]) -> None:
        aged = self._share(offsets)
        for pump in (1, 2, 3):
            values[f"pump{pump}_bearing_temp"] += 2.0 * aged
        values["pump2_vibration"] *= 1 + 0.2 * aged
        values["valve_position"] += 2.5 * aged
        values["water_temp"] += 1.0 * aged
        values["chlorine"] -= 0.02 * aged
        values["suction_pressure"] -= 0.03 * aged

    def _renew(self, values: Values, offsets: NDArray[np.int64]) -> None:
        starts = [a for a, _, phase in self._spans if phase.renewed]
        new = (offsets >= starts[0]) * 1.0 if starts else np.zeros(len(offsets))
        for sensor in ("pump1_power", "pump1_current"):
            values[sensor] *= 1 - 0.07 * new
        values["pump1_vibration"] *= 1 - 0.3 * new
        values["pump1_winding_temp"] -= 4 * new
        for sensor in ("discharge_pressure", "network_pressure"):
            values[sensor] += 0.35 * new
        for pump in (1, 2, 3):
            values[f"pump{pump}_speed"] *= 1 + 0.03 * new

    def _probes(self, first: int, values: Values, indices: Indices) -> Records:
        """Return faulty records as they would look now; the stream knows nothing of them."""
        mine = {sensor: value.copy() for sensor, value in values.items()}
        others = {name: index.copy() for name, index in indices.items()}
        schedule = Schedule(self._seed + 2, _PROBED, 0, self._step)
        schedule.apply(first, mine, others)
        names = truth(schedule.between(first, first + CHUNK), first, first + CHUNK)
        rows = np.flatnonzero([name is not None for name in names])
        shown = {
            s.name: np.clip(mine[s.name], s.minimum, s.maximum).round(s.decimals) for s in SENSORS
        }
        shown["tank_filling"] = others["tank_filling"].astype(np.float64)
        numbers = np.column_stack([shown[name][rows] for name in SCHEMA.numbers])
        texts = {
            "mode": [MODES[i] for i in others["mode"][rows].tolist()],
            "filter_line": [FILTERS[i] for i in others["filter_line"][rows].tolist()],
        }
        return Records(numbers, [texts[name] for name in SCHEMA.categories], np.arange(len(rows)))

    def _documents(
        self, first: int, values: Values, indices: Indices, touched: dict[str, NDArray[np.bool_]]
    ) -> list[bytes]:
        rng = np.random.default_rng((self._seed, 4, first))
        silent = rng.random(CHUNK) < _MISSING * len(SENSORS) / len(CABINET)
        offsets = first + np.arange(CHUNK)
        times = _EPOCH + (offsets * self._step * 1000).astype("timedelta64[ms]")
        columns: dict[str, list[object]] = {
            "id": [f"PS1-{offset:09d}" for offset in offsets.tolist()],
            "time": [f"{text}Z" for text in np.datetime_as_string(times, unit="ms")],
            "station": ["PS1"] * CHUNK,
            "mode": [MODES[i] for i in indices["mode"].tolist()],
            "filter_line": [FILTERS[i] for i in indices["filter_line"].tolist()],
            "tank_filling": list(map(bool, indices["tank_filling"].tolist())),
        }
        for sensor in SENSORS:
            shown = np.clip(values[sensor.name], sensor.minimum, sensor.maximum)
            columns[sensor.name] = shown.round(sensor.decimals).tolist()
            if sensor.name in CABINET:
                for row in np.flatnonzero(silent & ~touched[sensor.name]).tolist():
                    columns[sensor.name][row] = None
        names = tuple(columns)
        rows = zip(*columns.values(), strict=True)
        return [self._encoder.encode(dict(zip(names, row, strict=True))) for row in rows]


def healthy(phases: Sequence[Phase]) -> list[Phase]:
    """Return the phases without faults."""
    return [replace(phase, faults=0.0) for phase in phases]
