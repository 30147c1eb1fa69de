"""Invertible maps of number columns to roughly standard ones, each with its slope.

Every transform maps float64 [n, k] column by column, keeps NaN, and grows strictly, so that its
inverse and the logarithm of its slope exist everywhere. Fitting ignores NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np

from vaeiso_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

TransformName = Literal["auto", "z-score", "yeo-johnson", "quantile"]


class Transform(Protocol):
    """What the encoder needs of a transform of k columns."""

    name: ClassVar[str]

    @property
    def width(self) -> int:
        """Number of columns k."""

    @property
    def kinds(self) -> list[str]:
        """The transform of each column: its name, of which "z-score" only shifts and scales."""

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, k]."""

    def inverse(self, y: Matrix) -> Matrix:
        """Return the raw values of encoded ones [n, k]."""

    def log_slope(self, x: Matrix) -> Matrix:
        """Return log of the derivative of :meth:`forward` at raw values [n, k]."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the transform from."""


@dataclass(frozen=True, slots=True, eq=False)
class ZScore:
    """(x - mean) / SD with the population SD; computed in float64, as a mean may dwarf its SD."""

    name: ClassVar[str] = "z-score"
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, x: Matrix) -> Self:
        """Measure mean and SD of each column of ``x`` [n, k]."""
        found = np.array([moments(present(column)) for column in x.T]).reshape(-1, 2)
        return cls(found[:, 0].copy(), found[:, 1].copy())

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, k]."""
        with np.errstate(over="ignore"):  # infinity is clipped by the encoder
            y = x - self.mean
            y /= self.scale
        return y

    def inverse(self, y: Matrix) -> Matrix:
        """Return the raw values of encoded ones [n, k]."""
        return y * self.scale + self.mean

    def log_slope(self, x: Matrix) -> Matrix:
        """Return log of the derivative of :meth:`forward` at raw values [n, k]."""
        return np.broadcast_to(-np.log(self.scale), x.shape)

    @property
    def width(self) -> int:
        """Number of columns k."""
        return len(self.mean)

    @property
    def kinds(self) -> list[str]:
        """The transform of each column."""
        return [self.name] * self.width

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the transform from."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the transform; raise BundleError on nonsense."""
        mean, scale = (column_array(arrays, key) for key in ("mean", "scale"))
        require(len(mean) == len(scale) and bool((scale > 0).all()), "a scale is not above 0")
        return cls(mean, scale)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Columns of few values as steps: the k-th of a column says whether its value k is reached.

    A truth is one step, a number of the values 0, 1 and 5 is two. Steps have probabilities, and no
    density. Step t leads from ``mean`` to ``mean`` + ``scale`` (both [t]), is 0 below and 1 above;
    only the ``lowest`` of a column goes on below and the ``highest`` above. What lies between two
    values was never seen there: it is mirrored at the nearer one, so that it lies outside.
    """

    name: ClassVar[str] = "steps"
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    lowest: NDArray[np.bool_]
    highest: NDArray[np.bool_]

    @classmethod
    def between(cls, columns: Sequence[Sequence[float]]) -> Self:
        """Return the steps between the values, in rising order, of each column."""
        steps = [(a, b - a, a == v[0], b == v[-1]) for v in columns for a, b in pairwise(v)]
        low, height, lowest, highest = np.array(steps, np.float64).reshape(-1, 4).T.copy()
        return cls(low, height, lowest > 0, highest > 0)

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, t], each that of the step's column."""
        with np.errstate(over="ignore"):  # infinity is clipped by the encoder
            y = (x - self.mean) / self.scale
        inside = (y > 0) & (y < 1)
        if inside.any():
            y = np.where(inside, np.where(y < _HALF_WAY, -y, 2 - y), y)
        if self.lowest.all():  # as booleans are: nothing to hold between 0 and 1
            return y
        y = np.where((y < 0) & ~inside & ~self.lowest, 0.0, y)
        return np.where((y > 1) & ~inside & ~self.highest, 1.0, y)

    def inverse(self, y: Matrix) -> Matrix:
        """Return what each step adds to the raw value of its column: [n, t]."""
        return y * self.scale + np.where(self.lowest, self.mean, 0.0)

    def log_slope(self, x: Matrix) -> Matrix:
        """Return 0 [n, t]: a probability has no unit."""
        return np.zeros_like(x)

    @property
    def width(self) -> int:
        """Number of steps t."""
        return len(self.mean)

    @property
    def kinds(self) -> list[str]:
        """The transform of each step."""
        return [self.name] * self.width

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the steps from."""
        ends = np.flatnonzero(self.lowest), np.flatnonzero(self.highest)
        return dict(zip(_STEPS, (self.mean, self.scale, *ends), strict=True))

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the steps; raise BundleError on nonsense. Older bundles have truths alone."""
        mean, scale = (column_array(arrays, key) for key in ("mean", "scale"))
        require(len(mean) == len(scale) and bool((scale > 0).all()), "a scale is not above 0")
        if not arrays.keys() & {"lowest", "highest"}:
            return cls(mean, scale, *np.ones((2, len(mean)), dtype=np.bool_))
        ends = np.zeros((2, len(mean)), dtype=np.bool_)
        for end, key in zip(ends, _STEPS[2:], strict=True):
            at = arrays.get(key)
            good = at is not None and at.dtype == np.int64 and at.ndim == 1
            require(good, "the steps have no ends")
            assert at is not None
            known = bool(((at >= 0) & (at < len(mean))).all() and (np.diff(at) > 0).all())
            require(known, "a step that is an end is unknown")
            end[at] = True
        begins, over = np.append(ends[0], True), np.append(True, ends[1])
        require(bool((begins == over).all()), "steps begin before others end")
        return cls(mean, scale, *ends)


