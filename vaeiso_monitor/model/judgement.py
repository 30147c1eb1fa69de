"""How members are judged on held-out records: robustly, and no finer than the data resolve.

The winner is the coarsest member that is not worse than the best beyond chance, within one standard
error of the paired difference (the rule of one SE: Breiman, Friedman, Olshen and Stone, 1984). What
held-out nats cannot tell they shall not decide: the finer of two equal models only follows more
closely what training happened to show.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_ROWS = 20_000
_TERMS = 400  # of the sum over the lattice, to either side
_REACH = 4.0  # kernel widths that the sum must cover


def trimmed_mean(nats: Tensor, worst_share: float = 0.01) -> Tensor:
    """Return the mean of nats [M, N] without the worst of a hundred, or another share: [M].

    Outliers among held-out records cost 1/beta times their squared distance: a plain mean would
    let a handful of them, which will alert under any model, choose the model for all others.
    """
    kept = max(1, len(nats[0]) - math.ceil(worst_share * len(nats[0])))
    worst_last = nats.nan_to_num(nan=math.inf).sort(dim=1).values
    return worst_last[:, :kept].mean(1)


def resolutions(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return for each column of records [N, m] the step from a typical value to the next: [m].

    It is the geometric mean, over records, of the distance to the nearest other value that the
    column takes: about 0 for a measured number, 1 for counts, and in the end the gap of a truth.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _MOST_ROWS)).astype(np.int64)
    return np.array([_typical_step(column) for column in np.asarray(x[rows], np.float64).T])


def finer_than_data(beta: float, steps: NDArray[np.float64]) -> float:
    """Return the nats per record that a model with ``beta`` gains by being finer than its data.

    A density can be raised without end at values that repeat (counts, truths), and a smaller beta
    does so for nothing. What such a column tells is the probability of its step delta, and there
    the kernel exp(-d^2 / beta) sums to no less than 1 over the lattice of steps: the constant
    log(delta sum_k exp(-(k delta)^2 / beta)) takes the place of its limit, (1/2) log(pi beta).
    """
    k = np.arange(-_TERMS, _TERMS + 1)[:, None]
    coarse = steps[steps * _TERMS > _REACH * math.sqrt(beta)]
    if not len(coarse):
        return 0.0
    lattice = np.log(coarse * np.exp(-((k * coarse) ** 2) / beta).sum(0))
    return float((lattice - 0.5 * math.log(math.pi * beta)).sum())


def _typical_step(column: NDArray[np.float64]) -> float:
    values, counts = np.unique(column, return_counts=True)
    if len(values) < 2:
        return 0.0
    gaps = np.diff(values)
    nearest = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))
    return float(np.exp((counts * np.log(nearest)).sum() / counts.sum()))


def judged(
    nats: Tensor,
    betas: tuple[float, ...],
    steps: NDArray[np.float64],
    worst_share: float = 0.01,
) -> list[float]:
    """Return what decides between members with these held-out nats [M, N]: lower is better."""
    means = torch.Tensor.tolist(trimmed_mean(nats, worst_share))
    return [value + finer_than_data(beta, steps) for value, beta in zip(means, betas, strict=True)]


def coarsest(
    nats: Tensor,
    betas: tuple[float, ...],
    steps: NDArray[np.float64],
    worst_share: float = 0.01,
) -> int:
    """Return the winner by held-out nats [M, N]: the largest beta within one SE of the best."""
    values = judged(nats, betas, steps, worst_share)
    best = min(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i]))
    exact = nats.double().cpu().numpy()
    good = [best]
    for i, beta in enumerate(betas):
        gap, error = paired(exact[i], exact[best], worst_share)
        if gap + finer_than_data(beta, steps) - finer_than_data(betas[best], steps) <= error:
            good.append(i)
    return max(good, key=lambda i: betas[i])


def paired(
    nats: NDArray[np.float64], others: NDArray[np.float64], worst_share: float
) -> tuple[float, float]:
    """Return the mean of nats [N] less others [N], and its standard error.

    The worst share of records, bad under both, does not count. Nats that are not finite are worse
    than any others.
    """
    if not np.isfinite(nats).all():
        return math.inf, 0.0
    kept = max(1, len(nats) - math.ceil(worst_share * len(nats)))
    difference = (nats - others)[np.argsort(np.minimum(nats, others))[:kept]]
    return float(difference.mean()), float(difference.std() / math.sqrt(kept))
