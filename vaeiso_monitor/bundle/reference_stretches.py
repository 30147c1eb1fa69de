"""How the features varied over the training records: whole, and in stretches of neighbours.

A stream that follows the clock looks different at night. A stretch of recent records is therefore
held to what stretches of the same part of the training records already did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import chdtri

from vaeiso_monitor.detect.stability import BINS, stability_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES = ("missing", "unseen", "out_of_range")
_MOST_BLOCKS = 256
_BLOCK_RECORDS = 100
_MARGIN = 1.5  # times the farthest that training strayed: the next stretch may stray farther
_SUREST = 1 / 4  # of longer stretches there are too few
_RARE = 1e-6
_FEWEST_DEGREES = 2.0
_SLACK = 0.1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """n values of one feature: ``bins`` int64 [n], -1 for a missing one, ``shares`` bool [n, 3]."""

    bins: NDArray[np.int64]
    shares: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Counts of f features in b blocks of records: ``bins`` [f, b, BINS], ``shares`` [f, b, 3].

    ``records`` [b] is how many records each block has.
    """

    bins: NDArray[np.float64]
    shares: NDArray[np.float64]
    records: NDArray[np.float64]

    @classmethod
    def of(cls, marks: Sequence[Marks], block: NDArray[np.int64], blocks: int) -> Counted:
        """Count marks by ``block`` [n], the number of the block that each record is in."""
        return cls(
            np.array([_count(mark, block, blocks) for mark in marks], dtype=np.float64).reshape(
                -1, blocks, BINS
            ),
            np.array([_sum(mark, block, blocks) for mark in marks]).reshape(-1, blocks, 3),
            np.bincount(block, minlength=blocks).astype(np.float64),
        )

    def runs(self, length: int) -> Counted:
        """Return the same for all runs of ``length`` blocks in a row."""
        return Counted(
            _run_sums(self.bins, length, 1),
            _run_sums(self.shares, length, 1),
            _run_sums(self.records, length, 0),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """The whole of the training records, and the farthest that stretches of it strayed.

    ``counts`` [f, BINS] and ``shares`` [f, 3] are of all records. ``fractions`` [k] are the lengths
    of stretches as parts of the whole, falling; ``strayed`` [f, k] is a stability index against the
    rest that such a stretch hardly ever exceeds, ``strayed_shares`` [f, k, 3] the largest shares in
    one, of those out of range the share beyond the extremes of the rest.
    """

    counts: NDArray[np.float64]
    shares: NDArray[np.float64]
    fractions: NDArray[np.float64]
    strayed: NDArray[np.float64]
    strayed_shares: NDArray[np.float64]

    @classmethod
    def none(cls) -> Stretches:
        """Return what nothing was measured of."""
        empty = np.empty(0)
        return cls(empty, empty, empty, empty, empty)

    @classmethod
    def measure(
        cls,
        marks: Sequence[Marks],
        bins: Sequence[int],
        values: Sequence[NDArray[np.float64] | None],
    ) -> Stretches:
        """Measure f features, of ``bins`` [f] bins each, over all stretches of neighbours.

        ``values`` [f] are the numbers of a feature whose range is that of training, else None.
        """
        records = len(marks[0].bins)
        blocks = _blocks(records)
        counted = Counted.of(marks, np.arange(records) * blocks // max(records, 1), blocks)
        whole = counted.bins.sum(axis=1)
        lengths = [blocks >> k for k in range(1, blocks.bit_length()) if blocks >> k]
        fractions = np.array([length / blocks for length in lengths])
        found = [_strayed(counted.runs(length), whole, bins) for length in lengths]
        psi = np.array([moments for moments, _ in found]).reshape(len(lengths), len(marks), 3)
        shares = np.array([share for _, share in found]).reshape(len(lengths), len(marks), 3)
        beyond = [_beyond(numbers, fractions) for numbers in values]
        shares[:, :, 2] = np.maximum(shares[:, :, 2], np.array(beyond).reshape(len(marks), -1).T)
        return cls(
            counts=whole,
            shares=counted.shares.sum(axis=1) / max(records, 1),
            fractions=fractions,
            strayed=np.maximum(
                _MARGIN * psi[:, :, 0].T,
                _by_chance(psi[:, :, 1].T, psi[:, :, 2].T, fractions, bins),
            ),
            strayed_shares=shares.transpose(1, 0, 2),
        )

    def at(self, fraction: float) -> int | None:
        """Return which stretches a part ``fraction`` of the whole is to be compared with.

        These are the longest that are not longer; None where all are.
        """
        fitting = np.flatnonzero(self.fractions <= fraction)
        return int(fitting[0]) if len(fitting) else None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a bundle stores."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in Stretches.__slots__}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], features: int) -> Stretches:
        """Rebuild from :meth:`state`; raise ValueError where the arrays do not fit together."""
        parts = {name: np.asarray(arrays[name], dtype=np.float64) for name in Stretches.__slots__}
        k = len(parts["fractions"])
        shapes = {
            "counts": (features, BINS),
            "shares": (features, 3),
            "fractions": (k,),
            "strayed": (features, k),
            "strayed_shares": (features, k, 3),
        }
        for name, shape in shapes.items():
            if parts[name].shape != shape or not np.isfinite(parts[name]).all():
                msg = f"{name} is {parts[name].shape}, and should be finite {shape}"
                raise ValueError(msg)
        return cls(**parts)


def usual_range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of ``values`` (none is NaN), a tenth of it added at each end.

    A slow process passes its former extremes by a little all the time; that is no event.
    """
    low, high = float(values.min()), float(values.max())
    slack = max(_SLACK * (high - low), _ROUNDING * max(abs(low), abs(high)))
    return low - slack, high + slack


def _blocks(records: int) -> int:
    """Return the largest power of two of blocks that leaves enough records in each."""
    return 1 << max(min(_MOST_BLOCKS, records // _BLOCK_RECORDS).bit_length() - 1, 0)


def _count(mark: Marks, block: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    present = mark.bins >= 0
    places = block[present] * BINS + mark.bins[present]
    return np.bincount(places, minlength=blocks * BINS)


def _sum(mark: Marks, block: NDArray[np.int64], blocks: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(block, share, blocks) for share in mark.shares.T], axis=1)


def _run_sums(values: NDArray[np.float64], length: int, axis: int) -> NDArray[np.float64]:
    sums = np.cumsum(values, axis=axis)
    first = np.zeros_like(np.take(sums, [0], axis=axis))
    sums = np.concatenate([first, sums], axis=axis)
    stops = np.arange(length, sums.shape[axis])
    return np.asarray(np.take(sums, stops, axis=axis) - np.take(sums, stops - length, axis=axis))


def _strayed(
    runs: Counted, whole: NDArray[np.float64], bins: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return largest, mean and variance [f, 3] of the index of a run against the rest.

    And the largest shares of one run [f, 3].
    """
    psi = [
        stability_index(own[:, :used], (all_of - own)[:, :used])
        for own, all_of, used in zip(runs.bins, whole[:, None, :], bins, strict=True)
    ]
    shares = runs.shares / np.maximum(runs.records, 1)[:, None]
    moments = np.array([(p.max(), p.mean(), p.var()) for p in psi])
    return moments, np.asarray(shares.max(axis=1))


def _by_chance(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    fractions: NDArray[np.float64],
    bins: Sequence[int],
) -> NDArray[np.float64]:
    """Return an index [f, k] that a stretch exceeds once in a million times, if nothing moved.

    In records that depend on their neighbours the index is about a multiple of chi-squared, whose
    degrees of freedom follow from ``mean`` and ``variance`` [f, k] over the stretches; as there are
    few long ones, theirs are no more than those of half the length. Of halves there are too few to
    know the mean: theirs is at least what follows from the quarters, by the number of records.
    """
    size = 1 / fractions + 1 / (1 - fractions)
    surest = int(np.argmin(np.abs(fractions - _SUREST))) if len(fractions) else 0
    scaled = mean[:, surest : surest + 1] * size / size[surest : surest + 1]
    known = np.where(fractions > _SUREST, np.maximum(mean, scaled), mean)
    most = np.maximum(np.array(bins) - 1, 1)[:, None]
    found = 2 * mean**2 / np.maximum(variance, 1e-12)
    found[:, :-1] = np.minimum(found[:, :-1], found[:, 1:])
    degrees = np.minimum(np.maximum(found, _FEWEST_DEGREES), most)
    return np.asarray(known * chdtri(degrees, _RARE) / degrees)


def _beyond(values: NDArray[np.float64] | None, fractions: NDArray[np.float64]) -> list[float]:
    """Return for stretches of each length the largest share beyond the extremes of the rest."""
    if values is None:
        return [0.0] * len(fractions)
    return [_beyond_rest(values, round(1 / fraction)) for fraction in fractions.tolist()]


def _beyond_rest(values: NDArray[np.float64], pieces: int) -> float:
    found = 0.0
    edges = np.arange(pieces + 1) * len(values) // pieces
    # only a stretch that holds an extreme can lie beyond the rest
    holders = {int(np.nanargmin(values)), int(np.nanargmax(values))}
    for piece in {int(np.searchsorted(edges, row, side="right")) - 1 for row in holders}:
        start, stop = edges[piece], edges[piece + 1]
        rest = np.concatenate([values[:start], values[stop:]])
        rest = rest[~np.isnan(rest)]
        own = values[start:stop]
        if len(rest):
            low, high = usual_range(rest)
            found = max(found, float(((own < low) | (own > high)).mean()))
    return found
