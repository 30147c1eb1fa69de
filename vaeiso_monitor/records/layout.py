"""Which columns of the training records become columns of the matrix, and which are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.records.transforms import present, within_reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.records.schema import ColumnKind

_ROUNDING_ULPS = 8
_SMALLEST_RANGE = 1e-290  # its reciprocal must be a float64
_FEW = 4  # values: they have probabilities rather than a density


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the schema in the matrix: columns ``start`` to ``stop`` - 1 of a record.

    The columns are its value or its categories, then an indicator of missing values if it has one.
    """

    name: str
    kind: ColumnKind
    start: int
    stop: int
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A column that training showed in one state only, and so tells nothing of density.

    ``value`` is that state: a number, a category, or None where every value was missing.
    """

    name: str
    reason: str
    value: float | str | None


@dataclass(frozen=True, slots=True)
class Shape:
    """What training showed of one number column: ``few`` are all its values, if they are few."""

    varies: bool
    missing: bool
    constant: float
    few: tuple[float, ...] = ()

    @classmethod
    def of(cls, column: NDArray[np.float64]) -> Shape:
        """Look at a column [n]; what differs by rounding alone counts as constant."""
        values = within_reach(present(column))
        if not len(values):
            return cls(varies=False, missing=False, constant=float("nan"))
        low, high = float(values.min()), float(values.max())
        rounding = _ROUNDING_ULPS * float(np.spacing(max(abs(low), abs(high))))
        varies = high - low > max(rounding, _SMALLEST_RANGE)
        few = _few(values, rounding) if varies else ()
        return cls(varies, len(values) < len(column), low, few)


def _few(values: NDArray[np.float64], rounding: float) -> tuple[float, ...]:
    """Return the values that there are in rising order: nothing where they are many or too near."""
    found: list[float] = []
    while len(values):
        lowest = float(values.min())
        if len(found) == _FEW or (found and lowest - found[-1] <= rounding):
            return ()
        found.append(lowest)
        values = values[values > lowest]
    return tuple(found)
