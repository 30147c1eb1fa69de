"""The tail: how many records over the alert line are taken for normal, and which never are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vaeiso_monitor.detect import Threshold, calibrate
from vaeiso_monitor.lifecycle.tail import Tail, _nats_at

HOUR = 3600.0


def normal(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Return scores as a good model gives them to normal records."""
    return np.random.default_rng(seed).gamma(4, 3, count)


def drawn(budget: float) -> Threshold:
    """Return a line that was drawn on such scores."""
    return calibrate(normal(20_000), budget)


def gone_by(
    tail: Tail, line: Threshold, scores: NDArray[np.float64], hours: int
) -> NDArray[np.bool_]:
    """Let ``scores`` go by, an equal part each hour; return which of them were let in."""
    parts = np.array_split(scores, hours)
    return np.concatenate([tail.choose(line, part, i * HOUR) for i, part in enumerate(parts)])


def a_tail(seed: int = 0) -> Tail:
    return Tail(24 * HOUR, np.random.default_rng(seed))


@pytest.mark.parametrize("budget", [0.001, 0.005, 0.02, 0.1])
def test_of_normal_records_about_as_many_come_in_as_lie_over_the_line(budget: float) -> None:
    line, scores = drawn(budget), normal(120_000, seed=1)
    let_in = gone_by(a_tail(), line, scores, 100)
    over = line.anomalous(scores)
    assert not (let_in & ~over).any()
    assert 0.5 < let_in.sum() / over.sum() <= 1.0


@pytest.mark.parametrize("budget", [0.001, 0.005])
def test_after_a_slow_change_more_come_in(budget: float) -> None:
    line = drawn(budget)
    scores = normal(120_000, seed=2) + np.linspace(0, 8, 120_000)
    let_in = gone_by(a_tail(), line, scores, 100)
    lately = slice(90_000, None)
    assert let_in[lately].mean() > 4 * budget
    assert let_in[lately].sum() > 0.5 * line.anomalous(scores[lately]).sum()


def test_faults_do_not_bring_more_records_in_than_without_them() -> None:
    line, scores = drawn(0.005), normal(120_000, seed=3)
    faulty = np.random.default_rng(4).random(len(scores)) < 0.05
    scores[faulty] = line.nats + 40 * np.random.default_rng(5).random(int(faulty.sum()))
    let_in = gone_by(a_tail(), line, scores, 100)
    assert let_in.mean() < 2 * 0.005
    assert (let_in & faulty).sum() < 0.1 * faulty.sum()


def test_a_record_with_others_over_the_line_beside_it_does_not_come_in() -> None:
    line, scores = drawn(0.01), normal(30_000, seed=10)
    episodes = np.zeros(len(scores), dtype=bool)
    for place in range(8):
        episodes[200 + place :: 600] = True
    scores[episodes] = line.nats + 0.1
    let_in = gone_by(a_tail(), line, scores, 30)
    assert (let_in & ~episodes).sum() > 0.4 * (line.anomalous(scores) & ~episodes).sum()
    assert not (let_in & episodes).any()


def test_the_records_of_the_batch_before_count_as_neighbours() -> None:
    tail, line = a_tail(), drawn(0.01)
    gone_by(tail, line, normal(30_000, seed=11), 30)
    over = np.full(1, line.nats + 0.01)
    let_in = [bool(tail.choose(line, over, 30 * HOUR)[0]) for _ in range(20)]
    assert not any(let_in[3:])


def test_what_is_critical_or_no_number_never_comes_in() -> None:
    line = drawn(0.01)
    critical = float(_nats_at(line, np.array([2.0]))[0])
    scores = np.concatenate([normal(5000), [critical + 1e-6, np.inf, np.nan, -np.inf] * 50])
    let_in = gone_by(a_tail(), line, scores, 5)
    assert not let_in[5000:].any()


def test_a_fault_that_lasts_is_not_let_in() -> None:
    line, scores = drawn(0.005), normal(60_000, seed=6)
    scores[30_000:] = line.nats + 5 * np.random.default_rng(7).random(30_000)
    let_in = gone_by(a_tail(), line, scores, 50)
    assert let_in[30_000:].mean() < 0.01


def test_a_new_line_starts_anew_and_its_budget_is_presumed() -> None:
    tail, first, second = a_tail(), drawn(0.005), drawn(0.01)
    gone_by(tail, first, normal(30_000, seed=8) + 8, 24)
    assert tail.expected.sum() > 100
    tail.choose(second, np.zeros(0), 25 * HOUR)
    assert 0.5 < tail.expected.sum() / (0.01 * 400) < 2


def test_after_a_long_silence_nothing_is_known_and_nothing_let_in() -> None:
    tail, line = a_tail(), drawn(0.01)
    gone_by(tail, line, normal(30_000, seed=9), 24)
    assert not tail.choose(line, np.full(50, line.nats + 0.5), 400 * 24 * HOUR).any()


@given(st.floats(0.0005, 0.2), st.integers(0, 100))
def test_the_scores_of_the_bins_are_those_of_the_line(budget: float, seed: int) -> None:
    line = calibrate(normal(2000, seed), budget)
    scores = np.linspace(0.3, 2.0, 18)
    nats = _nats_at(line, scores)
    assert (np.diff(nats) >= 0).all()
    inside = nats > line.knots[0]
    assert np.allclose(line.anomaly_score(nats)[inside], scores[inside], atol=1e-6)
    assert float(_nats_at(line, np.array([1.0]))[0]) == line.nats
