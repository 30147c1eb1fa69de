"""Cuts blocks of bytes into lines, in bounded memory however long a line is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_BYTES: Final = 65_536
"""How much of a line that is too long is kept for its dead letter."""


@dataclass(slots=True)
class _Run:
    """Consecutive lines that fit, from ``start`` on; the last may lack its line break."""

    lines: list[bytes]
    start: int = 0
    ended: bool = True


@dataclass(frozen=True, slots=True)
class _Long:
    """One line over the limit: its beginning and its size with the line break."""

    head: bytes
    size: int
    consumed: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Lines in order with their record numbers; ``long`` are (number, beginning, size)."""

    lines: list[bytes]
    numbers: Sequence[int]
    long: Sequence[tuple[int, bytes, int]]


class LineFramer:
    """Takes blocks in and gives complete lines out; counts records and bytes of what it gave."""

    def __init__(self, max_line_bytes: int, records: int = 0, position: int = 0) -> None:
        self.records = records
        self.position = position
        self._limit = max_line_bytes
        self._ready: deque[_Run | _Long] = deque()
        self._tail = b""
        self._long_head: bytes | None = None
        self._long_size = 0

    def pending(self) -> bool:
        """Say whether complete lines wait to be taken."""
        return bool(self._ready)

    def feed(self, block: bytes) -> None:
        """Take a block in."""
        if self._long_head is not None:
            block = self._skip(block)
        lines = (self._tail + block).split(b"\n")
        self._tail = lines.pop()
        if lines:
            self._queue(lines)
        if len(self._tail) > self._limit:
            self._long_head, self._long_size = self._tail[:KEPT_BYTES], len(self._tail)
            self._tail = b""

    def end(self) -> None:
        """Count what waits as a line: nothing follows."""
        if self._long_head is not None:
            self._ready.append(_Long(self._long_head, self._long_size, self._long_size))
            self._long_head = None
        elif self._tail:
            self._ready.append(_Run([self._tail], ended=False))
            self._tail = b""

    def take(self, count: int) -> Taken:
        """Give up to ``count`` lines, those over the limit included."""
        lines: list[bytes] = []
        long: list[tuple[int, bytes, int]] = []
        first = self.records
        while self._ready and self.records - first < count:
            run = self._ready[0]
            if isinstance(run, _Long):
                long.append((self.records, run.head, run.size))
                self.position += run.consumed
                self.records += 1
                self._ready.popleft()
            else:
                lines += self._take_run(run, count - (self.records - first))
        if not long:
            return Taken(lines, range(first, self.records), ())
        left_out = {number for number, _, _ in long}
        numbers = [number for number in range(first, self.records) if number not in left_out]
        return Taken(lines, numbers, long)

    def skip_mark(self) -> None:
        """Leave out a byte order mark at the beginning of the file."""
        self.position += 3

    def _take_run(self, run: _Run, count: int) -> list[bytes]:
        lines = run.lines[run.start : run.start + count]
        run.start += len(lines)
        self.records += len(lines)
        self.position += sum(map(len, lines)) + (len(lines) if run.ended else 0)
        if run.start == len(run.lines):
            self._ready.popleft()
        return lines

    def _queue(self, lines: list[bytes]) -> None:
        if max(map(len, lines)) <= self._limit:
            self._ready.append(_Run(lines))
            return
        for line in lines:
            if len(line) > self._limit:
                self._ready.append(_Long(line[:KEPT_BYTES], len(line), len(line) + 1))
            else:
                self._ready.append(_Run([line]))

    def _skip(self, block: bytes) -> bytes:
        """Drop the rest of a long line, but for its kept beginning; return what follows it."""
        end = block.find(b"\n")
        rest = block if end < 0 else block[:end]
        head = (self._long_head or b"") + rest[: max(0, KEPT_BYTES - self._long_size)]
        self._long_head, self._long_size = head, self._long_size + len(rest)
        if end < 0:
            return b""
        self._ready.append(_Long(head, self._long_size, self._long_size + 1))
        self._long_head = None
        return block[end + 1 :]
