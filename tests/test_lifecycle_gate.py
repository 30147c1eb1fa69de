"""The gate: what it lets through, and what it stops, with its figures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.plain import RECIPE, SCHEMA, documents, raw
from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.detector import train
from vaeiso_monitor.lifecycle import Evidence, Gate, GateConfig, GateVerdict
from vaeiso_monitor.lifecycle.gate_pair import remembered
from vaeiso_monitor.model import TrainingConfig
from vaeiso_monitor.records import Column, Decoder
from vaeiso_monitor.types import Records

DEVICE = torch.device("cpu")
DOUBTFUL = GateConfig(max_worse_nats=10.0)


def decoded(lines: list[bytes]) -> Records:
    records, rejects = Decoder(SCHEMA).decode(raw(list(lines)))
    assert not rejects
    return records


def fault(number: int) -> bytes:
    """Return a pressure that does not belong to the flow: far off, but not out of all reason."""
    rng = np.random.default_rng(number)
    record = {"id": number, "ts": 1_750_000_000 + number, "pump": "p0", "mode": "day"}
    values = {"flow": 300 + 20 * rng.standard_normal(), "pressure": 9 + 0.1 * rng.standard_normal()}
    return json.dumps(record | values | {"open": True}).encode()


FAULTS = [fault(number) for number in range(60)]
EVIDENCE = Evidence(
    recent=decoded(documents(600, seed=11)),
    alerted=decoded(FAULTS),
    unfiltered=decoded([*documents(300, seed=12), *FAULTS[:6]]),
)


def candidate(lines: list[bytes], seed: int = 2, steps: int = 400) -> Bundle:
    training = TrainingConfig(max_steps=steps, seed=seed)
    return train(decoded(lines), SCHEMA, replace(RECIPE, training=training))


def judged(
    champion: Bundle,
    other: Bundle,
    config: GateConfig | None = None,
    *,
    adopt: bool = False,
    evidence: Evidence = EVIDENCE,
) -> GateVerdict:
    gate = Gate(config or GateConfig(), DEVICE, clock=lambda: 1_800_000_000.0)
    return gate.judge(champion, other, evidence, adopt=adopt)


def failed(verdict: GateVerdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed and not check.waived}


@pytest.fixture(scope="module")
def better(bundle: Bundle) -> Bundle:
    return candidate(documents(1500, seed=5), steps=800)


def test_a_better_candidate_is_accepted_with_every_figure(bundle: Bundle, better: Bundle) -> None:
    verdict = judged(bundle, better)
    assert verdict.accepted, verdict.sentence
    assert verdict.figures["nats_difference"] <= 0
    assert verdict.figures["nats_difference_high"] <= 0.1
    assert verdict.figures["agreement"] == 1.0
    said = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert said["accepted"] is True
    assert said["judged_at"].startswith("2027-01-15")
    assert {check["name"] for check in said["checks"]} == {
        *("schema", "finite", "nats", "alert_rate", "agreement", "reference", "isometry")
    }
    assert judged(bundle, better) == verdict


def test_a_worse_one_is_told_by_how_much(bundle: Bundle, better: Bundle) -> None:
    worse = candidate(documents(200, seed=6), steps=10)
    verdict = judged(better, worse)
    assert "nats" in failed(verdict)
    assert verdict.figures["nats_difference_low"] > 0
    assert "nats per record worse than the champion" in verdict.sentence


def test_one_that_learned_the_faults_is_stopped_by_the_alerts_it_misses(bundle: Bundle) -> None:
    poisoned = candidate([*documents(1400, seed=5), *map(fault, range(1000, 1250))], steps=800)
    verdict = judged(bundle, poisoned, DOUBTFUL)
    assert "agreement" in failed(verdict), verdict.to_dict()
    assert verdict.figures["agreement"] < 0.5
    assert "critical alerts" in verdict.sentence


def test_weights_that_are_no_numbers_end_it_at_once(bundle: Bundle, better: Bundle) -> None:
    weights = better.model.weights.clone()
    weights[0, 3] = float("nan")
    model = better.model.with_weights(weights, better.model.betas)
    verdict = judged(bundle, replace(better, model=model))
    assert failed(verdict) == {"finite"}
    assert [check.name for check in verdict.checks] == ["schema", "finite"]
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_another_schema_ends_it_at_once(bundle: Bundle, better: Bundle) -> None:
    columns = (*SCHEMA.columns, Column("more"))
    verdict = judged(bundle, replace(better, schema=replace(SCHEMA, columns=columns)))
    assert failed(verdict) == {"schema"}


def test_one_that_forgot_is_stopped_by_the_champions_own_records(bundle: Bundle) -> None:
    slow = [line for line in documents(4000, seed=8) if json.loads(line)["flow"] < 270]
    verdict = judged(bundle, candidate(slow), DOUBTFUL)
    assert "reference" in failed(verdict)
    assert verdict.figures["reference_alert_rate"] > 0.3


def test_to_adopt_a_regime_the_old_one_does_not_count(bundle: Bundle) -> None:
    def shifted(seed: int) -> list[bytes]:
        moved = [json.loads(line) for line in documents(1200, seed=seed)]
        return [json.dumps(line | {"pressure": line["pressure"] + 4}).encode() for line in moved]

    fresh = decoded(shifted(21))
    evidence = Evidence(recent=fresh, alerted=fresh, unfiltered=fresh)
    learned = candidate(shifted(20), steps=800)
    assert failed(judged(bundle, learned, evidence=evidence)) & {"agreement", "reference"}
    verdict = judged(bundle, learned, adopt=True, evidence=evidence)
    assert verdict.accepted, verdict.sentence
    assert "waived to adopt a new regime: nats, agreement, reference" in verdict.sentence
    assert verdict.to_dict()["adopted"] is True


def test_an_alert_rate_above_the_budget_is_stopped(bundle: Bundle, better: Bundle) -> None:
    low = replace(better.threshold, nats=float(np.quantile(better.threshold.knots, 0.5)))
    verdict = judged(bundle, replace(better, threshold=low))
    assert "alert_rate" in failed(verdict)


def test_fewer_alerts_than_the_champions_are_an_improvement(bundle: Bundle, better: Bundle) -> None:
    """After a slow change the window holds records over the champion's line."""

    def lowered(given: Bundle, quantile: float) -> Bundle:
        line = float(np.quantile(given.threshold.knots, quantile))
        return replace(given, threshold=replace(given.threshold, nats=line))

    def rate(verdict: GateVerdict) -> bool:
        return next(check.passed for check in verdict.checks if check.name == "alert_rate")

    assert rate(judged(lowered(bundle, 0.5), lowered(better, 0.8)))
    assert not rate(judged(lowered(bundle, 0.8), lowered(better, 0.5)))


