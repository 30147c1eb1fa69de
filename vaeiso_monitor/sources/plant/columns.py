"""What the sensors of the station are called, what they measure and how finely they do."""

from __future__ import annotations

from dataclasses import dataclass

PUMPS = (1, 2, 3)
MODES = ("night", "day", "peak")
FILTERS = ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Sensor:
    """One numeric column: its unit, the decimals it shows, and what the device can show at all."""

    name: str
    unit: str
    decimals: int
    minimum: float
    maximum: float


def _pump_sensors(pump: int) -> tuple[Sensor, ...]:
    return (
        Sensor(f"pump{pump}_speed", "rpm", 0, 0, 3000),
        Sensor(f"pump{pump}_power", "kW", 2, -5, 250),
        Sensor(f"pump{pump}_current", "A", 1, -5, 500),
        Sensor(f"pump{pump}_vibration", "mm/s", 3, 0, 50),
        Sensor(f"pump{pump}_bearing_temp", "degC", 1, -40, 200),
        Sensor(f"pump{pump}_winding_temp", "degC", 1, -40, 250),
    )


SENSORS: tuple[Sensor, ...] = (
    Sensor("flow_in", "m3/h", 1, 0, 3000),
    Sensor("flow_out", "m3/h", 1, 0, 3000),
    Sensor("tank_level", "m", 3, 0, 10),
    Sensor("suction_pressure", "bar", 3, -1, 16),
    Sensor("discharge_pressure", "bar", 3, -1, 16),
    Sensor("network_pressure", "bar", 3, -1, 16),
    Sensor("valve_position", "%", 1, -5, 105),
    *(sensor for pump in PUMPS for sensor in _pump_sensors(pump)),
    Sensor("supply_voltage", "V", 1, 0, 1000),
    Sensor("ambient_temp", "degC", 1, -60, 80),
    Sensor("water_temp", "degC", 2, -5, 60),
    Sensor("turbidity", "NTU", 3, 0, 100),
    Sensor("chlorine", "mg/l", 3, 0, 10),
    Sensor("ph", "", 2, 0, 14),
)
# One cabinet by the main measures these and reports by radio: they are missing together.
CABINET = ("turbidity", "chlorine", "ph")


def _schema() -> str:
    parts = [
        '[schema]\nkey = "id"\ntime = "time"\nentity = "station"\n',
        _category("mode", MODES),
        _category("filter_line", FILTERS),
        '[[schema.columns]]\nname = "tank_filling"\nkind = "boolean"\n',
        *map(_number, SENSORS),
    ]
    return "\n".join(parts)


def _category(name: str, values: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{value}"' for value in values)
    return f'[[schema.columns]]\nname = "{name}"\nkind = "category"\nvalues = [{listed}]\n'


def _number(sensor: Sensor) -> str:
    unit = f'unit = "{sensor.unit}"\n' if sensor.unit else ""
    return (
        f'[[schema.columns]]\nname = "{sensor.name}"\n{unit}'
        f"minimum = {sensor.minimum}\nmaximum = {sensor.maximum}\n"
    )


# The section [schema] of a configuration that reads this station.
PLANT_SCHEMA = _schema()
