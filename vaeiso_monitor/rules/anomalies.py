"""Rules about what was found: too many anomalies, too few, scores that move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaeiso_monitor.rules.rule import LeftOut, Rule
from vaeiso_monitor.rules.terms import ONE
from vaeiso_monitor.telemetry import catalogue as m

if TYPE_CHECKING:
    from vaeiso_monitor.rules.terms import Terms

_HALF = 0.5  # of the way to the alert line, on the scale of ln(tail probability)


def rules(t: Terms) -> Sequence[Rule | LeftOut]:
    """Return the rules of this group."""
    return (
        _many(t),
        _regime(t),
        _above_budget(t),
        _none(t),
        _scores(t),
    )


def _many(t: Terms) -> Rule:
    regime, budget = t.settings.regime, t.settings.threshold.alert_budget
    line = regime.line(budget)
    share = f"{t.rate(m.ANOMALIES, 300)}\n/ {ONE} {t.rate(m.RECORDS_SCORED, 300)}"
    return Rule(
        "HighAnomalyRate",
        "critical",
        f"{share}\n> {line:g}\nand {ONE} {t.rise(m.RECORDS_SCORED, 300)} >= {regime.min_records}",
        t.wait(120),
        "A storm of anomalies at {{ $labels.instance }}",
        "{{ $value | humanizePercentage }} of the records of the last five minutes are anomalies, "
        f"and the budget is {100 * budget:g}%. Something has happened in the plant, or to what is "
        "measured there.",
    )


def _regime(t: Terms) -> Rule:
    return Rule(
        "RegimeShift",
        "critical",
        f"{t.of(m.REGIME_SHIFT)} == 1",
        0,
        "Normal itself seems to have changed at {{ $labels.instance }}",
        "The alert rate has been far above the budget for so long that this is no single fault: "
        "either a lasting fault, or a new way of operation. A person decides which "
        f'(regime.on_regime_shift = "{t.settings.regime.on_regime_shift}").',
    )


def _above_budget(t: Terms) -> Rule:
    hours, factor = 6 * 3600, t.settings.gate.max_rate_factor
    share = f"{t.rate(m.ANOMALIES, hours)}\n/ {ONE} {t.rate(m.RECORDS_SCORED, hours)}"
    budget = f"sum by (job, instance) ({t.of(m.ALERT_BUDGET)})"
    return Rule(
        "AlertRateAboveBudget",
        "warning",
        f"{share}\n> {ONE} {factor:g} * {budget}\nand {ONE} {t.rise(m.ANOMALIES, hours)} > 20",
        t.wait(1800),
        "{{ $labels.instance }} raises more alerts than its budget allows",
        "{{ $value | humanizePercentage }} of the records of the last six hours are anomalies: "
        f"more than {factor:g} times the budget, which no new model would be let through with. "
        "Faults go on, or the model no longer fits.",
    )


def _none(t: Terms) -> Rule:
    day = 86400
    expected = (
        f"{t.rise(m.RECORDS_SCORED, day)} * {ONE} sum by (job, instance) ({t.of(m.ALERT_BUDGET)})"
    )
    return Rule(
        "AlertRateZeroTooLong",
        "warning",
        f"{expected} > 20\nand {ONE} ({t.rise(m.ANOMALIES, day)} == 0)",
        t.wait(3600),
        "{{ $labels.instance }} has found no anomaly for a day",
        "Among so many records the budget would let {{ $value | humanize }} normal ones alert, and "
        "not one did. The alert line is too high, or the values no longer change.",
    )


def _scores(t: Terms) -> Rule:
    """Return the rule about half-way scores: of normal records a share of sqrt(budget) has them.

    The anomaly score is ln(tail probability) / ln(budget), so a normal record scores above s with
    the probability budget ** s. More have a score above 1/2 long before the alert rate moves.
    """
    hour = 3600
    expected = math.sqrt(t.settings.threshold.alert_budget)
    more = min(3.0, (1 + expected) / (2 * expected))
    scored = t.rate(m.ANOMALY_SCORE, hour, "_count")
    low = t.rate(m.ANOMALY_SCORE, hour, "_bucket", le=f"{_HALF}")
    share = f"1 - {low}\n/ {ONE} {scored}"
    root = f"sum by (job, instance) ({t.of(m.ALERT_BUDGET)}) ^ 0.5"
    more_or_less = f"(({share}) > {ONE} {more:.3g} * {root})\nor (({share}) < {ONE} 0.2 * {root})"
    enough = f"{ONE} {t.rise(m.RECORDS_SCORED, hour)} * {ONE} {root} > 50"
    return Rule(
        "ScoreDistributionShift",
        "warning",
        f"({more_or_less})\nand {enough}",
        t.wait(3600),
        "The scores of {{ $labels.instance }} have moved",
        "{{ $value | humanizePercentage }} of the records of the last hour score more than half "
        f"way to the alert line; of normal records it is {expected:.2%}. The model no longer "
        "describes what comes in, whatever the alert rate says.",
    )
