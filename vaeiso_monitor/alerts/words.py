"""How instants, values and rarities are written: for programs in ISO 8601, for people in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeiso_monitor.types import Position

SCHEMA_VERSION = 1


def iso(instant: datetime) -> str:
    """Return an instant in UTC with milliseconds and a Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(seconds: float) -> str:
    """Return Unix seconds as :func:`iso` does."""
    return iso(datetime.fromtimestamp(seconds, UTC))


def place(position: Position) -> dict[str, Any]:
    """Return where a record was read, as messages say it."""
    return {
        "type": position.source,
        "stream": position.stream,
        "partition": position.partition,
        "offset": position.offset,
    }


def named(entity: dict[str, Any] | None) -> str:
    """Return an entity for a person; empty where there is none."""
    return " ".join(str(value) for value in (entity or {}).values() if value is not None)


def rarity(tail_probability: float) -> str:
    """Say how often a normal record scores that high."""
    if tail_probability < 1e-9:
        return "unheard of among normal records"
    return f"1 in {round(1 / tail_probability):,} normal records"


def shown(value: Any) -> str:
    """Return one value for a person."""
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_id(alert_id: str) -> str:
    """Return as much of an id as `explain` and `feedback` need to find the alert."""
    return alert_id[:12]


def lasting(seconds: float) -> str:
    """Return a duration for a person, in the two largest units."""
    whole = max(round(seconds), 0)
    steps = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    for size, unit, below, smaller in steps:
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def counted(number: int, one: str) -> str:
    """Return a number and its noun, in the plural where there are several or none."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
