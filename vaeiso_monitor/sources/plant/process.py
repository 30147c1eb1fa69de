"""How the healthy station behaves, hour by hour: the water, the pumps, the air.

A town's demand follows the clock and wanders around it. Two pumps carry it, a third idles and comes
in as demand grows; pressure is held to a setpoint that rises with flow, so speed follows from head
and flow by the affinity laws, power from both, current from power and voltage, and the temperatures
follow power and speed with a lag. The operating mode follows the demand.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy

from vaeiso_monitor.sources.plant.columns import FILTERS, PUMPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = dict[str, NDArray[np.float64]]

# Filters carry their state from chunk to chunk, so a record is the same however it is asked for.
CHUNK = 1024
# The tank and the temperatures need most of a day until nothing of their start is left.
_SETTLING_CHUNKS = 3

_EFFICIENCY = {1: 0.79, 2: 0.77, 3: 0.80}
_VIBRATION = {1: 1.6, 2: 1.9, 3: 1.4}
_METRES_PER_BAR = 10.2


class _Lag:
    """First-order lag of ``records`` time steps; it starts at 0, or in balance."""

    def __init__(self, records: float, last: float | None = None) -> None:
        self._keep = math.exp(-1 / records)
        self._last = last

    def __call__(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        last = float(target[0]) if self._last is None else self._last
        keep = self._keep
        lagged, _ = scipy.signal.lfilter([1 - keep], [1, -keep], target, zi=[keep * last])
        self._last = float(lagged[-1])
        return np.asarray(lagged, dtype=np.float64)

    @property
    def gain(self) -> float:
        """What makes lagged white noise of variance 1 vary by 1 again."""
        return math.sqrt((1 + self._keep) / (1 - self._keep))


def hours(first: int, count: int, step_seconds: float) -> NDArray[np.float64]:
    """Return the hour of the day (0 to 24) of ``count`` records from ``first`` on."""
    offsets = np.arange(first, first + count, dtype=np.float64)
    return np.asarray(offsets * (step_seconds / 3600) % 24)


def usual_demand(hour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the town's usual demand in m3/h at an hour of the day: two peaks, a quiet night."""
    awake = 0.5 * (np.tanh(hour - 6) - np.tanh(hour - 22.5))
    morning = np.exp(-(((hour - 7.75) / 1.3) ** 2))
    evening = np.exp(-(((hour - 19) / 1.6) ** 2))
    return np.asarray(360 + 190 * awake + 230 * morning + 200 * evening)


