"""The toy data of section 5.1: three sources of known density, along three axes of sixteen.

The paper names the variances 1/6, 2/3 and 8/3 and shows the shapes in a figure only. The three
chosen here differ in kind: s1 is logistic (heavy tails), s2 a shifted gamma of order 8 (skewed), s3
an even mixture of two normals (two peaks with a valley where the prior is densest). A source that
is no normal has E[sigma^-2] beta/2 above its variance, by the Poincare inequality: by 2, 3 and 5 %
for these, by 10 % for a uniform one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]

WIDTH = 16
VARIANCES = (1 / 6, 2 / 3, 8 / 3)
_GAMMA_ORDER = 8.0
_PEAK = 1.35  # where the two normals of s3 stand, in their own standard deviations


@dataclass(frozen=True, slots=True)
class ToyData:
    """Records x = sum_i s_i v_i [N, 16], the sources [N, 3], and p(x) = p(s1) p(s2) p(s3) [N]."""

    x: NDArray[np.float32]
    sources: Vector
    density: Vector


def toy_data(count: int, seed: int) -> ToyData:
    """Return ``count`` records, their sources and their density."""
    rng = np.random.default_rng(seed)
    units = (_logistic(rng, count), _gamma(rng, count), _two_peaks(rng, count))
    scales = [math.sqrt(variance) for variance in VARIANCES]
    sources = np.stack([unit * s for (unit, _), s in zip(units, scales, strict=True)], axis=1)
    density = np.prod([p / s for (_, p), s in zip(units, scales, strict=True)], axis=0)
    axes = np.linalg.qr(rng.normal(size=(WIDTH, len(VARIANCES))))[0]
    return ToyData((sources @ axes.T).astype(np.float32), sources, density)


def _logistic(rng: np.random.Generator, count: int) -> tuple[Vector, Vector]:
    scale = math.sqrt(3) / math.pi
    s = rng.logistic(0.0, scale, count)
    return s, stats.logistic.pdf(s, scale=scale)


def _gamma(rng: np.random.Generator, count: int) -> tuple[Vector, Vector]:
    root = math.sqrt(_GAMMA_ORDER)
    g = rng.gamma(_GAMMA_ORDER, size=count)
    return (g - _GAMMA_ORDER) / root, stats.gamma.pdf(g, _GAMMA_ORDER) * root


def _two_peaks(rng: np.random.Generator, count: int) -> tuple[Vector, Vector]:
    spread = math.sqrt(1 + _PEAK**2)
    u = rng.choice([-_PEAK, _PEAK], count) + rng.normal(size=count)
    pdf = 0.5 * (stats.norm.pdf(u, _PEAK) + stats.norm.pdf(u, -_PEAK))
    return u / spread, pdf * spread
