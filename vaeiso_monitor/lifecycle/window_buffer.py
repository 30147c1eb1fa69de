"""What the loop leaves for the window between two writes: a few rows of each batch, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, compress
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.lifecycle.window_rows import LET_IN
from vaeiso_monitor.lifecycle.window_segments import Tally
from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.window_rows import Layout


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows [k] of one batch: all seen at one instant, the same share of their like taken.

    Those ``let_in`` count as normal though they are ``anomalous``.
    """

    numbers: NDArray[np.float64]
    categories: list[list[str | None]]
    nats: NDArray[np.float64]
    anomalous: NDArray[np.bool_]
    let_in: NDArray[np.bool_]
    seen: float
    share: float

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.nats)

    def half(self, rng: np.random.Generator) -> Part:
        """Return about half of the rows."""
        kept = rng.random(len(self)) < 0.5
        flags = kept.tolist()
        categories = [list(compress(column, flags)) for column in self.categories]
        return Part(
            self.numbers[kept],
            categories,
            self.nats[kept],
            self.anomalous[kept],
            self.let_in[kept],
            self.seen,
            self.share / 2,
        )


class Buffer:
    """Takes a share of each batch and holds at most ``limit`` rows; fuller, it halves the share."""

    def __init__(self, limit: int, normal_only: bool, rng: np.random.Generator) -> None:
        self._limit = limit
        self._normal_only = normal_only
        self._rng = rng
        self._lock = Lock()
        self._parts: list[Part] = []
        self._rows = 0
        self._tally = Tally()
        self._share = 1.0

    @property
    def share(self) -> float:
        """The share of records that is being taken."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        with self._lock:
            self._share = share

    def offer(
        self,
        records: Records,
        nats: NDArray[np.float64],
        anomalous: NDArray[np.bool_],
        seen: float,
        let_in: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take some rows of a batch; a few ten microseconds where the share is small.

        Those ``let_in`` are taken like normal ones though they are anomalous.
        """
        count = len(records)
        let_in = np.zeros(count, dtype=bool) if let_in is None else let_in
        barred = anomalous & ~let_in
        left_out = int(np.count_nonzero(barred)) if self._normal_only else 0
        with self._lock:
            indices = self._choose(count)
            if left_out:
                indices = indices[~barred[indices]]
            self._tally += Tally(count, left_out, count - left_out - len(indices))
            if len(indices):
                marks = nats[indices], anomalous[indices], let_in[indices]
                self._append(_part(records, indices, marks, seen, self._share))

    def take(self) -> tuple[list[Part], Tally]:
        """Hand over what was gathered and begin anew."""
        with self._lock:
            parts, tally = self._parts, self._tally
            self._parts, self._rows, self._tally = [], 0, Tally()
        return parts, tally

    def carry(self, tally: Tally) -> None:
        """Count what could not be put to any rows together with the next ones."""
        with self._lock:
            self._tally += tally

    def _choose(self, count: int) -> NDArray[np.int64]:
        if self._share >= 1.0:
            return np.arange(count, dtype=np.int64)
        wanted = self._rng.binomial(count, self._share)
        return np.sort(self._rng.choice(count, wanted, replace=False, shuffle=False))

    def _append(self, part: Part) -> None:
        self._parts.append(part)
        self._rows += len(part)
        while self._rows > self._limit:
            before = self._rows
            halves = [part.half(self._rng) for part in self._parts]
            self._parts = [part for part in halves if len(part)]
            self._rows = sum(map(len, self._parts))
            self._share /= 2
            self._tally += Tally(thinned=before - self._rows)


def _part(
    records: Records,
    indices: NDArray[np.int64],
    marks: tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]],
    seen: float,
    share: float,
) -> Part:
    chosen = indices.tolist()
    categories = [[column[i] for i in chosen] for column in records.categories]
    # indexing copies: a row that is kept must not keep its whole batch in memory
    return Part(records.numbers[indices], categories, *marks, seen, share)


def table_of(parts: Sequence[Part], layout: Layout) -> pa.Table:
    """Return the rows of several parts as a table."""
    lengths = [len(part) for part in parts]
    columns = zip(*(part.categories for part in parts), strict=True)
    numbers = np.concatenate([part.numbers for part in parts])
    categories = [list(chain.from_iterable(column)) for column in columns]
    about = {
        "seen": np.repeat([part.seen for part in parts], lengths),
        "nats": np.concatenate([part.nats for part in parts]),
        "share": np.repeat([part.share for part in parts], lengths),
        "anomalous": np.concatenate([part.anomalous for part in parts]),
        "origin": [LET_IN if let_in else None for part in parts for let_in in part.let_in],
    }
    return layout.table(Records(numbers, categories, np.arange(len(numbers))), about)
