"""The generalised Pareto law of what lies beyond a high level (Pickands 1975)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# One nat is the natural unit where the sample says nothing: one nat further is e times rarer.
_UNIT = 1.0
_SMALL_SHAPE = 1e-6
_MAX_SHAPE = 0.9
_PRIOR_RECORDS = 10
# Excesses nearer to zero than this are rounding; a scale under it would overflow when divided by.
_SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Pareto:
    """Excesses y >= 0 with P(Y > y) = (1 + shape y / scale) ** (-1 / shape).

    ``shape`` is never negative: such a law would end at a finite point, and nothing that can still
    be scored may have probability zero. Shape 0 is the exponential law.
    """

    scale: float
    shape: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            msg = f"scale must be a positive number, not {self.scale}"
            raise ValueError(msg)
        if not 0 <= self.shape < 1:
            msg = f"shape must lie in [0, 1), not {self.shape}"
            raise ValueError(msg)

    def log_survival(self, excess: ArrayLike) -> NDArray[np.float64]:
        """Return log P(Y > excess), which keeps falling where the probability itself is 0.0."""
        with np.errstate(over="ignore"):
            ratio = np.asarray(excess, dtype=np.float64) / self.scale
            if self.shape < _SMALL_SHAPE:
                return -ratio
            return -np.log1p(self.shape * ratio) / self.shape

    def excess(self, log_survival: float) -> float:
        """Return the excess that is passed with probability ``exp(log_survival)``."""
        if self.shape < _SMALL_SHAPE:
            return -self.scale * log_survival
        return self.scale * math.expm1(-self.shape * log_survival) / self.shape

    def beyond(self, excess: float) -> Pareto:
        """Return the law of what is left beyond ``excess``: the same shape, a larger scale."""
        return Pareto(self.scale + self.shape * excess, self.shape)


def fit_pareto(excesses: NDArray[np.float64]) -> Pareto:
    """Fit a generalised Pareto law to excesses over a level.

    The shape is the quasi-posterior mean of Zhang and Stephens (Technometrics 51, 2009), which
    exists for every sample and is nearly as efficient as maximum likelihood. It is shrunk towards
    0, the shape of all light tails, with the weight of 10 records, and cut to [0, 0.9]; the scale
    is then the maximum-likelihood one for that shape. Too few distinct values give the exponential
    law of their mean, or of 1 nat if they are all zero.
    """
    positive = np.sort(excesses[excesses > 0])
    if len(positive) == 0:
        return Pareto(_UNIT, 0.0)
    unit = max(float(positive.mean()), _SMALLEST)
    if len(positive) < 5 or positive[0] == positive[-1]:
        return Pareto(unit, 0.0)
    scaled = np.maximum(positive / unit, _SMALLEST)
    weight = len(scaled) / (len(scaled) + _PRIOR_RECORDS)
    shape = min(max(_zhang_stephens(scaled) * weight, 0.0), _MAX_SHAPE)
    return Pareto(_likeliest_scale(scaled, shape) * unit, shape)


def _zhang_stephens(y: NDArray[np.float64]) -> float:
    """Return the shape of sorted positive excesses of mean 1 (their Eq. 8 and 9; theta = -b)."""
    count = len(y)
    points = 30 + math.isqrt(count)
    quartile = y[int(count / 4 + 0.5) - 1]
    steps = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    b = 1 / y[-1] + steps / (3 * quartile)
    b = np.where(b == 0, -1e-12, b)
    shapes = np.log1p(-b[:, None] * y).mean(axis=1)
    log_likelihood = count * (np.log(-b / shapes) - shapes - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    mean = float(weights @ b / weights.sum())
    return float(np.log1p(-mean * y).mean())


def _likeliest_scale(y: NDArray[np.float64], shape: float) -> float:
    """Return the scale where the likelihood of ``y`` given ``shape`` has its one maximum."""

    def slope(log_scale: float) -> float:
        return float(np.mean((1 + shape) * y / (math.exp(log_scale) + shape * y)) - 1)

    low, high = math.log(y[0]) - 1, math.log(y[-1]) + 1
    return math.exp(scipy.optimize.brentq(slope, low, high, xtol=1e-10))
