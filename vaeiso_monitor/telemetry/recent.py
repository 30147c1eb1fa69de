"""How often something happened lately: a sliding window in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_BINS = 256


@dataclass(slots=True)
class _Bin:
    began: float
    records: int
    hits: int


class Recent:
    """Counts of records and hits over the last ``records`` records and the last ``seconds``.

    Batches are gathered into about 256 bins, so the edge of the window is that coarse.
    """

    def __init__(self, records: int, seconds: float) -> None:
        self._max_records = records
        self._seconds = seconds
        self._bins: deque[_Bin] = deque()
        self._records = 0
        self._hits = 0

    def add(self, now: float, records: int, hits: int = 0) -> None:
        """Count one batch at the instant ``now``."""
        last = self._bins[-1] if self._bins else None
        fits = last is not None and last.records * _BINS < self._max_records
        if last is not None and fits and (now - last.began) * _BINS < self._seconds:
            last.records += records
            last.hits += hits
        else:
            self._bins.append(_Bin(now, records, hits))
        self._records += records
        self._hits += hits
        self.forget(now)

    def forget(self, now: float) -> None:
        """Drop what has left the window."""
        while self._bins and (
            now - self._bins[0].began > self._seconds
            or self._records - self._bins[0].records >= self._max_records
        ):
            old = self._bins.popleft()
            self._records -= old.records
            self._hits -= old.hits

    def ratio(self) -> float | None:
        """Return the share of hits among the records of the window, None if it is empty."""
        return self._hits / self._records if self._records else None

    def per_second(self, now: float) -> float:
        """Return records per second over the window, or over its part since the first batch."""
        if not self._bins:
            return 0.0
        return self._records / max(min(now - self._bins[0].began, self._seconds), 1.0)
