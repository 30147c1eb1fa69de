"""What a record's distance from the middle of all adds to its score.

A density follows its training records: where normal ones had extremes, as in heavy tails, it
forgives them, and the better it is the more. Users do not. So each measured column is made as
normal as Yeo and Johnson's power transform makes it, the squares of a record's columns are added
up as if no column knew of another, and what is farther than nearly all normal records costs nats
beside the density's. That begins where only 30 of them are farther: of those the density knows
next to nothing, of more it can be believed. Of few records the farthest one in 55 (e^4) pay.

Of a stream whose extremes come in runs, as those of a plant at the rush, a run is a state that the
plant was in and will be in again, and of states training saw few. A run counts as one record there,
and the price is less by the extremal index, the reciprocal of how many records come together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaeiso_monitor.detect import Threshold, calibrate, extremal_index
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records.transforms import YeoJohnson, ZScore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vaeiso_monitor.records.block import Block

    Matrix = NDArray[np.floating[Any]]

_FREE = 4.0  # nats of surprise that cost nothing, at least
_KNOWN = 30  # records farther out, each by itself: where as many are the density is known
_FEWEST_VALUES = 20  # a column of fewer is counted, not measured
_PIECE = 4096  # records at once: their columns stay in the cache
# Nats of the score for each nat of surprise, in units of what one costs in the score itself, from
# the middle to the body or from there to the tail, whichever is less: the tail alone is ruled by
# the rare kinds of records, all of which may lie in one stretch of those held out, or none.
_WEIGHT = 3.0
_MIDDLE, _BODY, _TAIL = 0.5, 0.9, 0.98


@dataclass(frozen=True, slots=True, eq=False)
class Extremes:
    """The law of distances from the middle, and what they cost.

    ``columns`` int64 [c] of the encoded matrix are measured numbers, ``transform`` makes them
    normal, ``law`` tells how rare a distance is, and its line, after ``free`` nats of surprise, is
    where the cost begins. A nat beyond costs ``price`` nats, in which ``index`` is: the extremal
    index of the farthest records.
    """

    columns: NDArray[np.int64]
    transform: YeoJohnson
    law: Threshold
    price: float
    index: float = 1.0
    free: float = _FREE

    @classmethod
    def fit(
        cls,
        x: NDArray[np.float32],
        numbers: Block,
        nats: NDArray[np.float64],
    ) -> Self | None:
        """Measure on encoded records ``x`` [N, m]; None where no column is a measured number.

        ``numbers`` are the encoder's columns of numbers, ``nats`` [h] the scores of records by
        models that were not trained on them. A distance has nothing to over-fit with, so that all
        records may tell its law; their order tells whether extremes come in runs.
        """
        kinds = dict(zip(numbers.targets.tolist(), numbers.transform.kinds, strict=True))
        columns = np.array(
            [j for j in sorted(kinds) if len(np.unique(x[:, j])) >= _FEWEST_VALUES], np.int64
        )
        if not len(columns):
            return None
        bend = np.array([kinds[j] == ZScore.name for j in columns.tolist()])  # once is enough
        transform = YeoJohnson.fit(x[:, columns].astype(np.float64), bend)
        pieces = (x[i : i + _PIECE] for i in range(0, len(x), _PIECE))
        squares = [_squares(piece, columns, transform).sum(axis=1) for piece in pieces]
        distances = 0.5 * np.concatenate(squares)
        law = calibrate(distances, math.exp(-_FREE))
        index = extremal_index(np.flatnonzero(distances > law.nats))
        free = max(_FREE, math.log(len(x) * index / _KNOWN))
        if free > _FREE:
            law = calibrate(distances, math.exp(-free))
        return cls(columns, transform, law, index * _WEIGHT * _unit(nats), index, free)

    def nats(self, x: Matrix) -> NDArray[np.float64]:
        """Return what each encoded record [B, m] costs beside its density: [B]."""
        pieces = range(0, len(x), _PIECE)
        return np.concatenate([self._nats(x[i : i + _PIECE]) for i in pieces] or [np.empty(0)])

    def split(self, x: Matrix) -> NDArray[np.float64]:
        """Return :meth:`nats` by encoded values [B, m], as each has a share in the distance."""
        squares = _squares(x, self.columns, self.transform)
        whole = squares.sum(axis=1, keepdims=True)
        found = np.zeros(x.shape)
        shares = np.divide(squares, whole, out=np.zeros_like(squares), where=whole > 0)
        found[:, self.columns] = shares * self._cost(0.5 * whole[:, 0])[:, np.newaxis]
        return found

    def require_width(self, width: int) -> None:
        """Raise BundleError unless all columns are in a matrix of ``width``."""
        if int(self.columns.max()) >= width:
            msg = f"the extremes have columns beyond the {width} of the encoder"
            raise BundleError(msg)

    def in_words(self) -> str:
        """Say what extremes cost."""
        together = f", which come {1 / self.index:.0f} together" if self.index < 2 / 3 else ""
        return (
            f"farther from the middle than all but 1 of {math.exp(self.free):,.0f} normal records"
            f"{together}, over {len(self.columns)} measured columns: {self.price:.2f} nats for "
            "each nat of surprise"
        )

    def _nats(self, x: Matrix) -> NDArray[np.float64]:
        return self._cost(0.5 * _squares(x, self.columns, self.transform).sum(axis=1))

    def _cost(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        cost = np.zeros(len(distances))
        far = np.flatnonzero(distances > self.law.nats)  # few
        if len(far):
            surprise = -np.log(self.law.tail_probability(distances[far]))
            cost[far] = self.price * np.maximum(surprise - self.free, 0)
        return cost

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle stores: a JSON-able dict and named arrays."""
        law, arrays = self.law.state()
        own = {f"transform_{key}": value for key, value in self.transform.state().items()}
        meta = {"price": self.price, "index": self.index, "free": self.free, "law": law}
        return meta, {"columns": self.columns, **own, **arrays}

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`state`; raise BundleError if the parts do not fit together."""
        try:
            columns, price = arrays["columns"], float(meta["price"])
            # bundles of before have neither
            index, free = float(meta.get("index", 1.0)), float(meta.get("free", _FREE))
            law = Threshold.from_state(meta["law"], arrays)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the stored extremes are damaged: {error!r}"
            raise BundleError(msg) from error
        own = {
            key.removeprefix("transform_"): value
            for key, value in arrays.items()
            if key.startswith("transform_")
        }
        transform = YeoJohnson.from_state(own)
        sound = columns.dtype == np.int64 and columns.shape == (transform.width,)
        told = 0 <= price < math.inf and 0 < index <= 1 and 0 <= free < math.inf
        if not (sound and told and (columns >= 0).all()):
            msg = "the stored extremes are damaged: columns, transform and price do not fit"
            raise BundleError(msg)
        return cls(columns, transform, law, price, index, free)


def _unit(nats: NDArray[np.float64]) -> float:
    """Return how many nats of the score [h] one nat of surprise is."""
    shares = np.array([_MIDDLE, _BODY, _TAIL])
    return float((np.diff(np.quantile(nats, shares)) / -np.diff(np.log(1 - shares))).min())


def _squares(x: Matrix, columns: NDArray[np.int64], transform: YeoJohnson) -> NDArray[np.float64]:
    """Return the squares [B, c] of the columns, made normal."""
    consecutive = len(columns) == columns[-1] - columns[0] + 1
    taken = x[:, columns[0] : columns[-1] + 1] if consecutive else x[:, columns]
    return np.square(transform.forward(taken.astype(np.float64)))
