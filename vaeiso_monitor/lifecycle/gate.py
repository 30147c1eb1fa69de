"""The gate: a candidate serves only if it is no worse than the champion where it matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from scipy.special import bdtrc

from vaeiso_monitor.bundle import Bundle, BundleScorer
from vaeiso_monitor.detect import CRITICAL_SCORE
from vaeiso_monitor.lifecycle.gate_pair import Pair, interval, knows, remembered
from vaeiso_monitor.lifecycle.gate_verdict import Check, GateVerdict
from vaeiso_monitor.model import isometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.types import Records

_DOUBT = 0.01  # a rate is above its limit when chance explains it less often than this
_ISOMETRY_ROWS = 500
_ISOMETRY_SLACK, _ISOMETRY_FLOOR = 1.25, 0.05  # what chance does from training to training
_FEWEST_FINDS = 5
_KNOWN = {"agreement": "critical_alerts", "earlier_alerts": "critical_earlier_alerts"}
_WAIVED = frozenset({"nats", "agreement", "reference"})  # they hold a candidate to the old regime


@dataclass(frozen=True, slots=True)
class GateConfig:
    """What a candidate must show before it serves.

    Of the recent normal records a share ``held_out_share``, at most ``max_records``, is kept from
    the training for the gate, which says no where they are fewer than ``min_records``. ``nats``
    per record must not be higher than the champion's, nor, in an interval of ``confidence``, be
    possibly higher by more than ``max_worse_nats``. The alert rate may be ``max_rate_factor`` times
    the budget, and ``max_reference_rate`` among the champion's own reference records.
    ``min_agreement`` is the share of the champion's latest critical alerts to be found still.
    """

    held_out_share: Annotated[float, Gt(0), Le(0.5)] = 0.2
    max_records: Annotated[int, Ge(50)] = 5000
    min_records: Annotated[int, Ge(10)] = 100
    max_worse_nats: Annotated[float, Ge(0)] = 0.1
    confidence: Annotated[float, Gt(0.5), Le(0.999)] = 0.95
    max_rate_factor: Annotated[float, Ge(1)] = 2.0
    max_reference_rate: Annotated[float, Gt(0), Le(1)] = 0.05
    min_agreement: Annotated[float, Ge(0), Le(1)] = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The records that a candidate is judged on; it was trained on none of them.

    ``recent`` are normal (all kinds, if a regime is adopted), in the order they came. ``alerted``
    raised alerts lately, ``earlier`` did so before the regime that is to be adopted. ``unfiltered``
    is a sample of everything. ``over_line`` of the records that it learned from alerted once. What
    was seen before ``oldest`` (Unix seconds) nobody can have learned from. A regime that is adopted
    began at ``adopt_since``.
    """

    recent: Records
    alerted: Records
    unfiltered: Records
    earlier: Records | None = None
    over_line: int = 0
    oldest: float | None = None
    adopt_since: float | None = None


