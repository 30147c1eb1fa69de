"""What a sample of records shows of each field, before anything is decided about it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pyarrow as pa

from vaeiso_monitor.records.arrow import plain_column, python_values
from vaeiso_monitor.records.texts import category_text, parse_number, parse_truth
from vaeiso_monitor.records.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FieldShape = Literal["empty", "number", "boolean", "text", "time", "nested"]

_SHOWN_VALUES = 8
_EARLIEST_YEAR, _LATEST_YEAR = 1990, 2100
_ISO_DATE = re.compile(r"\s*\d{4}-?\d{2}-?\d{2}([T ].*)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the sample: how often it was there, and what it held.

    ``shape`` is that of most of its values, ``strays`` counts the others; ``distinct`` counts
    different values; ``common`` are the most frequent ones as texts.
    """

    name: str
    records: int
    missing: int
    shape: FieldShape
    strays: int
    distinct: int
    common: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    whole: bool
    dated: bool

    @property
    def constant(self) -> bool:
        """Whether every record holds the same value."""
        return self.distinct == 1 and self.missing == 0

    @property
    def unique(self) -> bool:
        """Whether no two records hold the same value and none lacks it."""
        return self.missing == 0 and self.distinct == self.records > 1


def observe_documents(documents: Iterable[bytes | None]) -> tuple[list[Field], int, int]:
    """Return the fields of a sample of JSON objects, and how many were read and not."""
    columns: dict[str, list[Any]] = {}
    read = unreadable = 0
    for raw in documents:
        document = _object(raw)
        if document is None:
            unreadable += 1
            continue
        for name, value in document.items():
            columns.setdefault(name, []).append(value)
        read += 1
    fields = [_observe(name, values, read) for name, values in columns.items()]
    return fields, read, unreadable


def _object(raw: bytes | None) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(raw or b"")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def observe_table(table: pa.Table | pa.RecordBatch) -> list[Field]:
    """Return the fields of an Arrow sample; binary columns are texts to be parsed."""
    batches = table.to_batches() if isinstance(table, pa.Table) else [table]
    fields = []
    for name in dict.fromkeys(table.schema.names):
        arrays = [plain_column(batch, name) for batch in batches]
        values = [value for array in arrays for value in python_values(array)]
        if arrays and pa.types.is_binary(arrays[0].type):
            values = _parsed(values)
        fields.append(_observe(name, values, len(table)))
    return fields


def _parsed(texts: list[str | None]) -> list[Any]:
    """Return CSV texts as numbers or booleans where all of them are, else as they are."""
    present = [text for text in texts if text is not None]
    parsers: tuple[Callable[[str], Any], ...] = (parse_number, parse_truth)
    for parse, convert in zip(parsers, (float, bool), strict=True):
        if all(isinstance(parse(text), float) for text in present):
            return [None if text is None else convert(parse(text)) for text in texts]
    return list(texts)


def _observe(name: str, values: list[Any], records: int) -> Field:
    present = [value for value in values if value is not None and value == value]
    shapes = Counter(map(_shape, present))
    shape: FieldShape = shapes.most_common(1)[0][0] if shapes else "empty"
    usual = [value for value in present if _shape(value) == shape]
    plain = shape in ("number", "boolean", "text")
    counts = Counter(category_text(value) if plain else str(value) for value in usual)
    numbers = usual if shape == "number" else []
    return Field(
        name=name,
        records=records,
        missing=records - len(present),
        shape=shape,
        strays=len(present) - len(usual),
        distinct=len(counts),
        common=tuple(text for text, _ in counts.most_common(_SHOWN_VALUES)),
        minimum=min(numbers, default=None),
        maximum=max(numbers, default=None),
        whole=all(float(number).is_integer() for number in numbers),
        dated=shape == "time" or (bool(usual) and all(map(_is_date, usual))),
    )


def _shape(value: object) -> FieldShape:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, date) else "nested"


def _is_date(value: object) -> bool:
    if isinstance(value, str) and not _ISO_DATE.fullmatch(value):
        return False
    moment = parse_time(value)
    return moment is not None and _EARLIEST_YEAR <= moment.year <= _LATEST_YEAR
