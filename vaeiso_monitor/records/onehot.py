"""Categories as one-hot columns.

The columns are 0 or 1, not scaled to unit variance: a change from one category to another then
costs the same squared distance, 2, whichever they are, while scaling would weigh a category that
one record in a million has by that million.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaeiso_monitor.records.transforms import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OTHER = "(other)"
_OUTLYING_SQUARED_DISTANCE = 4.0
_NO_COLUMN = -1
_STATE_TYPES: dict[str, type | tuple[type, ...]] = {
    "source": int,
    "start": int,
    "values": (list, tuple),
    "pooled": bool,
    "missing": bool,
}


@dataclass(frozen=True, slots=True)
class OneHot:
    """One category column: a matrix column for each value, and for what else training showed.

    ``pooled``: training had more values than are kept, and the rest share one column ("other"), as
    a new value then does. ``missing``: training had missing values, which have a column of their
    own. Training leaves no column empty, for a constant column has no density. So what it never
    showed (a new value without a pool, a missing one without a column) gets no column but an
    outlying vector, at squared distance 4 from every value: twice as far as they lie apart.
    """

    source: int
    start: int
    values: tuple[str, ...]
    pooled: bool
    missing: bool
    _codes: dict[str | None, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes: dict[str | None, int] = {value: code for code, value in enumerate(self.values)}
        codes[None] = self.width - 1 if self.missing else _NO_COLUMN
        object.__setattr__(self, "_codes", codes)

    @classmethod
    def fit(cls, column: Sequence[str | None], source: int, start: int, most: int) -> Self:
        """Keep the ``most`` frequent values of ``column``, the rest in a pool."""
        counts = Counter(column)
        missing = counts.pop(None, 0) > 0
        ranked = sorted(counts, key=lambda value: (-counts[value], value or ""))
        values = tuple(value for value in ranked[:most] if value is not None)
        return cls(source, start, values, pooled=len(ranked) > most, missing=missing)

    @property
    def width(self) -> int:
        """Number of columns in the matrix."""
        return len(self.values) + self.pooled + self.missing

    @property
    def constant(self) -> bool:
        """Whether training showed one state only."""
        return self.width < 2

    @property
    def names(self) -> tuple[str | None, ...]:
        """What each column stands for: a value, "(other)", None for missing."""
        return (*self.values, *([OTHER] if self.pooled else []), *([None] if self.missing else []))

    def encode_into(self, x: NDArray[np.float32], column: Sequence[str | None]) -> None:
        """Write the columns of ``column`` into the zeros of ``x`` [n, m]."""
        fallback = len(self.values) if self.pooled else _NO_COLUMN
        found = map(self._codes.get, column, repeat(fallback))
        codes = np.fromiter(found, np.int64, len(column))
        known = np.flatnonzero(codes >= 0)
        x[known, self.start + codes[known]] = 1.0
        if len(known) < len(codes):
            x[codes < 0, self.start : self.start + self.width] = -self._outlying()

    def _outlying(self) -> float:
        """Return c for which the vector (-c, ..., -c) lies at the wanted distance from each value.

        Solves (1 + c)^2 + (width - 1) c^2 = squared distance.
        """
        k = self.width
        return float((np.sqrt(1 + k * (_OUTLYING_SQUARED_DISTANCE - 1)) - 1) / k)

    def decode(self, x: NDArray[np.float32]) -> list[str | None]:
        """Return the most likely value of each row of ``x`` [k, m]."""
        own = x[:, self.start : self.start + self.width]
        names = self.names
        found = own.argmax(axis=1).tolist()
        outlying = (own.max(axis=1) < 0).tolist()
        return [OTHER if out else names[code] for code, out in zip(found, outlying, strict=True)]

    def state(self) -> dict[str, Any]:
        """Return what :meth:`from_state` rebuilds the column from."""
        return {key: getattr(self, key) for key in _STATE_TYPES}

    @classmethod
    def from_state(cls, meta: Any) -> Self:
        """Rebuild the column; raise BundleError on nonsense."""
        good = isinstance(meta, dict) and meta.keys() == _STATE_TYPES.keys()
        good = good and all(isinstance(meta[key], kind) for key, kind in _STATE_TYPES.items())
        require(good, "a category is amiss")
        values = tuple(meta["values"])
        require(all(isinstance(value, str) for value in values), "a category is not text")
        require(len(set(values)) == len(values), "a category repeats a value")
        return cls(**{**meta, "values": values})
