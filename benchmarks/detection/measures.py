"""How scores are judged: ranking, calibration, and differences on the same splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vaeiso_monitor.detect import Threshold
from vaeiso_monitor.experiments.anomaly.protocol import judge

BUDGETS = (0.1, 0.03, 0.01, 0.003)
MEASURES = ("auroc", "aupr", "f1")
FACTOR = 1.5  # between an alert rate and its budget is allowed ...
ENOUGH = 20  # ... where so many held-out records are expected above the line
_CONFIDENCE = 0.95
_ROUNDING = 1e-9


def measured(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], ratio: float
) -> dict[str, float]:
    """Return AUROC, AUPR and F1, the top ``ratio`` being flagged; NaN is the highest score."""
    judgement = judge(scores, truth, ratio)
    return {
        "auroc": judgement.auroc,
        "aupr": average_precision(scores, truth),
        "f1": judgement.f1,
        "precision": judgement.precision,
        "recall": judgement.recall,
    }


def average_precision(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the mean over the anomalies of the precision down to each, equal scores as one."""
    strange = -np.where(np.isnan(scores), np.inf, scores)
    levels, level = np.unique(strange, return_inverse=True)  # the strangest first
    found = np.bincount(level, weights=truth, minlength=len(levels))
    precision = found.cumsum() / np.bincount(level).cumsum()
    return float((found * precision).sum() / truth.sum())


def calibration(threshold: Threshold, nats: NDArray[np.float64]) -> dict[str, Any]:
    """Say how well the tail probabilities hold on the ``nats`` of unseen normal records.

    A line for any budget b is where the tail probability is b: one calibration gives all of them.
    ``ks_p`` tests the uniform law as if the held-out records had been without number;
    ``ks_p_finite`` allows for the chance that is in so few of them, as a test of two samples.
    """
    tail = threshold.tail_probability(nats)
    held_out, unseen = threshold.records, len(nats)
    found = stats.kstest(tail, "uniform")
    effective = held_out * unseen / (held_out + unseen)
    finite = stats.kstwobign.sf(math.sqrt(effective) * found.statistic)
    return {
        "held_out": held_out,
        "unseen": unseen,
        "rates": {f"{budget:g}": float((tail < budget).mean()) for budget in BUDGETS},
        "ks": float(found.statistic),
        "ks_p": float(found.pvalue),
        "ks_p_finite": float(finite),
        "tied": 1 - len(np.unique(nats)) / unseen,
    }


def within(ratio: float) -> bool:
    """Return whether an alert rate is near enough to its budget."""
    return bool(abs(math.log(max(ratio, 1e-300))) <= math.log(FACTOR) + _ROUNDING)


def measurable(budget: float, held_out: int) -> bool:
    """Return whether the held-out records are enough for a budget."""
    return budget * held_out >= ENOUGH


def chance_outside(budget: float, held_out: int, unseen: int) -> float:
    """Return how probably a perfect detector's rate is not near enough, by the draw alone."""
    above = budget * (held_out + 1)
    law = stats.betabinom(unseen, above, held_out + 1 - above)
    low, high = budget * unseen / FACTOR, budget * unseen * FACTOR
    below = math.ceil(low - _ROUNDING) - 1
    return float(law.cdf(below) + law.sf(math.floor(high + _ROUNDING)))


@dataclass(frozen=True, slots=True)
class Gap:
    """A mean difference and its 95 % interval (t); ``low`` and ``high`` need two seeds."""

    seeds: int
    mean: float
    low: float | None
    high: float | None
    variance: float | None  # of the mean


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Gap | None:
    """Return ours less theirs on the seeds that both have; None if there are none."""
    gaps = np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])
    if len(gaps) == 0:
        return None
    mean = float(gaps.mean())
    if len(gaps) == 1:
        return Gap(1, mean, None, None, None)
    variance = float(gaps.var(ddof=1)) / len(gaps)
    reach = _reach(variance, len(gaps) - 1)
    return Gap(len(gaps), mean, mean - reach, mean + reach, variance)


def pooled(gaps: Sequence[Gap]) -> Gap:
    """Return the mean over several sets, whose splits are independent (Welch-Satterthwaite)."""
    mean = float(np.mean([gap.mean for gap in gaps]))
    seeds = min(gap.seeds for gap in gaps)
    parts = [(gap.variance, gap.seeds - 1) for gap in gaps if gap.variance is not None]
    if len(parts) < len(gaps):
        return Gap(seeds, mean, None, None, None)
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    variance = total / len(gaps) ** 2
    reach = _reach(variance, total**2 / spread) if spread else 0.0
    return Gap(seeds, mean, mean - reach, mean + reach, variance)


def _reach(variance: float, freedom: float) -> float:
    return float(stats.t.ppf(0.5 + _CONFIDENCE / 2, freedom)) * math.sqrt(variance)
