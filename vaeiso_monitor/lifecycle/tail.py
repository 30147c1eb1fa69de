"""How many of the records over the alert line are normal, told from those under it.

The line cuts off the highest scores of normal records too. A training set without them makes the
next line lower, and after a slow change, when many normal records lie over the line, it would never
come to know them. So the scores under the line are asked how they thin out towards it: as many as
would lie over it if they went on like this are let into the window, and no more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.detect import CRITICAL_SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.detect import Threshold

_UNDER, _OVER = 64, 8  # bins of the anomaly score from 0 to the line, and on to critical
# Of the records under the line those nearest to it show how the scores thin out: so many, and ten
# times as many as the budget lets over it, or there is not thinning enough to be seen.
_PART, _TIMES = 0.05, 10.0
_NARROWEST = 4  # bins that the thinning is told from
_FEWEST, _PRESUMED = 20.0, 400.0  # records near the line at least, and all that are presumed
_BESIDE, _COMPANY = 4, 2  # records before and after one, and how many of them may be over the line
_MOST = 1.5  # times as many as are expected: beyond this nothing is let in, whatever chance says
_STEEPEST, _FLATTEST = 60.0, math.log(2.0)  # by which power of e the scores thin out over the part


class Tail:
    """Counts scores in bins and lets in records over the line while fewer came in than expected.

    The counts fade with ``memory_seconds``; they begin as the line was drawn, and anew with each
    line. Never let in are a critical record, and one that has others over the line beside it: so
    faults come, and records that are normal seldom. One thread uses it.
    """

    def __init__(self, memory_seconds: float, rng: np.random.Generator) -> None:
        self._memory_seconds = memory_seconds
        self._rng = rng
        self._threshold: Threshold | None = None
        self._part = _PART
        self._edges = np.zeros(0)
        self._counts = np.zeros(_UNDER + _OVER)
        self._let_in = np.zeros(_OVER)
        self._before = np.zeros(_BESIDE, dtype=bool)
        self._now: float | None = None
        self._powers = np.linspace(1e-3, _STEEPEST, 1024)
        self._means = 1.0 / -np.expm1(-self._powers) - 1.0 / self._powers

    def choose(
        self, threshold: Threshold, nats: NDArray[np.float64], now: float
    ) -> NDArray[np.bool_]:
        """Count the scores [n] of a batch; return which of those over the line are let in [n]."""
        if threshold is not self._threshold:
            self._begin(threshold)
        self._fade(now)
        bins = np.searchsorted(self._edges, nats, side="right")
        over = ~(nats <= threshold.nats)
        known = bins <= _UNDER + _OVER  # a score that is critical, or no number, says nothing
        known &= ~np.isnan(nats) & ~(over & self._crowded(over))
        places = np.maximum(bins - 1, 0)
        self._counts += np.bincount(places[known], minlength=_UNDER + _OVER)[: _UNDER + _OVER]
        found = np.flatnonzero(known & over)
        chosen = np.zeros(len(nats), dtype=bool)
        if len(found):
            chosen[found] = self._draw(np.maximum(places[found] - _UNDER, 0))
        return chosen

    @property
    def expected(self) -> NDArray[np.float64]:
        """Return how many records the bins over the line should hold [8], by those under it."""
        under = self._counts[:_UNDER][::-1]  # from the line down
        heaped = np.cumsum(under)
        wanted = max(self._part * heaped[-1], _FEWEST)
        width = max(int(np.searchsorted(heaped, wanted)) + 1, _NARROWEST)
        if width > _UNDER:
            return np.zeros(_OVER)
        part = under[:width]
        distance = float(part @ (np.arange(width) + 0.5)) / (width * float(part.sum()))
        # the power k of the density e^(k d) over 0 < d < 1 that has this mean
        power = max(float(np.interp(distance, self._means, self._powers)), _FLATTEST)
        over = np.exp(-power / width * np.linspace(0.0, _UNDER, _OVER + 1))
        return float(part.sum()) / math.expm1(power) * (over[:-1] - over[1:])

    def _crowded(self, over: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which records [n] have more neighbours over the line than chance brings."""
        flags = np.concatenate([self._before, over])
        self._before = flags[-_BESIDE:]
        places = np.flatnonzero(flags)
        first = np.searchsorted(places, places - _BESIDE)
        last = np.searchsorted(places, places + _BESIDE, side="right")
        crowded = np.zeros(len(flags), dtype=bool)
        crowded[places[last - first - 1 > _COMPANY]] = True
        return crowded[_BESIDE:]

    def _draw(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Let in [k] by chance, and none where as many as expected are in already."""
        expected = self.expected
        chance = np.minimum(1.0, expected / np.maximum(self._counts[_UNDER:], 1.0))
        chosen = self._rng.random(len(places)) < chance[places]
        for place in np.unique(places[chosen]):
            inside = np.flatnonzero(chosen & (places == place))
            room = math.floor(_MOST * expected[place] - self._let_in[place] + self._rng.random())
            chosen[inside[max(room, 0) :]] = False
        self._let_in += np.bincount(places[chosen], minlength=_OVER)
        return chosen

    def _begin(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._part = min(max(_PART, _TIMES * threshold.budget), 0.5)
        under = np.linspace(0.0, 1.0, _UNDER + 1)
        over = np.linspace(1.0, CRITICAL_SCORE, _OVER + 1)
        self._edges = _nats_at(threshold, np.concatenate([under, over[1:]]))
        self._edges[0] = -np.inf
        tail = threshold.budget ** np.concatenate([under, over[1:]])
        # a line that was drawn so leaves the budget over it: that is presumed of few records
        self._counts = (tail[:-1] - tail[1:]) * _PRESUMED
        self._let_in = np.zeros(_OVER)

    def _fade(self, now: float) -> None:
        before, self._now = self._now, now
        if before is not None and now > before:
            kept = math.exp((before - now) / self._memory_seconds)
            self._counts *= kept
            self._let_in *= kept


def _nats_at(threshold: Threshold, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nats [k] that have these anomaly scores: the inverse of ``anomaly_score``."""
    log_tail = scores * math.log(threshold.budget)
    last = float(threshold.log_tail[-1])
    inner = np.interp(log_tail, threshold.log_tail[::-1], threshold.knots[::-1])
    beyond = [threshold.knots[-1] + threshold.tail.excess(min(p - last, 0.0)) for p in log_tail]
    found = np.where(log_tail >= last, inner, np.array(beyond))
    return np.maximum.accumulate(np.where(scores == 1.0, threshold.nats, found))
