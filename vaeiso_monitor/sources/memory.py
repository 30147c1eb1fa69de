"""Records from memory: for tests, and for programs that embed the monitor."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa

from vaeiso_monitor.types import PartitionProgress, Polled, RawBatch, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class MemorySource:
    """Serves JSON documents or the rows of an Arrow table, then ends.

    ``committed`` is the number of records that were delivered and committed.
    """

    name = "memory"
    errors = 0

    def __init__(
        self, records: Iterable[bytes | None] | pa.Table, *, stream: str = "memory"
    ) -> None:
        self.committed = 0
        self.kept_alive = 0
        self.closed = False
        self._stream = stream
        self._read = 0
        self._table = records if isinstance(records, pa.Table) else None
        self._records: Iterator[bytes | None] = (
            iter(()) if self._table is not None else iter(records)
        )

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        """Return the next records at once, or None at the end."""
        payload = self._next(max_records)
        if not len(payload):
            return None
        start, self._read = self._read, self._read + len(payload)
        span = Span(self.name, self._stream, 0, 0, range(start, self._read))
        return Polled(RawBatch(payload, (span,)), self._read)

    def commit(self, checkpoint: int) -> None:
        """Remember how many records were delivered."""
        self.committed = max(self.committed, checkpoint)

    def keep_alive(self) -> None:
        """Count the calls."""
        self.kept_alive += 1

    def progress(self) -> Sequence[PartitionProgress]:
        """Return one partition; what is left of an iterable is not known."""
        left = None if self._table is None else self._table.num_rows - self._read
        return (PartitionProgress(self._stream, 0, left, 0.0),)

    def connected(self) -> bool:
        """Return True until it is closed."""
        return not self.closed

    def check(self) -> str:
        """Say where the records come from."""
        return "records from memory"

    def close(self) -> None:
        """Close; there is nothing to release."""
        self.closed = True

    def _next(self, count: int) -> Sequence[bytes | None] | pa.RecordBatch:
        if self._table is None:
            return list(islice(self._records, count))
        rows = self._table.slice(self._read, count).combine_chunks()
        batches = rows.to_batches()
        return batches[0] if batches else ()
