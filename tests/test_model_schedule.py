"""How long training goes on."""

import pytest

from vaeiso_monitor.model import TrainingConfig
from vaeiso_monitor.model.schedule import Schedule


def schedule(*, records=1000, **training):
    return Schedule(TrainingConfig(**{"learning_rate": 0.01, **training}), records)


def ends(plan, best=lambda _: -1e9):
    """Return the step at which each round ends; ``best`` gives the nats reached by a step."""
    found = []
    while True:
        while not plan.round_ends():
            plan.step += 1
        found.append(plan.step)
        if not plan.pays(best(plan.step)):
            return found
        plan.next_round()


def halving(step):
    return -float(step)


def test_each_round_is_twice_as_long_as_the_last():
    assert ends(schedule(max_steps=14_000), halving) == [2000, 6000, 14_000]
    assert ends(schedule(first_round=100, max_steps=1500), halving) == [100, 300, 700, 1500]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (999, [999]), (1000, [1000]), (1999, [1999]), (2000, [1000, 2000]),
     (2999, [1000, 2999]), (6999, [1000, 3000, 6999]), (7000, [1000, 3000, 7000])],
)  # fmt: skip
def test_rounds_end_with_the_steps_there_are(most, expected):
    plan = schedule(first_round=1000, max_steps=most)
    assert ends(plan, halving) == expected
    assert plan.over


@pytest.mark.parametrize(
    ("records", "most"),
    [(1, 6000), (600, 6000), (2000, 20_000), (3000, 30_000), (10**6, 30_000)],
)
def test_more_records_may_take_more_steps(records, most):
    plan = schedule(records=records)
    assert plan.max_steps == most
    assert ends(plan, halving)[-1] == most
    assert schedule(records=records, max_steps=70).max_steps == 70


def test_a_round_that_gains_nothing_is_the_last():
    assert ends(schedule(), lambda _: 3.0) == [2000, 6000]  # the first one has nothing to compare
    reached = {2000: 3.0, 6000: 2.97, 14_000: 2.97}
    assert ends(schedule(max_steps=10**6), reached.get) == [2000, 6000, 14_000]


@pytest.mark.parametrize(
    ("before", "gain", "goes_on"),
    [(1.0, 0.0199, False), (1.0, 0.0201, True), (40.0, 0.19, False), (40.0, 0.21, True),
     (-40.0, 0.19, False), (-40.0, 0.21, True), (5.0, -1.0, False)],
)  # fmt: skip
def test_what_a_round_must_gain(before, gain, goes_on):
    plan = schedule(first_round=10, max_steps=1000)
    plan.step = 10
    assert plan.pays(before)
    plan.next_round()
    plan.step = 30
    assert plan.pays(before - gain) == goes_on


def test_a_member_that_diverged_does_not_end_training():
    plan = schedule()
    plan.step = 2000
    assert plan.pays(float("inf"))


def rates(plan):
    found = []
    while not plan.round_ends():
        found.append(plan.learning_rate())
        plan.step += 1
    return found


def test_the_learning_rate_of_a_round_is_a_warm_cosine():
    plan = schedule(first_round=1000)
    first = rates(plan)
    assert first[0] < 0.1 * max(first)
    assert max(first) == pytest.approx(0.01, rel=0.01)
    assert first[500] == pytest.approx(0.005, rel=1e-6)
    assert first[-1] == pytest.approx(0.01 * 1e-3, rel=1e-6)
    assert first[20:] == sorted(first[20:], reverse=True)
    plan.next_round()
    second = rates(plan)
    assert len(second) == 2000
    assert max(second) == pytest.approx(0.007, rel=0.01)


@pytest.mark.parametrize("annealing", [0.4, 0.9])
def test_annealing_is_over_after_its_share_of_the_first_round(annealing):
    plan = schedule(first_round=100, annealing=annealing)
    assert (plan.annealed(), plan.patient_since()) == (0, round(100 * annealing))
    plan.step = round(50 * annealing)
    assert plan.annealed() == pytest.approx(0.5)
    plan.step = 100
    assert plan.annealed() == 1
    plan.next_round()
    assert plan.annealed() == 1  # also where 100 is less than this share of the second round
    assert plan.patient_since() == 100
    assert schedule().annealed() == 1
    assert schedule().patient_since() == 0