def _modes(demand: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index in MODES of the operating mode at a demand in m3/h."""
    return np.asarray(np.searchsorted([430.0, 630.0], demand), dtype=np.int64)


class Process:
    """The healthy station, one chunk of 1,024 records after the other, from the first on."""

    def __init__(self, seed: int, step_seconds: float, drift: float) -> None:
        self._seed = seed
        self._step = step_seconds
        self._drift = drift
        self._lags: dict[str, _Lag] = {}
        self._chunk = -_SETTLING_CHUNKS
        while self._chunk < 0:
            self.next_chunk()

    def next_chunk(self) -> tuple[Values, dict[str, NDArray[np.int64]]]:
        """Return the numbers of the next chunk by sensor, and its categories by index."""
        key = [self._seed, self._chunk + _SETTLING_CHUNKS]
        self._rng = np.random.Generator(np.random.Philox(key=key))
        first = self._chunk * CHUNK
        self._chunk += 1
        offsets = np.arange(first, first + CHUNK, dtype=np.float64)
        hour = hours(first, CHUNK, self._step)
        # Each filter line works for 50 minutes, so in some days every line meets every hour.
        line = np.asarray(offsets * self._step // 3000 % len(FILTERS), dtype=np.int64)
        days = offsets * (self._step / 86400) * self._drift
        values: Values = {}
        self._weather(values, hour, days)
        out = self._water(values, hour)
        for pump in PUMPS:
            self._pump(values, pump, out, days)
        self._quality(values, line)
        return values, {
            "mode": _modes(out),
            "filter_line": line,
            "tank_filling": (values["flow_in"] > values["flow_out"]).astype(np.int64),
        }

    def _weather(
        self, values: Values, hour: NDArray[np.float64], days: NDArray[np.float64]
    ) -> None:
        daily = 5 * np.cos((hour - 15) * (math.pi / 12))
        air = 13 + daily + 0.8 * self._wander("air", 2400)
        values["ambient_temp"] = air + self._noise(0.12)
        values["water_temp"] = 11 + 0.15 * self._lag("soil", 3600, air - 13) + 0.003 * days
        values["water_temp"] += self._noise(0.08)

    def _water(self, values: Values, hour: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fill in flows and pressures; return the demand [n] in m3/h."""
        wandering = 1 + 0.04 * self._wander("town", 1500) + 0.015 * self._wander("street", 240)
        out = usual_demand(hour) * wandering
        level = 3.2 + 0.006 * self._lag("tank", 3600, 560 - out)
        load = (out / 800) ** 2
        setpoint = 4.7 + 0.0015 * (out - 350)
        values["flow_out"] = out + self._noise(3)
        values["flow_in"] = 560 + 45 * (3.2 - level) + self._noise(4)
        values["tank_level"] = level + self._noise(0.008)
        values["suction_pressure"] = 0.35 + 0.098 * level - 0.12 * load + self._noise(0.006)
        values["discharge_pressure"] = setpoint + 0.9 * load + self._noise(0.015)
        values["network_pressure"] = setpoint - 0.25 * load + self._noise(0.02)
        values["valve_position"] = 55 + 30 * np.sqrt(load) + self._noise(0.4)
        values["supply_voltage"] = 402 - 0.006 * out + 1.2 * self._wander("grid", 900)
        values["supply_voltage"] += self._noise(0.3)
        return out

    def _pump(
        self,
        values: Values,
        pump: int,
        demand: NDArray[np.float64],
        days: NDArray[np.float64],
    ) -> None:
        joined = 1 / (1 + np.exp((600 - demand) / 50))
        running = 0.4 + 0.6 * joined if pump == 3 else np.ones(CHUNK)
        usual = joined / 3 if pump == 3 else (1 - joined / 3) / 2
        flow = demand * usual * (1 + 0.015 * self._wander(f"share{pump}", 1200))
        pressure = values["discharge_pressure"] - values["suction_pressure"]
        head = pressure * _METRES_PER_BAR
        speed = 1480 * np.sqrt((head + 1.67e-4 * flow**2) / 75) * running
        power = 2 * running + flow * head * 9.81 / 3600 / _EFFICIENCY[pump]
        current = 1000 * power / (math.sqrt(3) * values["supply_voltage"] * 0.86)
        shaking = _VIBRATION[pump] * (0.4 + 0.6 * (speed / 1400) ** 2) * (1 + 0.001 * days)
        wear = 0.01 * days
        air = values["ambient_temp"]
        heat = self._lag(f"heat{pump}", 600, 0.75 * power)
        rubbing = self._lag(f"rubbing{pump}", 420, 18 * (speed / 1400) ** 1.5)
        values[f"pump{pump}_speed"] = speed + self._noise(2)
        values[f"pump{pump}_power"] = power + self._noise(0.25)
        values[f"pump{pump}_current"] = current + self._noise(0.5)
        values[f"pump{pump}_vibration"] = shaking * np.exp(self._noise(0.06))
        values[f"pump{pump}_bearing_temp"] = air + 4 + rubbing + wear + self._noise(0.25)
        values[f"pump{pump}_winding_temp"] = air + 6 + heat + self._noise(0.3)

    def _quality(self, values: Values, line: NDArray[np.int64]) -> None:
        murk = self._lag("murk", 300, np.array([0.19, 0.27, 0.23])[line])
        turbidity = murk * np.exp(0.12 * self._wander("murk", 1200))
        dose = 0.02 * self._wander("dose", 900)
        values["turbidity"] = turbidity * np.exp(self._noise(0.03))
        warmth = values["water_temp"] - 11
        values["chlorine"] = 0.5 - 0.2 * turbidity - 0.03 * warmth + dose + self._noise(0.006)
        values["ph"] = 7.5 + 0.6 * dose + 0.3 * murk + self._noise(0.012)

    def _noise(self, size: float) -> NDArray[np.float64]:
        return size * self._rng.standard_normal(CHUNK)

    def _wander(self, name: str, seconds: float) -> NDArray[np.float64]:
        """Return a slow random walk around 0 that varies by about 1 over ``seconds``."""
        walk = self._lag(f"wander {name}", seconds, self._rng.standard_normal(CHUNK))
        return walk * self._lags[f"wander {name}"].gain

    def _lag(self, name: str, seconds: float, target: NDArray[np.float64]) -> NDArray[np.float64]:
        lag = self._lags.setdefault(name, _Lag(max(seconds / self._step, 0.1)))
        return lag(target)