class Gate:
    """Judges candidates; given the same bundles and records it always says the same."""

    def __init__(
        self,
        config: GateConfig,
        device: torch.device,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._device = device
        self._clock = clock

    def judge(
        self, champion: Bundle, candidate: Bundle, evidence: Evidence, *, adopt: bool = False
    ) -> GateVerdict:
        """Compare ``candidate`` with ``champion``; with ``adopt`` the old regime does not count."""
        checks = list(self._checks(champion, candidate, evidence, adopt))
        if adopt:
            waived = _WAIVED - {"nats"} if knows(champion, evidence.adopt_since) else _WAIVED
            checks = [_waived(check) if check.name in waived else check for check in checks]
        judged_at, over = self._clock(), evidence.over_line
        return GateVerdict(candidate.version, champion.version, judged_at, adopt, checks, over)

    def normal(self, bundle: Bundle, records: Records) -> NDArray[np.bool_]:
        """Return which of some records [n] a bundle finds normal."""
        with self._scorer(bundle) as scorer:
            nats = scorer.score(bundle.encoder.encode(records))
        return ~bundle.threshold.anomalous(nats)

    def _checks(
        self, champion: Bundle, candidate: Bundle, evidence: Evidence, adopt: bool
    ) -> Iterator[Check]:
        difference = champion.differs_from(candidate.schema)
        yield Check("schema", difference is None, difference or "the columns are the same")
        if difference is not None:
            return
        with self._scorer(champion) as old, self._scorer(candidate) as new:
            recent = Pair(champion, candidate, old, new, evidence.recent)
            finite = _finite(candidate, recent)
            yield finite
            if not finite.passed or len(recent.records) < self._config.min_records:
                if finite.passed:
                    yield self._too_few(len(recent.records))
                return
            yield self._nats(recent)
            sample = Pair(champion, candidate, old, new, evidence.unfiltered)
            yield self._alert_rate(recent, sample, adopt)
            yield self._agreement(Pair(champion, candidate, old, new, evidence.alerted))
            if adopt and evidence.earlier is not None:
                pair = Pair(champion, candidate, old, new, evidence.earlier)
                yield self._agreement(pair, "earlier_alerts")
            reference = remembered(champion, evidence.oldest)
            if reference is not None and len(reference):
                yield self._reference(Pair(champion, candidate, old, new, reference))
        yield _isometry(champion, candidate, evidence.recent)

    @contextmanager
    def _scorer(self, bundle: Bundle) -> Iterator[BundleScorer]:
        scorer = BundleScorer.of(bundle, self._device)
        try:
            yield scorer
        finally:
            scorer.close()

    def _too_few(self, count: int) -> Check:
        words = (
            f"{count} recent records are too few to compare on (gate.min_records = "
            f"{self._config.min_records})"
        )
        return Check("records", passed=False, words=words, figures={"records": count})

    def _nats(self, pair: Pair) -> Check:
        worse = pair.worse_nats()
        low, high = interval(worse, self._config.confidence)
        mean = float(worse.mean())
        words = (
            f"{abs(mean):.3f} nats per record {'worse' if mean > 0 else 'better'} than the "
            f"champion on {len(worse):,} records it had not seen ({low:+.3f} to {high:+.3f})"
        )
        figures = {
            "nats_difference": mean,
            "nats_difference_low": low,
            "nats_difference_high": high,
        }
        passed = mean <= 0 and high <= self._config.max_worse_nats
        return Check("nats", passed, words, {**figures, "records": len(worse)})

    def _alert_rate(self, recent: Pair, sample: Pair, adopt: bool) -> Check:
        budget, count, found = (
            recent.candidate.threshold.budget,
            len(recent.records),
            recent.new_alerts,
        )
        # where the champion alerts on more than is wanted, no more than that is an improvement; a
        # regime that is adopted holds true anomalies as well
        usual = (0.5 if adopt else 1.0) * recent.old_alerts / count
        limit = max(min(self._config.max_rate_factor * budget, 1.0), usual)
        passed = bool(bdtrc(found - 1, count, limit) >= _DOUBT)
        words = (
            f"it alerts on {found:,} of {count:,} recent records ({found / count:.2%}, at most "
            f"{limit:.2%} are wanted)"
        )
        figures = {"alert_rate": found / count, "alert_rate_limit": limit}
        if len(sample.records):
            figures["unfiltered_alert_rate"] = sample.new_alerts / len(sample.records)
            figures["champion_unfiltered_alert_rate"] = sample.old_alerts / len(sample.records)
        return Check("alert_rate", passed, words, figures)

    def _agreement(self, pair: Pair, name: str = "agreement") -> Check:
        critical = ~(pair.champion.threshold.anomaly_score(pair.old) < CRITICAL_SCORE)
        known, found = int(critical.sum()), int((critical & pair.new_anomalous).sum())
        if known < _FEWEST_FINDS:
            words = f"only {known} critical alerts to look for: nothing to hold against it"
            return Check(name, passed=True, words=words, figures={_KNOWN[name]: known})
        share = found / known
        when = "latest" if name == "agreement" else "earlier"
        words = f"it finds {found:,} of the champion's {when} {known:,} critical alerts"
        figures = {name: share, _KNOWN[name]: known}
        return Check(name, share >= self._config.min_agreement, words, figures)

    def _reference(self, pair: Pair) -> Check:
        count, found = len(pair.records), pair.new_alerts
        limit = max(self._config.max_reference_rate, pair.candidate.threshold.budget)
        words = (
            f"it alerts on {found:,} of {count:,} records that the champion was measured on "
            f"(at most {limit:.1%} are wanted)"
        )
        figures = {
            "reference_alert_rate": found / count,
            "reference_nats_difference": float(pair.worse_nats().mean()),
        }
        return Check("reference", bool(bdtrc(found - 1, count, limit) >= _DOUBT), words, figures)


def _finite(candidate: Bundle, recent: Pair) -> Check:
    weights = bool(torch.isfinite(candidate.model.weights).all())
    wrong = int((~np.isfinite(recent.new)).sum())
    words = "its weights and its scores are finite"
    if not weights:
        words = "its weights hold values that are not finite"
    elif wrong:
        words = f"its scores of {wrong:,} recent records are not finite"
    return Check("finite", weights and not wrong, words, {"scores_not_finite": wrong})


def _isometry(champion: Bundle, candidate: Bundle, recent: Records) -> Check:
    table = isometry(candidate.model, candidate.encoder.encode(recent), max_records=_ISOMETRY_ROWS)
    figures = {
        "norm_error": table.norm_error,
        "orthogonality_error": table.orthogonality_error,
        "meaningful_latents": sum(latent.meaningful for latent in table.latents),
    }
    before = champion.summary.get("isometry", {})
    as_good = figures["meaningful_latents"] > 0 and all(
        figures[name] <= _ISOMETRY_SLACK * before.get(name, 0.0) + _ISOMETRY_FLOOR
        for name in ("norm_error", "orthogonality_error")
    )
    words = table.verdict
    if as_good and not table.healthy:
        words = f"its isometry is no worse than the champion's: {words}"
    return Check("isometry", table.healthy or as_good, words.rstrip("."), figures)


def _waived(check: Check) -> Check:
    return Check(check.name, check.passed, check.words, check.figures, waived=True)
