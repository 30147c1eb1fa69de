"""The last quarter of an hour, in bounded memory: what a person sees at one look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

BIN_SECONDS = 5
BINS = 180
SCORE_BINS_PER_DECADE = 12
_DECADES = (-2, 2)
_MINUTES = 15

SCORE_EDGES: NDArray[np.float64] = np.logspace(
    *_DECADES, (_DECADES[1] - _DECADES[0]) * SCORE_BINS_PER_DECADE + 1
)
"""Bounds of the score bins; 1, the alert line, is one of them exactly."""
SCORE_EDGES[-_DECADES[0] * SCORE_BINS_PER_DECADE] = 1.0
_INNER = SCORE_EDGES[1:-1]

_COUNTS = ("received", "scored", "warnings", "criticals")


class _Ring:
    """Rows of numbers, each for one stretch of time; the oldest makes way for the newest."""

    def __init__(self, slots: int, width: int, seconds: float, empty: float = 0.0) -> None:
        self.seconds = seconds
        self._empty = empty
        self._slots = np.full((slots, width), empty)
        self._numbers = np.full(slots, -1, dtype=np.int64)

    def at(self, now: float) -> NDArray[np.float64]:
        """Return the row of the stretch that ``now`` lies in, to be written to."""
        number = int(now // self.seconds)
        slot = number % len(self._slots)
        if self._numbers[slot] != number:
            self._numbers[slot] = number
            self._slots[slot] = self._empty
        row: NDArray[np.float64] = self._slots[slot]
        return row

    def rows(self, last: int) -> NDArray[np.float64]:
        """Return all rows in the order of time, the one numbered ``last`` at the end."""
        wanted = np.arange(last - len(self._slots) + 1, last + 1)
        found = self._slots[wanted % len(self._slots)].copy()
        found[self._numbers[wanted % len(self._slots)] != wanted] = self._empty
        return found

    def total(self, now: float) -> NDArray[np.float64]:
        """Return the sum of all rows that are not too old."""
        summed: NDArray[np.float64] = self.rows(int(now // self.seconds)).sum(axis=0)
        return summed


class OverviewTelemetry:
    """The recent past for a person to look at; reached as ``Telemetry.overview``.

    Rates, lag and anomalies lie in 180 bins of 5 seconds, scores in a histogram of the last 15
    minutes, whatever the stream brings. ``clock`` gives Unix time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._began = clock()
        self._counts = _Ring(BINS, len(_COUNTS), BIN_SECONDS)
        self._lag = _Ring(BINS, 1, BIN_SECONDS, math.nan)
        self._scores = _Ring(_MINUTES, len(SCORE_EDGES) - 1, 60.0)
        self._portrait: Mapping[str, Any] | None = None

    def received(self, records: int) -> None:
        """Say that records were read."""
        with self._lock:
            self._counts.at(self._clock())[0] += records

    def scored(
        self, records: int, warnings: int, criticals: int, anomaly_scores: ArrayLike
    ) -> None:
        """Say that a batch was scored; what is no number counts as beyond all bounds."""
        scores = np.asarray(anomaly_scores, dtype=np.float64).ravel()
        bins = np.searchsorted(_INNER, scores, side="right")
        counts = np.bincount(bins, minlength=len(_INNER) + 1)
        now = self._clock()
        with self._lock:
            self._counts.at(now)[1:] += (records, warnings, criticals)
            row = self._scores.at(now)
            row += counts

    def lagging(self, records: int | None) -> None:
        """Say how many records are still to be read, None where the source cannot tell."""
        if records is None:
            return
        with self._lock:
            self._lag.at(self._clock())[0] = records

    def serving(self, portrait: Mapping[str, Any]) -> None:
        """Say what the serving model was like at training: its isometry and its latents."""
        self._portrait = portrait

    def snapshot(self) -> dict[str, Any]:
        """Return a JSON-able dict of bounded size; bins before the start are null."""
        now = self._clock()
        with self._lock:
            series = self._series(now)
            counts = self._scores.total(now)
        return {
            "series": series,
            "scores": {
                "seconds": _MINUTES * 60,
                "edges": [float(f"{edge:.6g}") for edge in SCORE_EDGES],
                "counts": [int(count) for count in counts],
            },
            "portrait": self._portrait,
        }

    def _series(self, now: float) -> dict[str, Any]:
        last = int(now // BIN_SECONDS) - 1  # the bin that is not over would look like a dip
        first = last - BINS + 1
        unknown = max(int(self._began // BIN_SECONDS) - first, 0)
        counts = self._counts.rows(last).T
        shown = {
            name: [None] * min(unknown, BINS) + [int(n) for n in row[unknown:]]
            for name, row in zip(_COUNTS, counts, strict=True)
        }
        lag = [None if math.isnan(n) else int(n) for n in self._lag.rows(last)[:, 0]]
        return {"from": first * BIN_SECONDS, "step_seconds": BIN_SECONDS, **shown, "lag": lag}
