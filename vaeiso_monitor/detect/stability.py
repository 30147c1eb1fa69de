"""The population stability index: how far a distribution moved from a reference, in bins.

PSI = sum_i (p_i - q_i) ln(p_i / q_i) over the bins, the symmetric Kullback-Leibler divergence. By
custom under 0.1 is nothing, over 0.25 a shift. Of m records and as many bins B as here, chance
alone makes about (B - 1) / m of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 10
_PSEUDO_COUNT = 0.5


def quantile_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper edges [k], k < BINS, of bins that hold equal shares of ``values`` [n].

    Values that repeat share a bin, so there may be fewer; the last bin is open. NaN is left out.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return np.empty(0)
    levels = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(present, levels, method="inverted_cdf"))
    return np.asarray(edges[edges < present.max()])


def bin_of(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each value [n]: the first whose upper edge it does not exceed."""
    return np.searchsorted(edges, values, side="left")


def stability_index(counts: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the PSI of counts [..., B] against reference counts [..., B]: [...].

    Half a record is added to each bin, so that an empty one does not make it infinite.
    """
    p, q = _shares(counts), _shares(reference)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    padded = np.asarray(counts, dtype=np.float64) + _PSEUDO_COUNT
    return np.asarray(padded / padded.sum(axis=-1, keepdims=True))


def largest_gap(counts: ArrayLike, reference: ArrayLike) -> tuple[int, float, float]:
    """Return the edge at which the shares above it differ most, and both shares.

    The difference is the Kolmogorov-Smirnov distance on the edges of the bins.
    """
    p, q = (np.asarray(c, dtype=np.float64) for c in (counts, reference))
    above, before = (1 - np.cumsum(c)[:-1] / max(c.sum(), 1) for c in (p, q))
    edge = int(np.argmax(np.abs(above - before)))
    return edge, float(above[edge]), float(before[edge])
