"""Number columns of one transform: where they come from, where they go, and what fills a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaeiso_monitor.records.chosen import Chosen
from vaeiso_monitor.records.quantile import Quantile
from vaeiso_monitor.records.transforms import (
    Steps,
    Transform,
    YeoJohnson,
    ZScore,
    column_array,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TRANSFORMS: dict[str, type[Chosen | ZScore | YeoJohnson | Quantile]] = {
    transform.name: transform for transform in (Chosen, ZScore, YeoJohnson, Quantile)
}
_STORED = {**TRANSFORMS, Steps.name: Steps}
# A value that training never missed is filled with one that stands out: 2 units above all seen.
_SURPRISE, _LARGEST_SURPRISE = 2.0, 32.0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """k columns of ``Records.numbers`` (``sources``) and their places in the matrix (``targets``).

    A column of few values has a place for each of its steps. ``fill`` [k] is the encoded value of a
    missing one: the mean of the encoded column where training had missing values (an indicator
    tells them), else an outlying value.
    """

    transform: Transform
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    fill: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        transform: Transform,
        numbers: NDArray[np.float64],
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        clip: float,
    ) -> Self:
        """Choose the fill of each column from ``numbers`` [n, p]; ``transform`` is fitted."""
        raw = numbers[:, sources]
        encoded = np.clip(transform.forward(raw), -clip, clip)
        outlying = np.minimum(
            encoded.max(axis=0, initial=0.0, where=~np.isnan(raw)) + _SURPRISE, _LARGEST_SURPRISE
        )
        present = np.count_nonzero(~np.isnan(raw), axis=0)
        mean = np.nansum(encoded, axis=0) / np.maximum(present, 1)
        return cls(transform, sources, targets, np.where(present < len(raw), mean, outlying))

    def encode_into(
        self, x: NDArray[np.float32], numbers: NDArray[np.float64], clip: float
    ) -> None:
        """Write the columns of ``numbers`` [n, p] into ``x`` [n, m]."""
        raw = self._raw(numbers)
        y = self.transform.forward(raw)
        np.clip(y, -clip, clip, out=y)
        missing = np.isnan(raw)
        if missing.any():
            y = np.where(missing, self.fill, y)
        x[:, as_slice(self.targets)] = y

    def decode(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the raw values [k, len(self)] of encoded rows ``x`` [k, m]."""
        return self.transform.inverse(x[:, as_slice(self.targets)].astype(np.float64))

    def log_jacobian(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the summed log slopes [n] at ``numbers`` [n, p]; a missing value adds nothing."""
        raw = self._raw(numbers)
        slopes = self.transform.log_slope(raw)
        return np.asarray(np.where(np.isnan(raw), 0.0, slopes).sum(axis=1))

    def _raw(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return numbers[:, as_slice(self.sources)]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the block from."""
        own = {"sources": self.sources, "targets": self.targets, "fill": self.fill}
        return {**own, **self.transform.state()}

    @classmethod
    def from_state(cls, name: object, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the block; raise BundleError on nonsense."""
        require(isinstance(name, str) and name in _STORED, f"unknown transform {name!r}")
        sources, targets = (index_array(arrays, key) for key in ("sources", "targets"))
        fill = column_array(arrays, "fill")
        transform = _STORED[str(name)].from_state(arrays)
        require(len(sources) == len(targets) == len(fill), "a block has columns of two lengths")
        require(transform.width == len(fill), "a transform does not fit its block")
        return cls(transform, sources, targets, fill)


def as_slice(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return consecutive places as a slice, which numpy reads without a copy."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def index_array(arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[np.int64]:
    """Return a vector of places of a bundle; raise BundleError if it is anything else."""
    array = arrays.get(key)
    require(array is not None, f"array {key!r} is missing")
    assert array is not None
    require(array.dtype == np.int64 and array.ndim == 1, f"array {key!r} holds no places")
    return array
