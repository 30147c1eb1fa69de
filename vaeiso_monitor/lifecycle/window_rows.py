"""The records of the window as an Arrow table: the schema's columns, and what is known of each."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.records import Schema

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio: spreads neighbouring values
_SHIFT = np.uint64(29)
LET_IN = ""  # the origin of a record over the alert line that was taken for normal


class Layout:
    """Between records and the table they are kept in.

    Beside the columns of the schema (``number:flow``, ``category:mode``) a row has ``seen`` (Unix
    seconds), ``nats``, ``anomalous``, the ``share`` of its like that were kept when it was, and the
    ``origin``: the alert that a person called normal, an empty text for a record over the alert
    line that was let in, null for all others.
    """

    def __init__(self, schema: Schema) -> None:
        self._numbers = [f"number:{name}" for name in schema.numbers]
        self._categories = [f"category:{name}" for name in schema.categories]
        self.arrow = pa.schema(
            [
                *((name, pa.float64()) for name in self._numbers),
                *((name, pa.string()) for name in self._categories),
                ("seen", pa.float64()),
                ("nats", pa.float64()),
                ("share", pa.float64()),
                ("anomalous", pa.bool_()),
                ("origin", pa.string()),
            ]
        )

    @property
    def columns(self) -> str:
        """What the records must have to be of this layout: a digest of columns, kinds and order."""
        text = json.dumps([*self._numbers, *self._categories])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def table(self, records: Records, about: dict[str, Any]) -> pa.Table:
        """Return records as a table; ``about`` has seen, nats, share, anomalous and origin."""
        numbers = np.ascontiguousarray(records.numbers.T)  # [p, n]: one column each
        rest = [pa.array(about[field.name], field.type) for field in list(self.arrow)[-5:]]
        texts = [pa.array(list(column), pa.string()) for column in records.categories]
        return pa.table([*map(pa.array, numbers), *texts, *rest], schema=self.arrow)

    def records(self, table: pa.Table) -> Records:
        """Return the records of a table, without labels."""
        numbers = np.empty((table.num_rows, len(self._numbers)))
        for i, name in enumerate(self._numbers):
            numbers[:, i] = table.column(name).to_numpy()
        categories = [table.column(name).to_pylist() for name in self._categories]
        return Records(numbers, categories, np.arange(table.num_rows, dtype=np.int64))

    def empty(self) -> pa.Table:
        """Return a table without rows."""
        return self.arrow.empty_table()


def fingerprints(records: Records) -> NDArray[np.uint64]:
    """Return a number [n] for each record that tells its values from others: equal for equals."""
    numbers = np.where(np.isnan(records.numbers), np.nan, records.numbers + 0.0)  # one NaN, one 0
    state = np.full(len(records), _MIX, np.uint64)
    for column in np.ascontiguousarray(numbers.T).view(np.uint64):
        state = _mixed(state, column)
    for texts in records.categories:
        known: dict[str | None, int] = {text: _digest(text) for text in set(texts)}
        state = _mixed(state, np.fromiter(map(known.__getitem__, texts), np.uint64, len(texts)))
    return state


def _mixed(state: NDArray[np.uint64], column: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ column) * _MIX
    mixed: NDArray[np.uint64] = (state ^ (state >> _SHIFT)) * _MIX
    return mixed


def _digest(text: str | None) -> int:
    content = b"\x00" if text is None else b"\x01" + text.encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
