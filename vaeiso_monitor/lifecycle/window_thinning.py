"""How the window gives up rows: an equal share of every stretch of its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def level(rows: NDArray[np.float64], weights: NDArray[np.float64], budget: float) -> float:
    """Return the c with sum(min(rows, c * weights)) = budget; infinite where all rows fit.

    ``rows`` [s] are the rows of each stretch, ``weights`` [s] what it may have beside the others.
    """
    if rows.sum() <= budget:
        return float("inf")
    order = np.argsort(rows / weights)
    below = np.concatenate([[0.0], np.cumsum(rows[order])[:-1]])  # rows of stretches left alone
    above = np.cumsum(weights[order][::-1])[::-1]  # weights of those that are cut
    levels = (budget - below) / above
    first_cut = int(np.argmax(levels <= rows[order] / weights[order]))
    return max(float(levels[first_cut]), 0.0)


def survivors(
    shares: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], float]:
    """Choose ``count`` rows so that in the end each of their like had the same chance to be kept.

    ``shares`` [n] is the chance that each row had so far: one that came through a finer sieve is
    let through more readily now. Returns the chosen rows in their order, and the share they have
    now at most (priority sampling: the rows with the least ``uniform * share`` survive).
    """
    if count >= len(shares):
        return np.arange(len(shares), dtype=np.int64), 1.0
    if count <= 0:
        return np.empty(0, np.int64), 0.0
    priority = rng.random(len(shares)) * shares
    order = np.argpartition(priority, count)
    return np.sort(order[:count]).astype(np.int64), float(priority[order[count]])
