"""A bounded sample of recent records, as they came, spread evenly over a window of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOTS = 64  # pieces that the window of time is cut into
_SLOT_RECORDS = 512
_MAX_BYTES = 32 << 20
_VALUE_BYTES = 8


@dataclass(slots=True)
class _Slot:
    """One piece of time: ``seen`` records came from ``began`` on, of which ``parts`` were kept."""

    number: int
    began: float
    seen: int = 0
    kept: int = 0
    parts: list[Records] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """The sample as it stands: ``slot`` int64 [n] is the piece of time of each record, newest last.

    ``began`` [s] is when each piece began (Unix time) and ``seen`` [s] how many records it had.
    """

    records: Records
    slot: NDArray[np.int64]
    began: NDArray[np.float64]
    seen: NDArray[np.float64]


class InputSample:
    """Keeps up to 512 records of each of 64 pieces of the window, each as likely as any other.

    The records are raw, so the sample can be compared with any reference. Memory is bounded by the
    number of columns, not by the stream.
    """

    def __init__(self, window_seconds: float, seed: int = 0) -> None:
        self._slot_seconds = window_seconds / SLOTS
        self._slots: deque[_Slot] = deque()
        self._rng = np.random.default_rng(seed)
        self._lock = Lock()

    def add(self, records: Records, now: float) -> None:
        """Take what the sample needs of one batch."""
        if not len(records):
            return
        with self._lock:
            slot = self._current(now)
            self._take(slot, records)

    def recent(self, now: float) -> Recent | None:
        """Return the sample of the window that ends ``now``, None where it is empty."""
        with self._lock:
            self._forget(now)
            slots = [(slot.began, slot.seen, list(slot.parts)) for slot in self._slots]
        if not slots:
            return None
        kept = [sum(map(len, parts)) for _, _, parts in slots]
        return Recent(
            _joined(list(chain.from_iterable(parts for _, _, parts in slots))),
            np.repeat(np.arange(len(slots)), kept),
            np.array([began for began, _, _ in slots]),
            np.array([seen for _, seen, _ in slots], dtype=np.float64),
        )

    def _current(self, now: float) -> _Slot:
        number = int(now // self._slot_seconds)
        # a clock that was set back must not let the newest records be taken for old ones
        if not self._slots or number > self._slots[-1].number:
            self._slots.append(_Slot(number, now))
            self._forget(now)
        return self._slots[-1]

    def _forget(self, now: float) -> None:
        oldest = int(now // self._slot_seconds) - SLOTS
        while self._slots and self._slots[0].number <= oldest:
            self._slots.popleft()

    def _take(self, slot: _Slot, records: Records) -> None:
        """Keep each record of the slot with the same chance (a reservoir, batch by batch)."""
        most = _most(records)
        count, seen = len(records), slot.seen
        slot.seen += count
        if slot.kept + count <= most and slot.kept == seen:
            slot.parts.append(_chosen(records, slice(None)))
            slot.kept += count
        else:
            fresh = int(self._rng.binomial(min(count, most), _chance(count, seen, most)))
            if fresh:
                self._replace(slot, records, fresh, most)
        if len(slot.parts) > SLOTS:
            slot.parts = [_joined(slot.parts)]

    def _replace(self, slot: _Slot, records: Records, fresh: int, most: int) -> None:
        rows = np.sort(self._rng.choice(len(records), fresh, replace=False))
        kept = _joined(slot.parts) if slot.parts else None
        room = min(most - fresh, slot.kept)
        slot.parts = [_chosen(records, rows)]
        if kept is not None and room:
            stay = np.sort(self._rng.choice(slot.kept, room, replace=False))
            slot.parts.insert(0, _chosen(kept, stay))
        slot.kept = room + fresh


def _chance(count: int, seen: int, most: int) -> float:
    """Return the share of ``min(count, most)`` draws that fall on the new batch."""
    return min(1.0, most * count / (seen + count) / min(count, most))


def _most(records: Records) -> int:
    """Return how many records a slot keeps: fewer where they are very wide."""
    width = max(int(records.numbers.shape[1]) + len(records.categories), 1)
    return min(_SLOT_RECORDS, max(_MAX_BYTES // (SLOTS * _VALUE_BYTES * width), 16))


def _chosen(records: Records, rows: NDArray[np.int64] | slice) -> Records:
    """Return copies of some rows, without labels: a view would hold on to the whole batch."""
    listed = range(len(records))[rows] if isinstance(rows, slice) else rows.tolist()
    categories = [[column[i] for i in listed] for column in records.categories]
    numbers = records.numbers[rows].copy()
    return Records(numbers, categories, np.arange(len(numbers), dtype=np.int64))


def _joined(parts: Sequence[Records]) -> Records:
    numbers = np.concatenate([part.numbers for part in parts])
    columns = zip(*(part.categories for part in parts), strict=True)
    categories = [list(chain.from_iterable(column)) for column in columns]
    return Records(numbers, categories, np.arange(len(numbers), dtype=np.int64))
