"""Cells read as text: what counts as missing, as a number, as a truth value, as a category."""

from __future__ import annotations

import math
import re

from vaeiso_monitor.types import RejectReason

TYPE_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
}

Fault = tuple[RejectReason, str]

MISSING_TEXTS = frozenset({"", "NA", "N/A", "<NA>", "null", "NULL"})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_TRUTHS = {
    **dict.fromkeys(("true", "t", "yes", "1"), 1.0),
    **dict.fromkeys(("false", "f", "no", "0"), 0.0),
}
_SHOWN_CHARACTERS = 60
_EXACT_INTEGERS_BELOW = 1e15


def parse_number(text: str) -> float | Fault:
    """Read a number; NaN where the text stands for a missing value, a fault where it is neither."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        number = float(stripped)
        return number if math.isfinite(number) else (RejectReason.NOT_FINITE, shown(stripped))
    if stripped in MISSING_TEXTS:
        return math.nan
    reason = RejectReason.WRONG_TYPE
    return (RejectReason.NOT_FINITE if _NOT_FINITE.fullmatch(stripped) else reason, shown(stripped))


def parse_truth(text: str) -> float | Fault:
    """Read a truth value as 1 or 0; NaN where it is missing, a fault where it is neither."""
    stripped = text.strip()
    if stripped in MISSING_TEXTS:
        return math.nan
    truth = _TRUTHS.get(stripped.lower())
    return (RejectReason.WRONG_TYPE, shown(stripped)) if truth is None else truth


def category_text(value: object) -> str:
    """Return the category that ``value`` names: 1 and 1.0 are both "1", true is "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_INTEGERS_BELOW:
        return str(int(value))
    return str(value)


def shown(value: object) -> str:
    """Return ``value`` as an error message shows it: quoted and short."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def too_large(raw: bytes, limit: int) -> Fault:
    """Return the fault of a record that is over the size bound."""
    return RejectReason.TOO_LARGE, f"{len(raw)} bytes, over max_record_bytes = {limit}"
