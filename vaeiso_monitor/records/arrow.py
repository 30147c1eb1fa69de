"""Rows of an Arrow record batch, column by column: typed columns, or binary text to be parsed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vaeiso_monitor.records.table import Table
from vaeiso_monitor.records.texts import (
    MISSING_TEXTS,
    Fault,
    category_text,
    parse_number,
    parse_truth,
    shown,
    too_large,
)
from vaeiso_monitor.types import RejectReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from vaeiso_monitor.records.schema import Column, Schema

_MISSING = pa.array([text.encode() for text in sorted(MISSING_TEXTS)], pa.binary())
_PLAIN_NUMBER = r"^[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?$"


class ArrowReader:
    """Reads an Arrow record batch into a table; a cell that does not fit faults only its row."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def read(self, payload: pa.RecordBatch, lines: Sequence[bytes] | None = None) -> Table:
        """Read every row of ``payload``; ``lines``, their texts, are held to the size bound."""
        schema, n = self._schema, len(payload)
        numbers = np.full((n, len(schema.numbers)), np.nan)
        table = Table(numbers, [], {}, np.arange(n, dtype=np.int64))
        self._check_sizes(table, lines)
        for j, column in enumerate(schema.number_columns):
            numbers[:, j] = _read_numbers(plain_column(payload, column.name), column, table)
        for column in schema.category_columns:
            table.categories.append(_read_texts(plain_column(payload, column.name), column, table))
        for name in schema.labels:
            values = python_values(plain_column(payload, name))
            table.labels[name] = [None if value != value else value for value in values]  # NaN
        return table

    def _check_sizes(self, table: Table, lines: Sequence[bytes] | None) -> None:
        limit = self._schema.max_record_bytes
        for row, line in enumerate(lines or ()):
            if len(line) > limit:
                table.fault(row, *too_large(line, limit))


