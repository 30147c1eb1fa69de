"""JSON documents, read with a struct generated from the schema: only what is scored or named."""

from __future__ import annotations

import math
import struct
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from vaeiso_monitor.records.classify import classify
from vaeiso_monitor.records.table import Table
from vaeiso_monitor.records.texts import Fault, category_text, too_large
from vaeiso_monitor.types import RejectReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vaeiso_monitor.records.schema import Schema

# Documents alive at once: their floats stay in the processor's cache, which halves the time
_CACHED_DOCUMENTS = 256
_TEXTS_ONLY = frozenset({str, type(None)})
_FIELD_TYPES: dict[str, Any] = {
    "number": float | None,
    "boolean": bool | float | None,
    "category": str | int | float | bool | None,
}


class DocumentReader:
    """Reads a batch of JSON documents into a table; a document it cannot read becomes a fault.

    One call of the decoder for each document: reading the batch as one array was measured slower,
    and would have to prove that no damaged document swallows its neighbour.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        fields = _field_names(schema)
        p = self._width = len(schema.numbers)
        self._getters = {name: attrgetter(f"f{i}") for i, name in enumerate(fields) if i >= p}
        self._decode = msgspec.json.Decoder(_row_type(schema)).decode
        self._pack = struct.Struct(f"{p}d").pack

    def read(self, payload: Sequence[bytes | None]) -> Table:
        """Read every document of ``payload``; never raises, whatever the bytes."""
        faults: dict[int, Fault] = {}
        others: dict[str, list[Any]] = {name: [] for name in self._getters}
        parts = [np.empty((0, self._width))]
        for start in range(0, len(payload), _CACHED_DOCUMENTS):
            documents = self._decoded(payload[start : start + _CACHED_DOCUMENTS], start, faults)
            parts.append(self._matrix(documents))
            for name, get in self._getters.items():
                others[name].extend(map(get, documents))
        rows = np.arange(len(payload), dtype=np.int64)
        if faults:
            rows = np.delete(rows, list(faults))
        categories = [_texts(others[name]) for name in self._schema.categories]
        labels = {name: others[name] for name in self._schema.labels}
        return Table(np.concatenate(parts), categories, labels, rows, faults)

    def _decoded(
        self, payload: Sequence[bytes | None], start: int, faults: dict[int, Fault]
    ) -> list[Any]:
        decode, limit = self._decode, self._schema.max_record_bytes
        documents: list[Any] = []
        for row, raw in enumerate(payload, start):
            if raw is None:
                faults[row] = (RejectReason.EMPTY, "the record has no content")
                continue
            if len(raw) > limit:
                faults[row] = too_large(raw, limit)
                continue
            try:
                if not raw.isascii():
                    raw.decode()  # the struct skips other fields, but all of them must be UTF-8
                documents.append(decode(raw))
            except (ValueError, RecursionError) as error:
                faults[row] = classify(raw, self._schema, error)
        return documents

    def _matrix(self, documents: Sequence[Any]) -> NDArray[np.float64]:
        """Return the numbers, the leading p fields, as float64 [n, p], NaN for None."""
        p, pack = self._width, self._pack
        try:  # twice as fast as an iterator, but it cannot read the None of an explicit null
            packed = b"".join([pack(*astuple(document)[:p]) for document in documents])
        except struct.error:
            flat = chain.from_iterable(astuple(document)[:p] for document in documents)
            return np.fromiter(flat, np.float64, count=p * len(documents)).reshape(-1, p)
        return np.frombuffer(packed, np.float64).reshape(len(documents), p)


def _field_names(schema: Schema) -> tuple[str, ...]:
    """Return the fields to read: the numbers first, then the categories, then what is left."""
    return tuple(dict.fromkeys((*schema.numbers, *schema.categories, *schema.labels)))


def _row_type(schema: Schema) -> type[msgspec.Struct]:
    types = {column.name: _FIELD_TYPES[column.kind] for column in schema.columns}
    numbers = frozenset(schema.numbers)
    names = _field_names(schema)
    fields = [
        (f"f{i}", types.get(name, Any), math.nan if name in numbers else None)
        for i, name in enumerate(names)
    ]
    rename = {f"f{i}": name for i, name in enumerate(names)}
    return msgspec.defstruct("Row", fields, rename=rename, gc=False)


def _texts(column: Sequence[Any]) -> list[str | None]:
    if _TEXTS_ONLY.issuperset(map(type, column)):
        return list(column)
    return [None if value is None else category_text(value) for value in column]