@dataclass(frozen=True, slots=True, eq=False)
class YeoJohnson:
    """The power transform of Yeo and Johnson (2000) between two z-scores.

    Its exponent lies strictly inside (0, 2), where it maps the whole line onto the whole line; the
    first z-score makes the exponent independent of the unit. With u the first z-score, a = log(1 +
    \\|u\\|) and q = exponent where u >= 0, else 2 - exponent: y = sign(u) (exp(q a) - 1) / q.
    """

    name: ClassVar[str] = "yeo-johnson"
    before: ZScore
    exponent: NDArray[np.float64]
    after: ZScore

    @classmethod
    def fit(cls, x: Matrix, bend: NDArray[np.bool_] | None = None) -> Self:
        """Choose each exponent by maximum likelihood on (at most 20,000 rows of) ``x`` [n, k].

        Columns that ``bend`` [k] leaves out have an exponent of 1, which changes nothing.
        """
        before = ZScore.fit(x)
        u = before.forward(x)
        exponent = _likeliest_exponents(spread_rows(u, _EXPONENT_ROWS))
        if bend is not None:
            exponent[~bend] = 1.0
        return cls(before, exponent, ZScore.fit(_bend(u, exponent)))

    def forward(self, x: Matrix) -> Matrix:
        """Encode raw values [n, k]."""
        return self.after.forward(_bend(self.before.forward(x), self.exponent))

    def inverse(self, y: Matrix) -> Matrix:
        """Return the raw values of encoded ones [n, k]."""
        bent = self.after.inverse(y)
        q = np.where(bent < 0, 2 - self.exponent, self.exponent)
        a = np.minimum(np.log1p(q * np.abs(bent)) / q, _LARGEST_LOGARITHM)
        return self.before.inverse(np.copysign(np.expm1(a), bent))

    def log_slope(self, x: Matrix) -> Matrix:
        """Return log of the derivative of :meth:`forward` at raw values [n, k]."""
        u = self.before.forward(x)
        bend = np.where(u < 0, 1 - self.exponent, self.exponent - 1) * np.log1p(np.abs(u))
        return bend + self.before.log_slope(x) + self.after.log_slope(x)

    @property
    def width(self) -> int:
        """Number of columns k."""
        return len(self.exponent)

    @property
    def kinds(self) -> list[str]:
        """The transform of each column."""
        return [self.name] * self.width

    def taken(self, columns: NDArray[np.int64]) -> YeoJohnson:
        """Return the transform of these columns alone."""
        before, after = (
            ZScore(part.mean[columns], part.scale[columns]) for part in (self.before, self.after)
        )
        return YeoJohnson(before, self.exponent[columns], after)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`from_state` rebuilds the transform from."""
        before = {f"before_{key}": value for key, value in self.before.state().items()}
        after = {f"after_{key}": value for key, value in self.after.state().items()}
        return {**before, "exponent": self.exponent, **after}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the transform; raise BundleError on nonsense."""
        before, after = (
            ZScore.from_state(
                {key: arrays.get(f"{side}_{key}", _NOTHING) for key in ("mean", "scale")}
            )
            for side in ("before", "after")
        )
        exponent = column_array(arrays, "exponent")
        same = len(before.mean) == len(exponent) == len(after.mean)
        require(same and bool(((exponent > 0) & (exponent < 2)).all()), "an exponent is amiss")
        return cls(before, exponent, after)


