"""Reads JSON lines and CSV from one file, block by block, from any position."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO, Final

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources.formats import DAMAGED, FileFormat, open_bytes
from vaeiso_monitor.sources.framing import LineFramer, Taken
from vaeiso_monitor.sources.positions import FilePosition
from vaeiso_monitor.sources.rows import RowParser, read_header
from vaeiso_monitor.types import Position, RawBatch, Reject, RejectReason, Span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BLOCK_BYTES: Final = 3 << 20  # a few thousand records: each batch has costs of its own
_HEAD_BYTES: Final = 1024
_MARK: Final = b"\xef\xbb\xbf"
SOURCE: Final = "file"


class LineReader:
    """One file of lines. ``names`` are the columns of a CSV file without a header."""

    def __init__(
        self,
        path: Path,
        stream: str,
        file_format: FileFormat,
        start: FilePosition,
        *,
        max_record_bytes: int,
        delimiter: str = ",",
        names: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self._stream = stream
        self._generation = start.generation
        self._max_record_bytes = max_record_bytes
        self._compression = file_format.compression
        self._file: BinaryIO = open_bytes(path, self._compression)
        self._raw = path.open("rb")
        self._inode = os.fstat(self._raw.fileno()).st_ino
        self._read_bytes = 0
        self._head = os.pread(self._raw.fileno(), _HEAD_BYTES, 0)
        self._csv = file_format.kind == "csv"
        self._delimiter = "\t" if file_format.tabs and delimiter == "," else delimiter
        self._rows = RowParser(names, self._delimiter) if self._csv and names else None
        self._framer = LineFramer(max_record_bytes)
        if start.position:
            self._go_to(start)

    def read(self, count: int) -> RawBatch | None:
        """Return up to ``count`` complete records, or None where the file has no more now."""
        while not self._framer.pending():
            block = self._next_block()
            if not block:
                return None
            self._framer.feed(block)
        if self._csv and self._rows is None and not self._read_names():
            return None
        return self._batch(self._framer.take(count)) if self._framer.pending() else self.read(count)

    def finish(self, count: int) -> RawBatch | None:
        """Return what is left when nothing more will be written, then None."""
        self._framer.end()
        if not self._framer.pending():
            return None
        if self._csv and self._rows is None and not self._read_names():
            return None
        return self._batch(self._framer.take(count)) if self._framer.pending() else None

    def position(self, *, done: bool = False) -> FilePosition:
        """Return where the next record begins."""
        head = self._update_head()
        return FilePosition(
            self._inode,
            self._generation,
            self._framer.records,
            self._framer.position,
            len(head),
            digest(head),
            done,
        )

    def replaced(self) -> bool:
        """Say whether what was read is no longer what the file begins with: it was truncated."""
        if self._compression:
            return False
        if os.fstat(self._raw.fileno()).st_size < self._read_bytes:
            return True
        return os.pread(self._raw.fileno(), len(self._head), 0) != self._head

    def waiting(self) -> bool:
        """Say whether there is something that was not read yet."""
        return self._framer.pending() or (
            not self._compression and os.fstat(self._raw.fileno()).st_size > self._read_bytes
        )

    def same_file(self, status: os.stat_result) -> bool:
        """Say whether ``status`` is of the file that is open here."""
        return os.path.samestat(status, os.fstat(self._raw.fileno()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _next_block(self) -> bytes:
        try:
            block = self._file.read(_BLOCK_BYTES)
        except DAMAGED as error:
            msg = f"{self.path} is damaged after {self._framer.records} records: {error}"
            raise ConfigError(msg) from error
        if not self._read_bytes and block:
            block = self._without_mark(block)
        self._read_bytes += len(block)
        return block

    def _without_mark(self, block: bytes) -> bytes:
        if not block.startswith(_MARK):
            return block
        self._framer.skip_mark()
        self._read_bytes += len(_MARK)
        return block[len(_MARK) :]

    def _read_names(self) -> bool:
        """Take the header line; it is no record."""
        taken = self._framer.take(1)
        if taken.long:
            msg = f"{self.path}: the header is longer than {self._max_record_bytes} bytes"
            raise ConfigError(msg)
        self._framer.records = 0
        names = read_header(taken.lines[0], self._delimiter, str(self.path))
        self._rows = RowParser(names, self._delimiter)
        return True

    def _go_to(self, start: FilePosition) -> None:
        if self._csv and self._rows is None:
            while not self._framer.pending():
                block = self._next_block()
                if not block:
                    return
                self._framer.feed(block)
            self._read_names()
            self._file.close()  # a decompressor cannot go back
            self._file = open_bytes(self.path, self._compression)
        self._file.seek(start.position)
        self._read_bytes = start.position
        self._framer = LineFramer(self._max_record_bytes, start.records, start.position)

    def _update_head(self) -> bytes:
        if len(self._head) < _HEAD_BYTES:
            head = os.pread(self._raw.fileno(), _HEAD_BYTES, 0)
            self._head = head if head.startswith(self._head) else self._head
        return self._head

    def _batch(self, taken: Taken) -> RawBatch:
        rejects = [
            self._reject(number, RejectReason.TOO_LARGE, self._size_detail(size), head)
            for number, head, size in taken.long
        ]
        if self._rows is None:
            return RawBatch(taken.lines, (self._span(taken.numbers),), rejects)
        return self._row_batch(self._rows, taken, rejects)

    def _row_batch(self, rows: RowParser, taken: Taken, rejects: list[Reject]) -> RawBatch:
        lines, numbers = [line.removesuffix(b"\r") for line in taken.lines], taken.numbers
        batch, kept, faults = rows.parse(lines)
        rejects += [
            self._reject(numbers[i], reason, detail, lines[i]) for i, reason, detail in faults
        ]
        if kept is not None:
            numbers, lines = [numbers[i] for i in kept], [lines[i] for i in kept]
        return RawBatch(batch, (self._span(numbers),), rejects, lines)

    def _span(self, numbers: Sequence[int]) -> Span:
        return Span(SOURCE, self._stream, self._generation, 0, numbers)

    def _size_detail(self, size: int) -> str:
        return f"{size} bytes, over max_record_bytes = {self._max_record_bytes}"

    def _reject(self, number: int, reason: RejectReason, detail: str, raw: bytes) -> Reject:
        where = Position(SOURCE, self._stream, self._generation, number)
        return Reject(reason, detail, where, raw)


def digest(head: bytes) -> str:
    """Return a short digest by which the beginning of a file is known again."""
    return blake2b(head, digest_size=12).hexdigest()
