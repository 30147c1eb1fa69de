"""Why a JSON document could not be read: the slow, exact look at what the fast decoder refused."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.records.texts import TYPE_NAMES, Fault, shown
from vaeiso_monitor.types import RejectReason

if TYPE_CHECKING:
    from vaeiso_monitor.records.schema import Column, Schema

_LONG_INTEGER_DIGITS = 400  # beyond every finite float
_EXPECTED = {
    "number": "a number",
    "boolean": "true or false",
    "category": "text, a number or a boolean",
}
_ALLOWED: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "boolean": (bool, int, float),
    "category": (str, bool, int, float),
}


def classify(raw: bytes, schema: Schema, error: Exception) -> Fault:
    """Say why ``raw`` was refused with ``error``; never raises, whatever the bytes."""
    if not raw.strip():
        return RejectReason.EMPTY, "the record has no content"
    if type(error) is msgspec.DecodeError and not (b"NaN" in raw or b"Infinity" in raw):
        return RejectReason.NOT_JSON, str(error)
    constants: list[str] = []
    try:
        document = _read(raw.decode(), constants)
    except UnicodeDecodeError as invalid:
        return RejectReason.INVALID_UTF8, f"byte {invalid.start} is not UTF-8: {invalid.reason}"
    except RecursionError:
        return RejectReason.NOT_JSON, "nested too deeply"
    except ValueError as invalid:
        return RejectReason.NOT_JSON, str(invalid)
    if not isinstance(document, dict):
        found = TYPE_NAMES.get(type(document), "a number")
        return RejectReason.NOT_AN_OBJECT, f"found {found}, expected an object"
    if fault := _column_fault(document, schema) or _document_fault(document):
        return fault
    if constants:
        return RejectReason.NOT_FINITE, f"{constants[0]} is neither JSON nor a finite number"
    return _as_refused(error)


def _read(text: str, constants: list[str]) -> Any:
    """Parse JSON and Python's NaN and Infinity, which are also noted in ``constants``."""

    def constant(name: str) -> float:
        constants.append(name)
        return float(name)

    return json.loads(text, parse_int=_integer, parse_constant=constant)


def _integer(digits: str) -> int | float:
    """Read an integer of any length; Python refuses to build one of more than 4,300 digits."""
    return int(digits) if len(digits) < _LONG_INTEGER_DIGITS else float(digits)


def _column_fault(document: dict[str, Any], schema: Schema) -> Fault | None:
    faults = (_value_fault(document.get(column.name), column) for column in schema.columns)
    return next((fault for fault in faults if fault is not None), None)


def _value_fault(value: object, column: Column) -> Fault | None:
    if value is None:
        return None
    misplaced = isinstance(value, bool) and column.kind == "number"
    if misplaced or not isinstance(value, _ALLOWED[column.kind]):
        found, expected = TYPE_NAMES.get(type(value), "a value"), _EXPECTED[column.kind]
        detail = f"column {column.name!r}: found {found} {shown(value)}, expected {expected}"
        return RejectReason.WRONG_TYPE, detail
    if not _finite(value):
        return RejectReason.NOT_FINITE, f"column {column.name!r}: the number is not finite"
    return None


def _document_fault(document: dict[str, Any]) -> Fault | None:
    for name, value in document.items():
        if not _finite(value):
            return RejectReason.NOT_FINITE, f"field {name!r}: the number is not finite"
    return None


def _finite(value: object) -> bool:
    try:
        return not isinstance(value, (int, float)) or math.isfinite(value)
    except OverflowError:
        return False


def _as_refused(error: Exception) -> Fault:
    """Fall back to the fast decoder's own words: a lone surrogate, say, which Python reads."""
    if not isinstance(error, msgspec.ValidationError):
        return RejectReason.NOT_JSON, str(error)
    beyond = "out of range" in str(error)
    return RejectReason.NOT_FINITE if beyond else RejectReason.WRONG_TYPE, str(error)