_HALF_WAY = 0.5
_STEPS = ("mean", "scale", "lowest", "highest")
_NOTHING = np.empty(0)
_EXPONENT_ROWS = 20_000
_EXPONENT_MARGIN = 1e-9  # inside (0, 2) the formula needs no special case and maps onto the line
_EXPONENT_GRID = 33
_GOLDEN_STEPS = 24
_LARGEST_LOGARITHM = 600.0
_REACH = 1e299


def _bend(u: Matrix, exponent: Matrix) -> Matrix:
    q = np.where(u < 0, 2 - exponent, exponent)
    with np.errstate(over="ignore"):  # infinity is clipped by the encoder
        return np.asarray(np.copysign(np.expm1(q * np.log1p(np.abs(u))) / q, u))


def _likeliest_exponents(u: Matrix) -> NDArray[np.float64]:
    """Maximise the profile likelihood: a grid against several maxima, then golden sections."""
    grid = np.linspace(_EXPONENT_MARGIN, 2 - _EXPONENT_MARGIN, _EXPONENT_GRID)
    heights = np.array([_log_likelihood(u, np.full(u.shape[1], value)) for value in grid])
    best = grid[heights.argmax(axis=0)]
    low = np.maximum(best - (grid[1] - grid[0]), grid[0])
    high = np.minimum(best + (grid[1] - grid[0]), grid[-1])
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_GOLDEN_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        falls = _log_likelihood(u, left) > _log_likelihood(u, right)
        low, high = np.where(falls, low, left), np.where(falls, right, high)
    return np.asarray((low + high) / 2)


def _log_likelihood(u: Matrix, exponent: Matrix) -> NDArray[np.float64]:
    spread = np.nanstd(_bend(u, exponent), axis=0)
    bend = np.nanmean(np.copysign(np.log1p(np.abs(u)), u), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = (exponent - 1) * bend - np.log(spread)
    return np.asarray(np.where(np.isfinite(height), height, -np.inf))


def present(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of a column that are not missing."""
    return column[~np.isnan(column)]


def within_reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with those beyond 1e299 moved there, so that differences are finite."""
    return np.clip(values, -_REACH, _REACH)


def moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and population SD at any scale: the values are first scaled by a power of 2."""
    exponent = int(np.frexp(np.abs(values).max(initial=0.0))[1])
    unit = np.ldexp(values, -exponent)
    mean = unit.mean()
    mean += (unit - mean).mean()  # a second pass takes out what rounding left
    sd = np.sqrt(np.mean((unit - mean) ** 2))
    return float(np.ldexp(mean, exponent)), float(np.ldexp(sd, exponent))


def spread_rows(x: Matrix, most: int) -> Matrix:
    """Return at most ``most`` rows, evenly spread."""
    if len(x) <= most:
        return x
    return x[np.linspace(0, len(x) - 1, most).astype(np.int64)]


def column_array(arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[np.float64]:
    """Return a finite float64 vector of a bundle; raise BundleError if it is anything else."""
    array = arrays.get(key)
    good = array is not None and array.dtype == np.float64 and array.ndim == 1
    require(good and bool(np.isfinite(array).all()), f"array {key!r} is missing or amiss")  # type: ignore[arg-type]
    assert array is not None
    return array


def require(fact: bool, complaint: str) -> None:
    """Raise BundleError unless the fact holds."""
    if not fact:
        msg = f"The encoder of the bundle is damaged: {complaint}."
        raise BundleError(msg)
