"""What goes wrong in the station, when, and what it does to the values.

A fault is an episode of some records. It begins at once with most of its final size: there is no
creeping start, so every record of an episode is visibly wrong and counts as one in the truth.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.sources.plant.columns import MODES
from vaeiso_monitor.sources.plant.process import hours, usual_demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Values = dict[str, NDArray[np.float64]]
    Indices = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Block:
    """The part of an episode that lies in the values at hand, as views to be changed in place.

    ``size`` [n] rises from 0.7 to 1 over the episode, ``noise`` [n] is standard normal. ``pump`` is
    1 or 2, the pump concerned; ``busy`` tells whether the town draws more than on average.
    """

    values: Values
    indices: Indices
    size: NDArray[np.float64]
    noise: NDArray[np.float64]
    pump: int
    choice: int
    busy: bool

    def add(self, sensor: str, change: NDArray[np.float64] | float) -> None:
        """Change a sensor's value by so much."""
        self.values[sensor] += change

    def scale(self, sensor: str, factor: NDArray[np.float64] | float) -> None:
        """Multiply a sensor's value."""
        self.values[sensor] *= factor


def _bearing_wear(block: Block) -> None:
    pump = f"pump{block.pump}"
    block.scale(f"{pump}_vibration", 1 + 1.3 * block.size * np.exp(0.1 * block.noise))
    block.add(f"{pump}_bearing_temp", 9 * block.size)
    block.scale(f"{pump}_current", 1 + 0.04 * block.size)


def _cavitation(block: Block) -> None:
    pump = f"pump{block.pump}"
    block.scale(f"{pump}_vibration", 1 + 0.8 * block.size * np.exp(0.3 * block.noise))
    block.scale(f"{pump}_power", 1 - 0.14 * block.size + 0.02 * block.noise)
    block.scale(f"{pump}_current", 1 - 0.14 * block.size + 0.02 * block.noise)
    block.add("suction_pressure", -0.12 * block.size)
    block.scale("flow_out", 1 - 0.06 * block.size)


def _leak(block: Block) -> None:
    block.scale("flow_out", 1 + 0.12 * block.size)
    block.add("discharge_pressure", -0.25 * block.size)
    block.add("network_pressure", -0.5 * block.size)


def _half_closed_valve(block: Block) -> None:
    block.scale("valve_position", 1 - 0.4 * block.size)
    block.add("discharge_pressure", 0.3 * block.size)
    block.add("network_pressure", -0.35 * block.size)
    block.scale("flow_out", 1 - 0.12 * block.size)


def _stuck_sensor(block: Block) -> None:
    # Frozen at what is usual at the other end of the day: in range, and wrong now.
    quiet, rush = _STUCK[block.choice % len(_STUCK)][1]
    sensor = _STUCK[block.choice % len(_STUCK)][0]
    block.values[sensor][:] = quiet if block.busy else rush


_STUCK = (
    ("flow_out", (360.0, 720.0)),
    ("pump1_winding_temp", (33.0, 58.0)),
    ("pump2_speed", (1160.0, 1390.0)),
    ("discharge_pressure", (4.9, 6.0)),
)


def _sensor_spike(block: Block) -> None:
    sensor, height = _SPIKES[block.choice % len(_SPIKES)]
    block.add(sensor, height * (1 + 0.2 * np.abs(block.noise)))


_SPIKES = (
    ("network_pressure", 1.5),
    ("tank_level", 2.5),
    ("ph", 1.2),
    ("pump1_current", 45.0),
    ("supply_voltage", -60.0),
    ("water_temp", 6.0),
)


def _wrong_mode(block: Block) -> None:
    # The controller reports night at the rush and peak at rest, which flow and pumps contradict.
    rush = block.values["flow_out"] > 530
    block.indices["mode"][:] = np.where(rush, MODES.index("night"), MODES.index("peak"))


def _decoupled_current(block: Block) -> None:
    # Each value is one that the sensor shows every day, only not at this power.
    usual = 46.0 if block.busy else 76.0
    block.values[f"pump{block.pump}_current"][:] = usual + 2 * block.noise


def _dosing_failure(block: Block) -> None:
    block.scale("chlorine", 1 - 0.7 * block.size)
    block.add("ph", -0.25 * block.size)


