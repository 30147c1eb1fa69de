import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest

from vaeiso_monitor.detect import (
    CRITICAL_SCORE,
    Threshold,
    calibrate,
    critical,
    fit_pareto,
    severity,
)
from vaeiso_monitor.errors import BundleError

unhurried = settings(deadline=None, max_examples=60)
nats_values = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)
samples = arrays(np.float64, st.integers(2, 300), elements=nats_values)
budgets = st.floats(1e-6, 0.5)
scores = arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.floats(allow_nan=False, allow_infinity=False) | nats_values,
)


def normal_nats(rng, count):
    """Scores as a beta-VAE gives them: half a chi-square of the number of values."""
    return 20 + rng.chisquare(12, count) / 2


@unhurried
@given(samples, budgets, scores)
def test_a_higher_score_is_never_less_anomalous(sample, budget, batch):
    threshold = calibrate(sample, budget)
    batch = np.sort(batch)
    assert (np.diff(threshold.tail_probability(batch)) <= 0).all()
    assert (threshold.anomaly_score(batch[1:]) >= threshold.anomaly_score(batch[:-1])).all()


@unhurried
@given(samples, budgets)
def test_the_tail_falls_strictly_across_the_sample_and_beyond(sample, budget):
    threshold = calibrate(sample, budget)
    spread = max(float(np.ptp(sample)), threshold.tail.scale, 1e-3)
    grid = np.linspace(sample.min() - 3 * spread, sample.max() + 3 * spread, 200)
    tail = threshold.tail_probability(grid)
    assert (np.diff(threshold.anomaly_score(grid)) > 0).all() or _steep(threshold)
    assert (tail > 0).all()
    assert (tail <= 1).all()


def _steep(threshold):
    """Tell whether neighbouring points of the curve are too near for float64 to part them."""
    return bool(np.diff(threshold.knots).min(initial=1.0) < 1e-6 or threshold.tail.scale < 1e-6)


@unhurried
@given(samples, budgets, scores)
def test_flag_score_and_probability_agree_about_the_line(sample, budget, batch):
    threshold = calibrate(sample, budget)
    near = [np.nextafter(threshold.nats, -np.inf), threshold.nats]
    batch = np.concatenate([batch, sample, near, [np.nextafter(threshold.nats, np.inf)]])
    anomalous = threshold.anomalous(batch)
    assert (anomalous == ~(batch <= threshold.nats)).all()
    assert (anomalous == (threshold.anomaly_score(batch) > 1)).all()
    assert (anomalous == (threshold.tail_probability(batch) < budget)).all()


@unhurried
@given(samples, budgets)
def test_the_line_itself_scores_exactly_one(sample, budget):
    threshold = calibrate(sample, budget)
    assert threshold.anomaly_score(threshold.nats) == 1.0
    assert threshold.tail_probability(threshold.nats) == budget


@unhurried
@given(samples, budgets, scores)
def test_the_score_is_the_ratio_of_the_logarithms(sample, budget, batch):
    threshold = calibrate(sample, budget)
    tail = threshold.tail_probability(batch)
    clear = tail > 1e-299
    expected = np.log(tail[clear]) / math.log(budget)
    np.testing.assert_allclose(
        threshold.anomaly_score(batch)[clear], expected, rtol=1e-9, atol=1e-12
    )


@unhurried
@given(samples, budgets, scores)
def test_a_record_scores_the_same_alone_and_in_a_batch(sample, budget, batch):
    threshold = calibrate(sample, budget)
    together = threshold.anomaly_score(batch)
    alone = [float(threshold.anomaly_score(value)) for value in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-14)


@unhurried
@given(samples, budgets, scores)
def test_a_threshold_survives_its_state(sample, budget, batch):
    threshold = calibrate(sample, budget)
    again = Threshold.from_state(*threshold.state())
    assert (again.nats, again.note, again.resolved) == (
        threshold.nats,
        threshold.note,
        threshold.resolved,
    )
    np.testing.assert_array_equal(again.anomaly_score(batch), threshold.anomaly_score(batch))


@pytest.mark.parametrize("nats", [math.nan, math.inf])
def test_what_is_no_number_is_the_worst_anomaly(nats):
    threshold = calibrate([1.0, 2.0, 3.0], 0.1)
    assert threshold.anomalous(nats)
    assert threshold.tail_probability(nats) == 0.0
    assert threshold.anomaly_score(nats) == math.inf
    assert severity(float(threshold.anomaly_score(nats))) == "critical"


def test_minus_infinity_is_as_normal_as_can_be():
    threshold = calibrate([1.0, 2.0, 3.0], 0.1)
    assert not threshold.anomalous(-math.inf)
    assert threshold.tail_probability(-math.inf) == 1.0


@pytest.mark.parametrize(("records", "budget"), [(5_000, 0.01), (1_000, 0.1), (20_000, 0.001)])
def test_the_achieved_rate_is_the_budget_within_sampling_error(records, budget):
    rng = np.random.default_rng(7)
    rates = []
    for _ in range(30):
        threshold = calibrate(normal_nats(rng, records), budget)
        assert threshold.resolved
        rates.append(threshold.anomalous(normal_nats(rng, 20_000)).mean())
    low, high = threshold.rate_interval
    sd = math.sqrt(budget / records + budget / 20_000)
    assert np.mean(rates) == pytest.approx(budget, abs=4 * sd / math.sqrt(30))
    assert low < budget < high
    assert high - low == pytest.approx(4 * math.sqrt(budget / records), rel=0.2)