def plain_column(payload: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column freed of its dictionary or other wrapping; nulls if there is none."""
    places = payload.schema.get_all_field_indices(name)
    if not places:
        return pa.nulls(len(payload))
    array = payload.column(places[-1])  # of several with one name the last, as in JSON
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.binary()) if _is_binary(array.type) else array


def python_values(array: pa.Array) -> list[Any]:
    """Return a column as Python values: text for binary, datetimes for timestamps, or None."""
    kind = array.type
    if pa.types.is_binary(kind):
        texts = ((cell or b"").decode(errors="backslashreplace") for cell in array.to_pylist())
        return [None if text.strip() in MISSING_TEXTS else text for text in texts]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # numpy hands out a plain count where a time is beyond the years of a datetime
        moments = array.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        return moments.tolist()  # type: ignore[no-any-return]
    try:
        return array.to_pylist()  # type: ignore[no-any-return]
    except (ValueError, OverflowError):
        return [_one_value(cell) for cell in array]


def row_values(payload: pa.RecordBatch, row: int) -> dict[str, Any]:
    """Return one row with all its fields as Python values."""
    one = payload.slice(row, 1)
    return {name: python_values(plain_column(one, name))[0] for name in payload.schema.names}


def _one_value(cell: pa.Scalar) -> Any:
    """Return a cell as a Python value; one that Python cannot hold as its bytes or its type."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        held = getattr(cell, "as_buffer", None)
        return held().to_pybytes().decode(errors="backslashreplace") if held else f"<{cell.type}>"
    except (ValueError, OverflowError):
        return f"<{cell.type}>"


def _read_numbers(array: pa.Array, column: Column, table: Table) -> NDArray[np.float64]:
    """Return float64 [n], NaN where a cell is missing or faulty."""
    kind = array.type
    if pa.types.is_binary(kind):
        parse = parse_number if column.kind == "number" else parse_truth
        return _parse_column(array, parse, column, table)
    truths = column.kind == "boolean" and pa.types.is_boolean(kind)
    if not (truths or _is_number(kind) or pa.types.is_null(kind)):
        _refuse_all(array, column, table)
        return np.full(len(array), np.nan)
    values = _to_floats(array)
    for row in np.flatnonzero(~np.isfinite(values) & array.is_valid().to_numpy(False)).tolist():
        table.fault(row, RejectReason.NOT_FINITE, _not_finite(column.name, float(values[row])))
        values[row] = np.nan
    return values


def _to_floats(array: pa.Array) -> NDArray[np.float64]:
    floats = pc.cast(array, pa.float64(), safe=False)
    return np.array(floats.fill_null(math.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def _parse_column(
    array: pa.Array, parse: Callable[[str], float | Fault], column: Column, table: Table
) -> NDArray[np.float64]:
    """Parse binary text: in one go what is plainly a number, cell by cell what is not."""
    present = pc.if_else(pc.is_in(array, value_set=_MISSING), None, array)
    plain = present
    if parse is not parse_number:
        plain = pc.if_else(False, present, None)
    try:
        values = _to_floats(plain)
    except pa.ArrowInvalid:
        plain = pc.if_else(pc.match_substring_regex(present, _PLAIN_NUMBER), present, None)
        values = _to_floats(plain)
    odd = present.is_valid().to_numpy(False) & ~np.isfinite(values)
    for row in np.flatnonzero(odd).tolist():
        values[row] = _parse_cell(present[row].as_py(), parse, column, table, row)
    return values


def _parse_cell(
    cell: bytes, parse: Callable[[str], float | Fault], column: Column, table: Table, row: int
) -> float:
    text = _decoded(cell, column, table, row)
    parsed = math.nan if text is None else parse(text)
    if isinstance(parsed, float):
        return parsed
    reason, found = parsed
    if reason is RejectReason.NOT_FINITE:
        table.fault(row, reason, _not_finite(column.name, found))
    else:
        expected = "a number" if column.kind == "number" else "true, false, 1 or 0"
        detail = f"column {column.name!r}: found text {found}, expected {expected}"
        table.fault(row, reason, detail)
    return math.nan


def _read_texts(array: pa.Array, column: Column, table: Table) -> list[str | None]:
    """Return n categories, None where a cell is missing or faulty."""
    kind = array.type
    if _is_text(kind):
        try:
            return array.to_pylist()  # type: ignore[no-any-return]
        except UnicodeDecodeError:  # Arrow does not look into the texts it reads
            cells = enumerate(array.cast(pa.binary()).to_pylist())
            return [cell if cell is None else _decoded(cell, column, table, i) for i, cell in cells]
    if pa.types.is_binary(kind):
        return _binary_texts(array, column, table)
    if pa.types.is_floating(kind):
        return _float_texts(array, column, table)
    if _is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return [None if cell is None else category_text(cell) for cell in array.to_pylist()]
    if pa.types.is_temporal(kind):
        return array.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    _refuse_all(array, column, table)
    return [None] * len(array)


def _binary_texts(array: pa.Array, column: Column, table: Table) -> list[str | None]:
    """Decode CSV text; a declared value is never taken for a missing one (NA may be Namibia)."""
    try:
        texts: Iterable[str | None] = array.cast(pa.string()).to_pylist()
    except pa.ArrowInvalid:
        cells = enumerate(array.to_pylist())
        texts = [_decoded(cell or b"", column, table, row) for row, cell in cells]
    missing = MISSING_TEXTS.difference(column.values)
    return [None if text in missing else text for text in texts]


def _float_texts(array: pa.Array, column: Column, table: Table) -> list[str | None]:
    texts: list[str | None] = []
    for row, cell in enumerate(array.to_pylist()):
        finite = cell is not None and math.isfinite(cell)
        if cell is not None and not finite:
            table.fault(row, RejectReason.NOT_FINITE, _not_finite(column.name, cell))
        texts.append(category_text(cell) if finite else None)
    return texts


def _decoded(cell: bytes, column: Column, table: Table, row: int) -> str | None:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        detail = f"column {column.name!r}: byte {error.start} is not UTF-8: {error.reason}"
        table.fault(row, RejectReason.INVALID_UTF8, detail)
        return None


def _refuse_all(array: pa.Array, column: Column, table: Table) -> None:
    for row in np.flatnonzero(array.is_valid().to_numpy(False)).tolist():
        detail = f"column {column.name!r}: found {array.type}, expected a {column.kind}"
        table.fault(row, RejectReason.WRONG_TYPE, detail)


def _not_finite(name: str, found: object) -> str:
    return f"column {name!r}: {found if isinstance(found, str) else shown(found)} is not finite"


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