# Name, effect, and how many records an episode may have.
_KINDS: tuple[tuple[str, Callable[[Block], None], tuple[int, int]], ...] = (
    ("bearing_wear", _bearing_wear, (10, 30)),
    ("cavitation", _cavitation, (8, 25)),
    ("leak", _leak, (10, 30)),
    ("half_closed_valve", _half_closed_valve, (8, 25)),
    ("stuck_sensor", _stuck_sensor, (8, 25)),
    ("sensor_spike", _sensor_spike, (5, 8)),
    ("wrong_mode", _wrong_mode, (5, 15)),
    ("decoupled_current", _decoupled_current, (8, 25)),
    ("dosing_failure", _dosing_failure, (10, 30)),
)
FAULTS: tuple[str, ...] = tuple(name for name, _, _ in _KINDS)
_MEAN_RECORDS = sum(low + high for _, _, (low, high) in _KINDS) / (2 * len(_KINDS))
_LONGEST = max(high for _, _, (_, high) in _KINDS)


@dataclass(frozen=True, slots=True)
class Episode:
    """One fault: records ``start`` up to and without ``stop``."""

    kind: int
    start: int
    stop: int
    seed: tuple[int, int, int]

    @property
    def name(self) -> str:
        """Name of the fault."""
        return FAULTS[self.kind]


@dataclass(frozen=True)
class Schedule:
    """When which fault happens: time is cut into slots of equal length with one episode each.

    Every kind comes once before any comes again. There are no episodes before record ``after``.
    """

    seed: int
    share: float
    after: int
    step_seconds: float

    @cached_property
    def _slot_records(self) -> int:
        return max(round(_MEAN_RECORDS / self.share), _LONGEST + 1)

    def between(self, start: int, stop: int) -> list[Episode]:
        """Return the episodes that touch records ``start`` up to and without ``stop``."""
        if self.share == 0 or stop <= self.after:
            return []
        first = max(start, self.after) // self._slot_records
        last = (stop - 1) // self._slot_records
        found = (self._episode(slot) for slot in range(first, last + 1))
        return [
            episode
            for episode in found
            if episode.start >= self.after and episode.start < stop and episode.stop > start
        ]

    def apply(self, first: int, values: Values, indices: Indices) -> dict[str, NDArray[np.bool_]]:
        """Change records from ``first`` on in place; return for each sensor where it was touched.

        The arrays are all of the same length, one value a record.
        """
        count = len(indices["mode"])
        touched = {sensor: np.zeros(count, dtype=bool) for sensor in values}
        for episode in self.between(first, first + count):
            low, high = max(episode.start, first), min(episode.stop, first + count)
            part = slice(low - first, high - first)
            before = {sensor: value[part].copy() for sensor, value in values.items()}
            self._strike(episode, slice(low, high), part, values, indices)
            for sensor, old in before.items():
                touched[sensor][part] |= values[sensor][part] != old
        return touched

    def _strike(
        self, episode: Episode, rows: slice, part: slice, values: Values, indices: Indices
    ) -> None:
        rng = np.random.default_rng(episode.seed)
        pump, choice = int(rng.integers(1, 3)), int(rng.integers(0, 60))
        length = episode.stop - episode.start
        inside = slice(rows.start - episode.start, rows.stop - episode.start)
        hour = hours(episode.start, 1, self.step_seconds)
        block = Block(
            values={sensor: value[part] for sensor, value in values.items()},
            indices={name: value[part] for name, value in indices.items()},
            size=np.linspace(0.7, 1, length)[inside],
            noise=rng.standard_normal(length)[inside],
            pump=pump,
            choice=choice,
            busy=bool(usual_demand(hour)[0] > 530),
        )
        _KINDS[episode.kind][1](block)

    def _episode(self, slot: int) -> Episode:
        turn, place = divmod(slot, len(_KINDS))
        kind = int(np.random.default_rng((self.seed, 1, turn)).permutation(len(_KINDS))[place])
        rng = np.random.default_rng((self.seed, 2, slot))
        low, high = _KINDS[kind][2]
        length = int(rng.integers(low, high + 1))
        start = slot * self._slot_records + int(rng.integers(0, self._slot_records - length))
        return Episode(kind, start, start + length, (self.seed, 3, slot))


def truth(episodes: list[Episode], start: int, stop: int) -> list[str | None]:
    """Return the name of the fault of each record, None for the healthy ones."""
    names: list[str | None] = [None] * (stop - start)
    starts = [episode.start for episode in episodes]
    for episode in episodes[: bisect.bisect_left(starts, stop)]:
        low, high = max(episode.start, start), min(episode.stop, stop)
        names[low - start : high - start] = [episode.name] * (high - low)
    return names
