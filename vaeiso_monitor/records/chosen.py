"""The transform that each column has for itself: bent where that makes it likelier, else not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from vaeiso_monitor.records.transforms import YeoJohnson, ZScore, present, require, spread_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vaeiso_monitor.records.transforms import Matrix

_GAIN = 0.5  # nats per value: what is less skewed than that is as well left as it is
_FEWEST_VALUES = 20  # fewer are few
_COINS = 200  # records that a column of few values is thought to have beside its own ...
_FEW_RECORDS = 1000  # ... and the fewer, the more records there are beyond this
_DISTINCT = 0.5  # of the values; where fewer differ, they were rounded or counted
_ROWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Yeo and Johnson's power transform for the columns ``bent`` int64 [b], else the z-score.

    A column is bent where a normal law with the transform's slope makes its values likelier than
    without, by 0.5 nats each or more: both are densities over the same raw values. Columns whose
    values repeat are left as they are: a bend would spread the steps between them unevenly, and a
    model with a small beta follows each step.

    A column of few values is scaled by no less than the SD that it would have if 200 more records
    lay half a step from its mean, as the sides of a coin do: of few records the SD of a rare flag
    is not known, and the one that has it would outweigh all the measurements. Of 10,000 records
    it is known better, and 20 more are thought of; of 1,000 or fewer the whole 200.
    """

    name: ClassVar[str] = "auto"
    scaled: ZScore
    bent: NDArray[np.int64]
    power: YeoJohnson

    @classmethod
    def fit(cls, x: Matrix) -> Self:
        """Choose for each column of ``x`` [n, k]; at most 20,000 rows of it decide."""
        rows = spread_rows(x, _ROWS)
        scaled, power = _calmed(ZScore.fit(x), x), YeoJohnson.fit(x)
        gain = np.nan_to_num(power.log_slope(rows) + np.log(power.before.scale))
        counts = np.maximum(np.count_nonzero(~np.isnan(rows), axis=0), 1)
        measured = np.array([_measured(column) for column in rows.T], dtype=np.bool_)
        bent = np.flatnonzero(measured & (gain.sum(axis=0) / counts >= _GAIN))
        return cls(scaled, bent, power.taken(bent))

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, k]."""
        y = self.scaled.forward(x)
        if len(self.bent):
            y[:, self.bent] = self.power.forward(x[:, self.bent])
        return y

    def inverse(self, y: Matrix) -> Matrix:
        """Return the raw values of encoded ones [n, k]."""
        x = self.scaled.inverse(y)
        if len(self.bent):
            x[:, self.bent] = self.power.inverse(y[:, self.bent])
        return x

    def log_slope(self, x: Matrix) -> Matrix:
        """Return log of the derivative of :meth:`forward` at raw values [n, k]."""
        slope = self.scaled.log_slope(x).copy()
        slope[:, self.bent] = self.power.log_slope(x[:, self.bent])
        return slope

    @property
    def width(self) -> int:
        """Number of columns k."""
        return self.scaled.width

    @property
    def kinds(self) -> list[str]:
        """The transform of each column."""
        kinds = self.scaled.kinds
        for j in self.bent.tolist():
            kinds[j] = self.power.name
        return kinds

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the transform from."""
        power = {f"power_{key}": value for key, value in self.power.state().items()}
        return {**self.scaled.state(), "bent": self.bent, **power}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the transform; raise BundleError on nonsense."""
        scaled, bent = ZScore.from_state(arrays), arrays.get("bent")
        good = bent is not None and bent.dtype == np.int64 and bent.ndim == 1
        require(good, "the columns with a transform of their own are amiss")
        assert bent is not None
        known = bool(((bent >= 0) & (bent < scaled.width)).all() and (np.diff(bent) > 0).all())
        require(known, "a column with a transform of its own is unknown")
        own = {k.removeprefix("power_"): a for k, a in arrays.items() if k.startswith("power_")}
        power = YeoJohnson.from_state(own)
        require(power.width == len(bent), "a transform does not fit its columns")
        return cls(scaled, bent, power)


def _calmed(scaled: ZScore, x: Matrix) -> ZScore:
    half = np.array([_typical_step(column) for column in x.T]) / 2
    count = np.count_nonzero(~np.isnan(x), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # where half is 0
        coins = _COINS * np.minimum(1, _FEW_RECORDS / np.maximum(count, 1))
        shares = coins / (coins + count)
        blended = half * np.sqrt(shares + (1 - shares) * np.square(scaled.scale / half))
    return ZScore(scaled.mean, np.where(half > 0, np.maximum(blended, scaled.scale), scaled.scale))


def _typical_step(column: NDArray[np.float64]) -> float:
    """Return the median step between the values of a column of few, 0 for one of many."""
    values = np.unique(present(column))
    if not 2 <= len(values) < _FEWEST_VALUES:
        return 0.0
    return float(np.median(np.diff(values)))


def _measured(column: NDArray[np.float64]) -> bool:
    values = present(column)
    return len(np.unique(values)) >= max(_FEWEST_VALUES, _DISTINCT * len(values))
