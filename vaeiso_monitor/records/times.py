"""Times as sources write them, read as aware UTC datetimes."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_COMPACT_DATE_DIGITS = 8
# Seconds since the epoch stay below 1e11 until the year 5138; each finer unit is 1000 times larger.
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 1e11, 1e14, 1e17


def parse_time(value: object) -> datetime | None:
    """Read a time as an aware UTC datetime, or None where it is not one.

    ISO 8601 texts, datetimes and dates (UTC where they name no zone), and epoch seconds, milli-,
    micro- or nanoseconds, told apart by magnitude.
    """
    try:
        return _parse(value)
    except (ValueError, OverflowError):
        return None


def _parse(value: object) -> datetime | None:
    match value:
        case bool() | None:
            return None
        case datetime():
            return _in_utc(value)
        case date():
            return datetime.combine(value, time(), tzinfo=UTC)
        case int() | float():
            return from_epoch(value)
        case bytes():
            return _from_text(value.decode())
        case str():
            return _from_text(value)
        case _:
            return None


def _from_text(text: str) -> datetime | None:
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped) and len(stripped) != _COMPACT_DATE_DIGITS:
        number = float(stripped) if "." in stripped else int(stripped[:32])
        return from_epoch(number)
    return _in_utc(datetime.fromisoformat(stripped.removesuffix("UTC").rstrip()))


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def from_epoch(number: float) -> datetime | None:
    """Read a count since 1970 whose unit is told by its magnitude; None where it is no time."""
    if not math.isfinite(number):
        return None
    size = abs(number)
    if size < _SECONDS_BELOW:
        return _EPOCH + timedelta(seconds=number)
    if size < _MILLISECONDS_BELOW:
        return _EPOCH + timedelta(milliseconds=number)
    return _EPOCH + timedelta(microseconds=number if size < _MICROSECONDS_BELOW else number / 1000)