def test_the_verdict_says_how_many_records_were_over_the_line(
    bundle: Bundle, better: Bundle
) -> None:
    verdict = judged(bundle, better, evidence=replace(EVIDENCE, over_line=1234))
    assert verdict.sentence.endswith("; 1,234 of its records had lain over the alert line")
    assert verdict.to_dict()["over_line"] == 1234


def test_too_few_records_to_compare_on_are_no_ground_for_trust(
    bundle: Bundle, better: Bundle
) -> None:
    few = replace(EVIDENCE, recent=decoded(documents(20, seed=3)))
    verdict = judged(bundle, better, evidence=few)
    assert not verdict.accepted
    assert "gate.min_records" in verdict.sentence


def test_few_critical_alerts_hold_nothing_against_it(bundle: Bundle, better: Bundle) -> None:
    verdict = judged(bundle, better, evidence=replace(EVIDENCE, alerted=decoded(FAULTS[:2])))
    assert verdict.accepted
    assert "agreement" not in verdict.figures


def test_scores_are_compared_in_the_users_units(better: Bundle) -> None:
    """A quantile transform stretches the numbers, and its slope must be allowed for."""
    encoder = replace(RECIPE.encoder, transform="quantile")
    training = TrainingConfig(max_steps=800, seed=1)
    other = train(
        decoded(documents(1500)), SCHEMA, replace(RECIPE, encoder=encoder, training=training)
    )
    verdict = judged(better, other, DOUBTFUL)
    assert abs(verdict.figures["nats_difference"]) < 0.3


