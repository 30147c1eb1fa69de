"""How members are judged: without the worst records, and no finer than the data resolve."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.model import ModelConfig, TrainingConfig, fit, objective
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.judgement import (
    coarsest,
    finer_than_data,
    judged,
    paired,
    resolutions,
    trimmed_mean,
)


def nats(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_the_worst_of_a_hundred_does_not_count():
    values = torch.arange(100.0, dtype=torch.float64)
    values[7] = 1e9
    found = trimmed_mean(torch.stack([values, values + 5]))
    assert found.tolist() == pytest.approx([(99 * 100 / 2 - 7) / 99, (99 * 100 / 2 - 7) / 99 + 5])


@pytest.mark.parametrize(("count", "left_out"), [(2, 1), (50, 1), (100, 1), (101, 2), (1000, 10)])
def test_how_many_are_left_out(count, left_out):
    values = torch.zeros(1, count, dtype=torch.float64)
    values[0, :left_out] = 1e6
    assert trimmed_mean(values).item() == 0
    values[0, left_out] = 1.0
    assert trimmed_mean(values).item() == pytest.approx(1 / (count - left_out))


def test_a_single_record_counts():
    assert trimmed_mean(nats([3.0])).tolist() == [3.0]


def test_a_score_that_is_no_number_is_the_worst():
    assert trimmed_mean(nats([math.nan, 1.0, 2.0])).tolist() == [1.5]
    assert trimmed_mean(nats([math.nan, math.nan, 2.0])).item() > 1e100


@given(st.permutations(range(30)))
def test_the_order_of_records_does_not_matter(order):
    values = torch.linspace(-3, 9, 30, dtype=torch.float64)[None].square()
    assert trimmed_mean(values[:, order]).item() == pytest.approx(trimmed_mean(values).item())


# resolutions


def test_the_resolution_of_a_column():
    rng = np.random.default_rng(0)
    table = np.stack(
        [
            rng.normal(size=4000),
            0.25 * rng.integers(0, 30, 4000),
            np.where(rng.random(4000) < 0.01, 8.0, 0.0),
            np.full(4000, 3.0),
        ],
        axis=1,
    )
    found = resolutions(table.astype(np.float32))
    assert found[0] < 0.01
    assert found[1:] == pytest.approx([0.25, 8.0, 0.0])


def test_the_resolution_is_a_geometric_mean_over_records():
    column = np.array([0.0, 0.0, 1.0, 5.0])[:, None]  # nearest others: 1, 1, 1, 4
    assert resolutions(column) == pytest.approx([4**0.25])


def test_many_records_are_thinned():
    column = np.tile([0.0, 2.0, 0.0, 0.0, 2.0], 30_000)[:, None]
    assert resolutions(column) == pytest.approx([2.0])


# finer_than_data


@pytest.mark.parametrize("beta", [0.003, 0.1, 1.0, 30.0])
def test_measured_numbers_are_not_corrected(beta):
    for step in (0.0, 1e-12, 1e-3 * math.sqrt(beta), 0.2 * math.sqrt(beta)):
        assert finer_than_data(beta, np.array([step])) == pytest.approx(0, abs=1e-6)


def test_there_is_no_jump_where_the_sum_over_the_lattice_begins():
    beta = 0.01
    for step in np.geomspace(0.1, 10, 50) * 0.01 * math.sqrt(beta):
        assert finer_than_data(beta, np.array([step])) == pytest.approx(0, abs=1e-6)


@given(st.floats(0.1, 100), st.floats(1e-6, 1e-3))
def test_a_truth_gains_nothing_from_a_smaller_beta(step, share):
    """A value that is met exactly has (1/2) ln(pi beta) nats: with the correction ln step."""
    beta = share * step**2
    total = 0.5 * math.log(math.pi * beta) + finer_than_data(beta, np.array([step]))
    assert total == pytest.approx(math.log(step), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=5), st.floats(1e-4, 10))
def test_the_correction_is_none_or_a_cost_and_adds_up_over_columns(steps, beta):
    found = finer_than_data(beta, np.array(steps))
    assert found >= -1e-9
    assert found == pytest.approx(sum(finer_than_data(beta, np.array([s])) for s in steps))
    assert finer_than_data(beta / 2, np.array(steps)) >= found - 1e-9


def test_a_known_lattice():
    """On integers with the true Gaussian variance 1, the correction is the sum of theta_3."""
    beta = 2.0  # variance 1: sum_k exp(-k^2 / 2) is sqrt(2 pi) to eight digits
    assert finer_than_data(beta, np.array([1.0])) == pytest.approx(0, abs=1e-7)
    beta = 0.5
    theta = sum(math.exp(-(k**2) / beta) for k in range(-9, 10))
    expected = math.log(theta) - 0.5 * math.log(math.pi * beta)
    assert finer_than_data(beta, np.array([1.0])) == pytest.approx(expected)
    assert expected > 0.01


def test_judged_is_the_sum_of_both():
    values = nats([1.0, 2.0, 99.0], [2.0, 3.0, 99.0])
    steps = np.array([1.0, 0.0])
    found = judged(values, (0.01, 1.0), steps)
    assert found[0] == pytest.approx(1.5 + finer_than_data(0.01, steps))
    assert found[1] == pytest.approx(2.5 + finer_than_data(1.0, steps))


def test_training_judges_by_the_resolution_of_the_records_it_fits():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(700, 2)), 3 * rng.integers(0, 2, (700, 2))], axis=1)
    x = x.astype(np.float32)
    config = ModelConfig(betas=(0.05, 1.0), hidden=(8,))
    result = fit(x, config, TrainingConfig(max_steps=60, race=False), device=torch.device("cpu"))
    fitted = np.setdiff1d(np.arange(700), result.held_out_rows)
    steps = resolutions(x[fitted])
    assert steps[2:] == pytest.approx([3.0, 3.0])
    held_out = torch.from_numpy(x[result.held_out_rows])
    with torch.no_grad():
        plain = trimmed_mean(objective.nats(result.members, held_out, sign_draws(2, 4, 0)))
    for member, mean in zip(result.report.members, plain.tolist(), strict=True):
        expected = mean + finer_than_data(member.beta, steps)
        assert member.held_out_nats == pytest.approx(expected, rel=1e-4)
        assert finer_than_data(member.beta, steps) > 1


# the winner


def members(*rows):
    return torch.tensor(np.array(rows))


NOISE = np.random.default_rng(8).normal(size=400)
MEASURED = np.zeros(3)  # steps of columns that are measured numbers


def test_of_equal_members_the_coarsest_wins():
    nats_ = members(5 + NOISE, 5 + NOISE, 5 + NOISE)
    assert coarsest(nats_, (0.01, 0.1, 1.0), MEASURED) == 2
    assert coarsest(nats_, (0.1, 1.0, 0.01), MEASURED) == 1


def test_a_coarser_member_wins_within_one_standard_error_only():
    other = np.random.default_rng(9).normal(size=400)  # a difference with an SE of 0.07
    other += NOISE.mean() - other.mean()
    close, far = other + 5.02, other + 5.3
    assert coarsest(members(5 + NOISE, close), (0.1, 1.0), MEASURED) == 1
    assert coarsest(members(5 + NOISE, far), (0.1, 1.0), MEASURED) == 0
    # the same difference for every record is not chance, however small it is
    assert coarsest(members(5 + NOISE, 5.01 + NOISE), (0.1, 1.0), MEASURED) == 0


def test_the_best_wins_over_coarser_ones_that_are_worse():
    nats_ = members(4 + NOISE, 2 + NOISE, 3 + NOISE)
    assert coarsest(nats_, (0.01, 0.1, 1.0), MEASURED) == 1


def test_what_is_finer_than_the_data_counts_in_the_choice():
    counts = np.ones(3)
    nats_ = members(5 + NOISE, 5.5 + NOISE)  # less than three columns of counts gain by beta alone
    assert coarsest(nats_, (0.01, 0.1), MEASURED) == 0
    assert coarsest(nats_, (0.01, 0.1), counts) == 1


def test_a_member_that_diverged_does_not_win():
    nats_ = members(np.full(400, math.nan), 5 + NOISE, np.full(400, math.inf))
    assert coarsest(nats_, (0.01, 0.1, 1.0), MEASURED) == 1


def test_a_paired_difference():
    ours, others = NOISE + 1, NOISE.copy()
    ours[0], others[0] = 1e9, 1e9 + 7  # an outlier of both
    difference, error = paired(ours, others, 0.01)
    assert (difference, error) == pytest.approx((1, 0), abs=1e-9)
    difference, error = paired(NOISE, np.zeros(400), 0)
    assert error == pytest.approx(NOISE.std() / 20)
    assert difference == pytest.approx(NOISE.mean())
