"""The quantile-to-normal transform: piecewise linear between stored knots, linear beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import ndtr, ndtri

from vaeiso_monitor.records.transforms import (
    column_array,
    moments,
    present,
    require,
    within_reach,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

_FEWEST_KNOTS, _MOST_KNOTS = 5, 257
_RECORDS_PER_KNOT = 20  # with one for each record the slopes would be noise, not density
_TAIL_SPAN = 0.5  # encoded units over which the slope of a tail is taken
_REACH = 2e4  # encoded units at which the linear tails end; beyond every clip
_WIDEST = 1e300  # beyond everything within reach
_SMALLEST_GAP = 1e-290


@dataclass(frozen=True, slots=True, eq=False)
class Quantile:
    """Maps the quantiles of a column to those of the normal distribution, then to mean 0, SD 1.

    ``raw`` and ``encoded`` hold the knots of all columns one after the other, both strictly
    growing within a column; ``bounds`` [k + 1] says where each column begins. A value that many
    records share is mapped to the middle of its ranks.
    """

    name: ClassVar[str] = "quantile"
    raw: NDArray[np.float64]
    encoded: NDArray[np.float64]
    bounds: NDArray[np.int64]

    @classmethod
    def fit(cls, x: Matrix) -> Self:
        """Take a knot for every 20 records, 257 at most, spread evenly in normal units."""
        pairs = [_knots(np.sort(within_reach(present(column)))) for column in x.T]
        bounds = np.cumsum([0, *(len(raw) for raw, _ in pairs)], dtype=np.int64)
        raw = np.concatenate([raw for raw, _ in pairs]) if pairs else np.empty(0)
        encoded = np.concatenate([normal for _, normal in pairs]) if pairs else np.empty(0)
        return cls(raw, encoded, bounds)

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, k]."""
        return self._each(x, _interp)

    def inverse(self, y: Matrix) -> Matrix:
        """Return the raw values of encoded ones [n, k]."""
        return self._each(y, _interp_back)

    def log_slope(self, x: Matrix) -> Matrix:
        """Return log of the derivative of :meth:`forward` at raw values [n, k]."""
        return self._each(x, _log_slopes)

    def _each(self, x: Matrix, read: Callable[[Matrix, Matrix, Matrix], Matrix]) -> Matrix:
        out = np.empty(x.shape, order="F")
        for j, (start, stop) in enumerate(pairwise(self.bounds)):
            out[:, j] = read(x[:, j], self.raw[start:stop], self.encoded[start:stop])
        return out

    @property
    def width(self) -> int:
        """Number of columns k."""
        return len(self.bounds) - 1

    @property
    def kinds(self) -> list[str]:
        """The transform of each column."""
        return [self.name] * self.width

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the transform from."""
        return {"raw": self.raw, "encoded": self.encoded, "bounds": self.bounds}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the transform; raise BundleError on nonsense."""
        raw, encoded = column_array(arrays, "raw"), column_array(arrays, "encoded")
        bounds = arrays.get("bounds")
        require(bounds is not None and bounds.dtype == np.int64 and bounds.ndim == 1, "no bounds")
        assert bounds is not None
        tiled = len(bounds) > 0 and bounds[0] == 0 and bounds[-1] == len(raw) == len(encoded)
        require(bool(tiled and (np.diff(bounds) > 1).all()), "the knots do not fit their bounds")
        for start, stop in pairwise(bounds):
            grows = (np.diff(raw[start:stop]) > 0) & (np.diff(encoded[start:stop]) > 0)
            require(bool(grows.all()), "the knots do not grow")
        return cls(raw, encoded, bounds)


def _interp(column: Matrix, raw: Matrix, encoded: Matrix) -> Matrix:
    return np.interp(column, raw, encoded)


def _interp_back(column: Matrix, raw: Matrix, encoded: Matrix) -> Matrix:
    return np.interp(column, encoded, raw)


def _log_slopes(column: Matrix, raw: Matrix, encoded: Matrix) -> Matrix:
    place = np.clip(np.searchsorted(raw, column, side="right") - 1, 0, len(raw) - 2)
    return np.asarray(np.log(np.diff(encoded)) - np.log(np.diff(raw)))[place]


def _knots(ordered: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """Return the knots of one column, raw and encoded, with the far ends of its linear tails."""
    n = len(ordered)
    count = min(max(n // _RECORDS_PER_KNOT, _FEWEST_KNOTS), _MOST_KNOTS)
    edge = -ndtri(0.5 / n)
    ranks = ndtr(np.linspace(-edge, edge, count)) * (n - 1)
    raw = _told_apart(ordered[np.unique(np.rint([0, *ranks, n - 1]).astype(np.int64))])
    below = np.searchsorted(ordered, raw, side="left")
    upto = np.searchsorted(ordered, raw, side="right")
    encoded = ndtri((below + upto) / (2 * n))
    mean, sd = moments(np.interp(ordered, raw, encoded))
    return _with_tails(raw, (encoded - mean) / sd)


def _told_apart(ordered: Matrix) -> Matrix:
    """Return the values that are far enough from the one before for a finite slope between."""
    kept = [ordered[0]]
    for value in ordered[1:]:
        if value - kept[-1] > max(4 * np.spacing(abs(value)), _SMALLEST_GAP):
            kept.append(value)
    return np.array(kept)


def _with_tails(raw: Matrix, encoded: Matrix) -> tuple[Matrix, Matrix]:
    low, high = _tail_slope(raw, encoded, 1), _tail_slope(raw[::-1], encoded[::-1], -1)
    first = max(raw[0] - (_REACH + encoded[0]) / low, -_WIDEST)
    last = min(raw[-1] + (_REACH - encoded[-1]) / high, _WIDEST)
    ends = encoded[0] + low * (first - raw[0]), encoded[-1] + high * (last - raw[-1])
    return np.array([first, *raw, last]), np.array([ends[0], *encoded, ends[1]])


def _tail_slope(raw: Matrix, encoded: Matrix, direction: int) -> float:
    """Return the slope of the outermost stretch that is at least half an encoded unit long."""
    far = np.flatnonzero(direction * (encoded - encoded[0]) >= _TAIL_SPAN)
    k = int(far[0]) if len(far) else len(raw) - 1
    return float((encoded[k] - encoded[0]) / (raw[k] - raw[0]))