@pytest.mark.parametrize("change", [{"beta": 0.03}, {"distortion": "squared-error"}])
def test_the_price_of_categories_decides_nothing(better: Bundle, change: dict[str, object]) -> None:
    """Their cross-entropy is over beta: three times as much of it says nothing about a model."""
    recipe = replace(
        RECIPE,
        model=replace(RECIPE.model, **change),
        training=TrainingConfig(max_steps=800, seed=2),
    )
    other = train(decoded(documents(1500, seed=5)), SCHEMA, recipe)
    levels = [float(np.median(each.threshold.knots)) for each in (better, other)]
    assert abs(levels[0] - levels[1]) > 4
    verdict = judged(better, other, DOUBTFUL)
    assert abs(verdict.figures["nats_difference"]) < 2


def test_a_column_that_is_measured_by_one_and_counted_by_the_other_decides_nothing() -> None:
    """A number of two values is squared error in older bundles, and cross-entropy over beta now."""

    def switched(records: Records) -> Records:
        numbers = records.numbers.copy()
        numbers[:, 1] = np.where(np.random.default_rng(0).random(len(numbers)) < 0.4, 5.0, 2.0)
        return replace(records, numbers=numbers)

    lines = switched(decoded(documents(1500, seed=5)))
    measured, counted = (
        train(
            lines,
            SCHEMA,
            replace(
                RECIPE,
                model=replace(RECIPE.model, beta=0.03),
                encoder=replace(RECIPE.encoder, transform=transform),
                training=TrainingConfig(max_steps=800, seed=1),
            ),
        )
        for transform in ("z-score", "auto")
    )
    parts = {
        name: switched(getattr(EVIDENCE, name)) for name in ("recent", "alerted", "unfiltered")
    }
    verdict = judged(measured, counted, DOUBTFUL, evidence=replace(EVIDENCE, **parts))
    assert abs(verdict.figures["nats_difference"]) < 1


def test_reference_records_that_nobody_can_have_learned_do_not_count(bundle: Bundle) -> None:
    assert bundle.sample is not None
    ledger = {"seen_quantiles": [1000.0, 2000.0, 3000.0]}
    known = replace(bundle, summary={**bundle.summary, "training_set": ledger})
    count = len(bundle.sample)
    assert remembered(bundle, 2500.0) is bundle.sample
    assert remembered(known, None) is known.sample
    kept = remembered(known, 2500.0)
    assert kept is not None
    assert abs(len(kept) - count / 4) <= 1
    assert kept.numbers[-1].tolist() == bundle.sample.numbers[-1].tolist()
    forgotten = judged(known, known, evidence=replace(EVIDENCE, oldest=4000.0))
    assert "reference" not in {check.name for check in forgotten.checks}


def test_a_regime_that_the_champion_adopted_is_held_to_its_nats(bundle: Bundle) -> None:
    worse = candidate(documents(200, seed=6), steps=10)
    created = bundle.created.timestamp()
    adopted = {"adopted_since": "2026-01-01T00:00:00+00:00"}
    known = replace(bundle, summary={**bundle.summary, "training_set": adopted})
    for champion, since, held in (
        (bundle, created - 60, False),
        (known, created - 60, True),
        (known, created + 60, False),
    ):
        evidence = replace(EVIDENCE, adopt_since=since)
        verdict = judged(champion, worse, adopt=True, evidence=evidence)
        assert ("nats" in failed(verdict)) is held
