"""From what a source read to records that fit the schema, and why each other one does not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.records.arrow import ArrowReader, row_values
from vaeiso_monitor.records.documents import DocumentReader
from vaeiso_monitor.records.table import Table, schema_checks
from vaeiso_monitor.types import RawBatch, Records, Reject

if TYPE_CHECKING:
    from vaeiso_monitor.records.schema import Schema


class Decoder:
    """Decodes batches against a schema: each row becomes a record or a reject; nothing raises."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._documents = DocumentReader(schema)
        self._arrow = ArrowReader(schema)
        self._checks = schema_checks(schema)

    def decode(self, batch: RawBatch) -> tuple[Records, list[Reject]]:
        """Return the records and the rejects of ``batch``, together its rows, each in order."""
        table = self._read(batch)
        if len(table.rows):
            for check in self._checks:
                check(table)
        good = table.without_faults()
        rejects = [
            Reject(reason, detail, batch.position(row), _raw(batch, row))
            for row, (reason, detail) in sorted(table.faults.items())
        ]
        return self._records(good), rejects

    def values(self, batch: RawBatch, row: int) -> dict[str, Any]:
        """Return ``row`` with all its fields, those outside the schema too, as plain values."""
        if not isinstance(batch.payload, Sequence):
            return row_values(batch.payload, row)
        document = _parsed(batch.payload[row] or b"{}")
        return document if isinstance(document, dict) else {}

    def _read(self, batch: RawBatch) -> Table:
        if isinstance(batch.payload, Sequence):
            return self._documents.read(batch.payload)
        return self._arrow.read(batch.payload, batch.lines)

    def _records(self, table: Table) -> Records:
        schema, labels = self.schema, table.labels
        return Records(
            numbers=table.numbers,
            categories=table.categories,
            rows=table.rows,
            keys=None if schema.key is None else labels[schema.key],
            times=None if schema.time is None else labels[schema.time],
            entities=None if schema.entity is None else labels[schema.entity],
        )


def _parsed(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return _leniently_parsed(raw)


def _leniently_parsed(raw: bytes) -> Any:
    """Read what only a field outside the schema makes unreadable: a number beyond all bounds."""
    try:
        text = raw.decode(errors="replace")
        return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=str)
    except (ValueError, RecursionError):
        return {}


def _number(text: str) -> float | str:
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if text.lstrip("-").isdigit() else number


def _raw(batch: RawBatch, row: int) -> bytes:
    raw = batch.raw(row)
    return msgspec.json.encode(row_values(batch.payload, row), enc_hook=str) if raw is None else raw
