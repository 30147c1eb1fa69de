"""Reads Parquet and Arrow IPC files batch by batch, never a whole file at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources.lines import SOURCE
from vaeiso_monitor.sources.positions import FilePosition
from vaeiso_monitor.types import RawBatch, Span

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from vaeiso_monitor.sources.formats import FileFormat

_ROWS_AT_A_TIME = 8192
_BUFFER_BYTES = 1 << 20


class ColumnReader:
    """One file of columns; the records before the start are passed over."""

    def __init__(
        self, path: Path, stream: str, file_format: FileFormat, start: FilePosition
    ) -> None:
        self.path = path
        self._stream = stream
        self._generation = start.generation
        self._inode = path.stat().st_ino
        self._records = start.records
        self._file = pa.OSFile(str(path), "rb")
        batches = _parquet_batches if file_format.kind == "parquet" else _arrow_batches
        self._batches = batches(self._file, start.records)
        self._rest: pa.RecordBatch | None = None

    def read(self, count: int) -> RawBatch | None:
        """Return up to ``count`` rows, or None at the end; raise ConfigError for damage."""
        try:
            rows = self._rest if self._rest is not None else next(self._batches, None)
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.path} cannot be read after {self._records} records: {error}"
            raise ConfigError(msg) from error
        if rows is None:
            return None
        self._rest = rows.slice(count) if rows.num_rows > count else None
        rows = rows.slice(0, count)
        first, self._records = self._records, self._records + rows.num_rows
        numbers = range(first, self._records)
        return RawBatch(rows, (Span(SOURCE, self._stream, self._generation, 0, numbers),))

    def finish(self, count: int) -> RawBatch | None:
        """Return None: rows are never left over."""
        return self.read(count)

    def position(self, *, done: bool = False) -> FilePosition:
        """Return the number of the next row."""
        return FilePosition(self._inode, self._generation, self._records, done=done)

    def replaced(self) -> bool:
        """Return False: such files are complete when they are read."""
        return False

    def waiting(self) -> bool:
        """Say whether rows of the last batch are left."""
        return self._rest is not None

    def same_file(self, status: os.stat_result) -> bool:
        """Say whether ``status`` is of the file that is open here."""
        return status.st_ino == self._inode

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parquet_batches(file: pa.NativeFile, skip: int) -> Iterator[pa.RecordBatch]:
    reader = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    groups: list[int] = []
    for group in range(reader.metadata.num_row_groups):
        rows = reader.metadata.row_group(group).num_rows
        if skip >= rows and not groups:
            skip -= rows
        else:
            groups.append(group)
    if groups:
        yield from _after(skip, reader.iter_batches(_ROWS_AT_A_TIME, row_groups=groups))


def _arrow_batches(file: pa.NativeFile, skip: int) -> Iterator[pa.RecordBatch]:
    magic = file.read(6)
    file.seek(0)
    if magic != b"ARROW1":
        yield from _after(skip, iter(pa.ipc.open_stream(file)))
        return
    reader = pa.ipc.open_file(file)
    batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    yield from _after(skip, batches)


def _after(skip: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip)
        skip = max(0, skip - batch.num_rows)