def test_the_rate_interval_holds_as_often_as_it_says():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        threshold = calibrate(rng.exponential(size=1_000), 0.02)
        low, high = threshold.rate_interval
        held += low <= math.exp(-threshold.nats) <= high
    assert 180 <= held <= 199


def test_an_extrapolated_line_is_of_the_right_order():
    rng = np.random.default_rng(11)
    rates = []
    for _ in range(40):
        threshold = calibrate(normal_nats(rng, 1_000), 0.001)
        assert not threshold.resolved
        rates.append(threshold.anomalous(normal_nats(rng, 50_000)).mean())
    assert 0.0003 < np.mean(rates) < 0.002


def test_tail_probabilities_of_fresh_normal_records_are_uniform():
    rng = np.random.default_rng(5)
    threshold = calibrate(normal_nats(rng, 200_000), 0.001)
    tail = threshold.tail_probability(normal_nats(rng, 5_000))
    assert kstest(tail, "uniform").pvalue > 0.001


def test_the_far_tail_follows_the_true_law():
    rng = np.random.default_rng(2)
    threshold = calibrate(rng.exponential(size=20_000), 0.001)
    # 14 nats of an exponential law: one record in 1.2 million, far beyond the sample.
    assert np.log(threshold.tail_probability(14.0)) == pytest.approx(-14, abs=3)


def test_a_small_sample_says_how_many_records_would_do():
    threshold = calibrate(np.arange(10.0), 0.001)
    assert not threshold.resolved
    assert threshold.nats > 9
    assert "10 held-out records are too few" in threshold.note
    assert "9,999 held-out records would settle it" in threshold.note
    settled = calibrate(np.arange(9_999.0), 0.001)
    assert settled.resolved
    assert settled.note == ""
    assert not calibrate(np.arange(9_998.0), 0.001).resolved


def test_equal_scores_never_alert_together():
    threshold = calibrate(np.full(1_000, 3.0), 0.01)
    assert not threshold.anomalous(3.0)
    assert threshold.anomalous(50.0)
    tied_top = calibrate(np.concatenate([np.arange(900.0), np.full(100, 1e3)]), 0.01)
    assert not tied_top.anomalous(1e3)


def test_thinning_a_large_sample_leaves_the_curve_as_it_is():
    rng = np.random.default_rng(1)
    sample = np.sort(rng.exponential(size=100_001))
    threshold = calibrate(sample, 0.001)
    assert len(threshold.knots) == 4096
    exact = (np.arange(100_001, 0, -1) / 100_002)[:-10]
    np.testing.assert_allclose(threshold.tail_probability(sample[:-10]), exact, rtol=1e-2)


@pytest.mark.parametrize("budget", [0.0, -0.1, 0.6, math.nan])
def test_a_senseless_budget_is_refused_by_name(budget):
    with pytest.raises(ValueError, match="alert_budget must be above 0"):
        calibrate([1.0, 2.0], budget)


def test_senseless_scores_are_refused():
    with pytest.raises(ValueError, match="1 scores that are not finite"):
        calibrate([1.0, math.nan, 2.0], 0.1)
    with pytest.raises(ValueError, match="needs 2 at least"):
        calibrate([1.0], 0.1)


@pytest.mark.parametrize(
    "damage",
    [
        {"meta": {"budget": 7}},
        {"meta": {"nats": math.nan}},
        {"meta": {"tail": {"scale": -1, "shape": 0}}},
        {"meta": {"tail": {"scale": 1, "shape": 2}}},
        {"meta": {"tail": None}},
        {"arrays": {"knots": np.array([2.0, 1.0, 3.0])}},
        {"arrays": {"knots": np.array([1.0])}},
        {"arrays": {"log_tail": np.array([0.5, 0.2, 0.1])}},
    ],
)
def test_a_damaged_state_is_a_bundle_error(damage):
    meta, stored = calibrate(np.arange(12.0), 0.1).state()
    meta = meta | damage.get("meta", {})
    stored = stored | damage.get("arrays", {})
    with pytest.raises(BundleError, match="threshold is damaged"):
        Threshold.from_state(meta, stored)


def test_critical_begins_at_the_budget_squared():
    assert severity(CRITICAL_SCORE) == "critical"
    assert severity(1.999) == "warning"
    assert critical([1.5, 2.0, math.nan]).tolist() == [False, True, True]
    rng = np.random.default_rng(4)
    threshold = calibrate(rng.exponential(size=50_000), 0.01)
    fresh = threshold.anomaly_score(rng.exponential(size=200_000))
    assert critical(fresh).mean() == pytest.approx(1e-4, rel=0.7)


@pytest.mark.parametrize("shape", [0.0, 0.3, 0.6])
def test_the_pareto_fit_finds_the_law(shape):
    rng = np.random.default_rng(9)
    uniform = rng.uniform(size=20_000)
    y = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    law = fit_pareto(2.5 * y)
    assert law.shape == pytest.approx(shape, abs=0.05)
    assert law.scale == pytest.approx(2.5, rel=0.05)
    assert law.excess(float(law.log_survival(7.0))) == pytest.approx(7.0)
    beyond = law.beyond(2.0)
    both = law.log_survival(2.0) + beyond.log_survival(3.0)
    assert both == pytest.approx(law.log_survival(5.0))


@unhurried
@given(arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 1e90)))
def test_the_pareto_fit_takes_any_excesses(excesses):
    law = fit_pareto(excesses)
    assert law.scale > 0
    assert 0 <= law.shape < 1
