"""Lines of CSV to an Arrow record batch of binary columns; a bad line rejects only itself."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv as arrow_csv

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.types import RejectReason

if TYPE_CHECKING:
    from collections.abc import Sequence

Fault = tuple[int, RejectReason, str]
"""Index of a line, and why it is no row."""


def read_header(line: bytes, delimiter: str, path: str) -> tuple[str, ...]:
    """Return the column names in the first line; raise ConfigError where they cannot be used."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
        names = tuple(name.strip() for name in next(csv.reader([text], delimiter=delimiter)))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        msg = f"{path}: the first line is no CSV header: {error}"
        raise ConfigError(msg) from error
    if not names or "" in names or len(set(names)) < len(names):
        msg = f"{path}: the first line must name each column once: {', '.join(names)}"
        raise ConfigError(msg)
    return names


class RowParser:
    """Parses lines that each hold one row; a line break inside quotes is not supported.

    All values stay text (binary), so that a bad value rejects its record and not the file.
    """

    def __init__(self, names: Sequence[str], delimiter: str) -> None:
        self.names = tuple(names)
        self._delimiter = delimiter
        self._separator = delimiter.encode()
        self._read = arrow_csv.ReadOptions(column_names=self.names, use_threads=False)
        self._parse = arrow_csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False)
        self._convert = arrow_csv.ConvertOptions(
            check_utf8=False,
            column_types={name: pa.binary() for name in self.names},
            strings_can_be_null=False,
        )

    def parse(self, lines: list[bytes]) -> tuple[pa.RecordBatch, list[int] | None, list[Fault]]:
        """Return the rows, the indices of their lines (None: all of them) and the faults."""
        faults = self._wrong_count(lines)
        bad = {fault[0] for fault in faults}
        kept = [line for i, line in enumerate(lines) if i not in bad] if bad else lines
        batch = self._batch(kept)
        if batch is None:
            # Some quote is out of place and joined or broke rows: look at each line.
            faults = self._check_each(lines)
            bad = {fault[0] for fault in faults}
            batch = self._batch([line for i, line in enumerate(lines) if i not in bad])
        if batch is None:
            batch, faults = self._one_by_one(lines)
            bad = {fault[0] for fault in faults}
        indices = [i for i in range(len(lines)) if i not in bad] if bad else None
        return batch, indices, faults

    def _batch(self, lines: Sequence[bytes]) -> pa.RecordBatch | None:
        """Return one row a line, or None where pyarrow does not see it so."""
        if not lines:
            return self._empty()
        text = b"\n".join(lines) + b"\n"
        self._read.block_size = len(text) + 1
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(text), self._read, self._parse, self._convert
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != len(lines):
            return None
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else None

    def _wrong_count(self, lines: list[bytes]) -> list[Fault]:
        """Find lines without quotes that have too few or too many values, and empty lines."""
        expected, separator = len(self.names) - 1, self._separator
        counts = [line.count(separator) for line in lines]
        if counts.count(expected) == len(counts) and expected:
            return []
        return [
            (i, *self._count_fault(line, counts[i] + 1))
            for i, line in enumerate(lines)
            if not line or (counts[i] != expected and b'"' not in line)
        ]

    def _count_fault(self, line: bytes, found: int) -> tuple[RejectReason, str]:
        if not line:
            return RejectReason.EMPTY, "an empty line"
        return RejectReason.MALFORMED_ROW, f"{found} values instead of {len(self.names)}"

    def _check_each(self, lines: list[bytes]) -> list[Fault]:
        checked = ((i, self._fault(line)) for i, line in enumerate(lines))
        return [(i, *fault) for i, fault in checked if fault is not None]

    def _fault(self, line: bytes) -> tuple[RejectReason, str] | None:
        text = line.decode("latin-1")  # one character a byte: only the structure is looked at
        try:
            rows = list(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return RejectReason.MALFORMED_ROW, str(error)
        found = len(rows[0]) if rows else 0
        if len(rows) == 1 and found == len(self.names):
            return None
        return self._count_fault(line, found)

    def _one_by_one(self, lines: list[bytes]) -> tuple[pa.RecordBatch, list[Fault]]:
        batches, faults = [], []
        for i, line in enumerate(lines):
            batch = self._batch([line]) if line else None
            if batch is None:
                faults.append((i, RejectReason.MALFORMED_ROW, "the row cannot be read"))
            else:
                batches.append(batch)
        table = pa.Table.from_batches([self._empty(), *batches])
        return table.combine_chunks().to_batches()[0] if batches else self._empty(), faults

    def _empty(self) -> pa.RecordBatch:
        return pa.record_batch([pa.array([], pa.binary())] * len(self.names), self.names)
