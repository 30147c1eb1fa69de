"""The alert line and the tail probability, both measured on held-out normal records.

A fresh normal record passes the i-th smallest of n held-out scores with probability
(n + 1 - i) / (n + 1), whatever the law of the scores: these are the points of the empirical tail.
Between them the logarithm of the probability is linear; beyond the last ten of them a generalised
Pareto law goes on, because ten records say too little one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import betaincinv

from vaeiso_monitor.detect.pareto import Pareto, fit_pareto
from vaeiso_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

Severity = Literal["warning", "critical"]

# Ten expected exceedances: the alert rate is then known to about a third (1 / sqrt 10).
RESOLVING_EXCEEDANCES = 10
# Score 2 is a tail probability of the budget squared: at a budget of 0.001, one normal record in a
# million. A day at 10 records a second brings 860 warnings by chance alone, but not one critical.
CRITICAL_SCORE = 2.0

_LOG_FLOOR = math.log(1e-300)
_MAX_KNOTS = 4096
_TOP_KNOTS = 1024
_MAX_BUDGET = 0.5
_MAX_NATS = 1e100


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """The alert line of one model, and how improbable a score is among normal records.

    ``nats`` is the line itself: a record is anomalous unless its score is at or under it, so that a
    score that is not a number is an anomaly. ``resolved`` is False where the held-out sample is too
    small for ``budget`` and the line comes from the Pareto tail; ``note`` then says so in words,
    and is empty otherwise.
    ``records`` held-out records were used. ``knots`` [k] are scores in rising order and
    ``log_tail`` [k] the logarithms of their tail probabilities; ``tail`` goes on from the last.
    """

    nats: float
    budget: float
    resolved: bool
    note: str
    records: int
    knots: NDArray[np.float64]
    log_tail: NDArray[np.float64]
    tail: Pareto

    def __post_init__(self) -> None:
        if not 0 < self.budget <= _MAX_BUDGET:
            msg = f"alert_budget must be above 0 and at most {_MAX_BUDGET}, not {self.budget}"
            raise ValueError(msg)
        if not math.isfinite(self.nats):
            msg = "nats, the threshold, must be a finite number"
            raise ValueError(msg)
        _require_curve(self.knots, self.log_tail)

    @property
    def expected_rate(self) -> float:
        """Share of normal records above the line, on average over fresh samples (the budget)."""
        return self.budget

    @property
    def rate_interval(self) -> tuple[float, float]:
        """The 95 % interval of the true alert rate that so many held-out records leave open."""
        above = self.budget * (self.records + 1)
        low, high = betaincinv(above, self.records + 1 - above, [0.025, 0.975])
        return float(low), float(high)

    def anomalous(self, nats: ArrayLike) -> NDArray[np.bool_]:
        """Return for each score whether it is over the line; what is not a number is."""
        return np.asarray(~(np.asarray(nats, dtype=np.float64) <= self.nats))

    def anomaly_score(self, nats: ArrayLike) -> NDArray[np.float64]:
        """Return ln(tail probability) / ln(budget) [B]: 1.0 exactly at the line, above it more.

        It grows with the score without bound; NaN and infinity give infinity.
        """
        scores = np.asarray(nats, dtype=np.float64)
        result = self._log_tail_probability(scores) / math.log(self.budget)
        # Rounding must not put a record on the other side of the line than ``anomalous`` does.
        result = np.where(scores < self.nats, np.minimum(result, 1.0), result)
        result = np.where(scores > self.nats, np.maximum(result, np.nextafter(1.0, 2.0)), result)
        return np.where(scores == self.nats, 1.0, result)

    def tail_probability(self, nats: ArrayLike) -> NDArray[np.float64]:
        """Return the probability [B] that a normal record scores higher.

        It never falls below 1e-300 for a finite score; NaN and infinity give 0.0.
        """
        scores = np.asarray(nats, dtype=np.float64)
        log_tail = np.maximum(self._log_tail_probability(scores), _LOG_FLOOR)
        result = np.exp(log_tail)
        result = np.where(scores < self.nats, np.maximum(result, self.budget), result)
        below = np.nextafter(self.budget, 0.0)
        result = np.where(scores > self.nats, np.minimum(result, below), result)
        result = np.where(scores == self.nats, self.budget, result)
        return np.where(np.isnan(scores) | np.isposinf(scores), 0.0, result)

    def _log_tail_probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        knots, log_tail = self.knots, self.log_tail
        left = np.clip(np.searchsorted(knots, scores, side="right") - 1, 0, len(knots) - 1)
        right = np.minimum(left + 1, len(knots) - 1)
        lower, upper, high, low = knots[left], knots[right], log_tail[left], log_tail[right]
        beyond, below = scores >= knots[-1], scores < knots[0]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            share = (scores - lower) / (upper - lower)
            result = np.asarray(np.clip(high + share * (low - high), low, high))
            result[beyond] = log_tail[-1] + self.tail.log_survival(scores[beyond] - knots[-1])
            result[below] = self._log_under(knots[0] - scores[below])
        return np.where(np.isnan(scores), -np.inf, result)

    def _log_under(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log tail under the smallest knot: it rises to 0 but does not reach it."""
        first = self.log_tail[0]
        rising = np.log1p(np.expm1(first) / (1 + distance / self.tail.scale))
        return np.asarray(np.maximum(rising, first))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Return what a bundle stores: a JSON-able dict and named arrays."""
        meta = {
            "nats": self.nats,
            "budget": self.budget,
            "resolved": self.resolved,
            "note": self.note,
            "records": self.records,
            "tail": {"scale": self.tail.scale, "shape": self.tail.shape},
        }
        return meta, {"knots": self.knots, "log_tail": self.log_tail}

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]
    ) -> Threshold:
        """Rebuild from :meth:`state`; raise BundleError if the parts do not make a threshold."""
        try:
            return cls(
                nats=float(meta["nats"]),
                budget=float(meta["budget"]),
                resolved=bool(meta["resolved"]),
                note=str(meta["note"]),
                records=int(meta["records"]),
                knots=np.asarray(arrays["knots"], dtype=np.float64),
                log_tail=np.asarray(arrays["log_tail"], dtype=np.float64),
                tail=Pareto(float(meta["tail"]["scale"]), float(meta["tail"]["shape"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the stored threshold is damaged: {error}"
            raise BundleError(msg) from error


def calibrate(held_out_nats: ArrayLike, alert_budget: float) -> Threshold:
    """Draw the alert line so that a share ``alert_budget`` of fresh normal records passes it.

    ``held_out_nats`` [h] are scores of normal records that the model was not trained on, two at
    least. Equal scores count as one point with the probability of reaching it, so that many equal
    scores never alert together. Raises ValueError for scores that are not finite.
    """
    nats = np.sort(np.asarray(held_out_nats, dtype=np.float64).ravel())
    _require_sample(nats, alert_budget)
    knots, log_tail, tail = _tail_curve(nats)
    log_budget = math.log(alert_budget)
    resolved = log_budget >= log_tail[-1]
    if resolved:
        line = float(np.interp(log_budget, log_tail[::-1], knots[::-1]))
    else:
        line = float(knots[-1] + tail.excess(log_budget - float(log_tail[-1])))
    enough = alert_budget * (len(nats) + 1) >= RESOLVING_EXCEEDANCES
    note = _note(len(nats), alert_budget, enough=enough)
    return Threshold(line, alert_budget, enough, note, len(nats), knots, log_tail, tail)


def severity(anomaly_score: float) -> Severity:
    """Name how urgent one anomaly is; a score that is not a number is critical."""
    return "warning" if anomaly_score < CRITICAL_SCORE else "critical"


def critical(anomaly_scores: ArrayLike) -> NDArray[np.bool_]:
    """Return for each anomaly score [B] whether its severity is critical."""
    return np.asarray(~(np.asarray(anomaly_scores, dtype=np.float64) < CRITICAL_SCORE))


def _require_sample(nats: NDArray[np.float64], alert_budget: float) -> None:
    if not 0 < alert_budget <= _MAX_BUDGET:
        msg = f"alert_budget must be above 0 and at most {_MAX_BUDGET}, not {alert_budget}"
        raise ValueError(msg)
    if len(nats) < 2:
        msg = f"held_out_nats has {len(nats)} scores, and a threshold needs 2 at least"
        raise ValueError(msg)
    bad = int((~(np.abs(nats) <= _MAX_NATS)).sum())
    if bad:
        msg = f"held_out_nats has {bad} scores that are not finite: the model cannot be used"
        raise ValueError(msg)


def _require_curve(knots: NDArray[np.float64], log_tail: NDArray[np.float64]) -> None:
    if knots.ndim != 1 or knots.shape != log_tail.shape or len(knots) == 0:
        msg = "knots and log_tail must be rows of the same length"
        raise ValueError(msg)
    rising, falling = bool((np.diff(knots) > 0).all()), bool((np.diff(log_tail) < 0).all())
    if not (rising and falling and log_tail[0] < 0 and np.isfinite([knots, log_tail]).all()):
        msg = "knots must rise and log_tail must fall, both finite and log_tail below 0"
        raise ValueError(msg)


def _tail_curve(
    nats: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], Pareto]:
    """Return the empirical tail of sorted scores up to its last sure point, and what follows it."""
    total = len(nats)
    knots, first = np.unique(nats, return_index=True)
    at_or_above = total - first
    sure = int(np.flatnonzero(at_or_above >= min(RESOLVING_EXCEEDANCES, total))[-1])
    chosen = _thinned(sure + 1)
    level = knots[np.flatnonzero(at_or_above >= min(_tail_records(total), total))[-1]]
    tail = fit_pareto(nats[nats > level] - level).beyond(max(float(knots[sure] - level), 0.0))
    return knots[chosen], np.log(at_or_above[chosen] / (total + 1)), tail


def _tail_records(total: int) -> int:
    """Return how many of the highest scores shape the Pareto tail (as in Vehtari et al. 2024)."""
    return max(RESOLVING_EXCEEDANCES, math.ceil(min(0.2 * total, 3 * math.sqrt(total))))


def _thinned(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` points are kept: all of the highest, the rest at even steps."""
    if count <= _MAX_KNOTS:
        return np.arange(count)
    steps = np.linspace(0, count - _TOP_KNOTS - 1, _MAX_KNOTS - _TOP_KNOTS).round().astype(np.int64)
    return np.concatenate([steps, np.arange(count - _TOP_KNOTS, count)])


def _note(total: int, budget: float, *, enough: bool) -> str:
    if enough:
        return ""
    needed = math.ceil(RESOLVING_EXCEEDANCES / budget) - 1
    return (
        f"{total:,} held-out records are too few to measure an alert budget of {budget:g}: only "
        f"{budget * total:.2g} of them are expected above the threshold, which was extrapolated "
        f"from the tail of their scores. {needed:,} held-out records would settle it."
    )
