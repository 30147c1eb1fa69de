import json

import numpy as np
import pytest
import torch

from vaeiso_monitor.model import (
    VAE,
    ModelConfig,
    Progress,
    Scorer,
    ScoringConfig,
    TrainingConfig,
    TrainingStopped,
    fit,
    isometry,
    objective,
)
from vaeiso_monitor.model.training import split

CPU = torch.device("cpu")
SMALL = ModelConfig(betas=(0.05, 0.5), hidden=(12,), latent_dim=2)


def plane(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)) @ np.array([[1.0, 0.5, 0.0, -1.0], [0.0, 0.7, 1.2, 0.3]])
    return (x + 0.2 * rng.normal(size=x.shape)).astype(np.float32)


def brief(**changes):
    return TrainingConfig(**{"max_steps": 120, "batch_size": 32, **changes})


def test_the_winner_has_the_lowest_held_out_nats():
    x = plane(800)
    result = fit(x, SMALL, brief(max_steps=400), device=CPU)
    report = result.report
    nats = [member.held_out_nats for member in report.members]
    assert report.winner == int(np.argmin(nats))
    assert result.model.betas == (SMALL.betas[report.winner],)
    assert report.rows + report.held_out_rows == 800
    scorer = Scorer(result.model, ScoringConfig(precision="float64"), CPU)
    held_out = scorer.score(x[result.held_out_rows]).mean()
    assert held_out == pytest.approx(nats[report.winner], rel=1e-4)
    scorer.close()


def test_training_lowers_held_out_nats_and_keeps_the_best():
    report = fit(plane(500), SMALL, brief(max_steps=400), device=CPU).report
    for member in report.members:
        values = dict(member.curve)
        assert member.held_out_nats == pytest.approx(min(values.values()), rel=1e-4)
        assert values[member.best_step] == min(values.values())
        assert member.held_out_nats < 0.5 * member.curve[0][1]


def test_the_report_is_json():
    report = fit(plane(60), SMALL, brief(), device=CPU).report
    table = json.loads(json.dumps(report.to_dict()))
    assert [member["beta"] for member in table["members"]] == [0.05, 0.5]
    assert table["stopped"] == "max_steps"
    assert table["steps"] == 120


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (
        fit(plane(100), SMALL, brief(seed=seed), device=CPU) for seed in (1, 1, 2)
    )
    assert torch.equal(first.model.weights, second.model.weights)
    assert np.array_equal(first.held_out_rows, second.held_out_rows)
    assert not torch.equal(first.model.weights, other.model.weights)


def test_training_leaves_the_callers_threads_alone():
    before = torch.get_num_threads()
    fit(plane(20), SMALL, brief(max_steps=2), device=CPU)
    assert torch.get_num_threads() == before


def test_annealing_settles_each_latent_on_its_own_axis():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = ((rng.normal(size=(3000, 3)) * [2.0, 1.0, 0.5]) @ turn).astype(np.float32)
    config = ModelConfig(beta=0.02, hidden=(16,), latent_dim=3)
    result = fit(
        x, config, brief(max_steps=1200, learning_rate=0.01, annealing=0.4, first_beta=4.0,
                 batch_size=128),
        device=CPU,
    )  # fmt: skip
    table = isometry(result.model, x[:500])
    found = sorted(latent.importance for latent in table.latents)
    assert found == pytest.approx([0.25, 1.0, 4.0], rel=0.1)
    assert table.orthogonality_error < 0.1


def test_all_members_are_returned_at_their_best():
    result = fit(plane(400), SMALL, brief(), device=CPU)
    assert result.members.betas == SMALL.betas
    assert torch.equal(result.members.member(result.report.winner).weights, result.model.weights)


def test_members_do_not_disturb_each_other():
    x = plane(100)
    together = fit(x, SMALL, brief(), device=CPU).report
    for i, beta in enumerate(SMALL.betas):
        alone = fit(x, ModelConfig(beta=beta, hidden=(12,), latent_dim=2), brief(), device=CPU)
        expected = together.members[i].held_out_nats
        assert alone.report.members[0].held_out_nats == pytest.approx(expected, rel=1e-3)


def test_progress_is_told():
    seen: list[Progress] = []
    result = fit(plane(100), SMALL, brief(), device=CPU, progress=seen.append)
    assert [p.step for p in seen] == sorted({p.step for p in seen})
    assert seen[-1].step == seen[-1].max_steps == 120
    best = [p.held_out_nats for p in seen if p.held_out_nats is not None]
    assert best == sorted(best, reverse=True)
    assert best[-1] == pytest.approx(min(m.held_out_nats for m in result.report.members), rel=1e-4)


def test_stop_ends_without_a_model():
    seen: list[Progress] = []
    with pytest.raises(TrainingStopped, match="stopped at step"):
        fit(
            plane(100), SMALL, brief(max_steps=100_000), device=CPU,
            progress=seen.append, stop=lambda: len(seen) >= 2,
        )  # fmt: skip
    assert len(seen) == 2


def test_the_time_budget_ends_with_the_best_so_far():
    training = brief(max_steps=10_000_000, time_budget_seconds=0.3)
    result = fit(plane(100), SMALL, training, device=CPU)
    assert result.report.stopped == "time_budget"
    assert 0 < result.report.steps < 10_000_000
    assert all(np.isfinite(member.held_out_nats) for member in result.report.members)


def test_members_stop_when_they_get_no_better():
    training = brief(max_steps=4000, patience=0.03, learning_rate=0.02)
    report = fit(plane(40), SMALL, training, device=CPU).report
    assert report.stopped == "no_better"
    assert report.steps < 4000
    assert {member.stopped for member in report.members} == {"no_better"}


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_records_train(count):
    result = fit(plane(count), SMALL, brief(), device=CPU)
    assert 1 <= len(result.held_out_rows) < count
    assert np.isfinite(result.report.members[result.report.winner].held_out_nats)


def test_constant_records_train():
    x = np.full((50, 3), 2.5, dtype=np.float32)
    result = fit(x, SMALL, brief(max_steps=600), device=CPU)
    draws = torch.zeros(1, 2)
    with torch.no_grad():
        normal = objective.nats(result.model, torch.from_numpy(x[:1]), draws)
        odd = objective.nats(result.model, torch.from_numpy(x[:1] + 3), draws)
    assert normal < odd


@pytest.mark.parametrize("objective_name", ["decomposed", "plain"])
def test_both_objectives_train(objective_name):
    config = ModelConfig(beta=0.1, hidden=(12,), latent_dim=2, objective=objective_name)
    result = fit(plane(300), config, brief(max_steps=300), device=CPU)
    curve = result.report.members[0].curve
    assert result.report.members[0].held_out_nats < 0.5 * curve[0][1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_records_that_are_not_finite_are_refused(bad):
    x = plane(10)
    x[7, 1] = bad
    with pytest.raises(ValueError, match=r"1 of 10 records .*row 7"):
        fit(x, SMALL, brief(), device=CPU)


@pytest.mark.parametrize("shape", [(1, 3), (5, 0), (5,)])
def test_too_little_is_refused(shape):
    with pytest.raises(ValueError, match="at least 2 records"):
        fit(np.zeros(shape, dtype=np.float32), SMALL, brief(), device=CPU)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0}, {"max_steps": 0}, {"patience": 0.0}, {"learning_rate": 0.0},
        {"held_out_share": 1.0}, {"time_budget_seconds": 0.0}, {"first_beta": 0.0},
        {"annealing": 1.0},
    ],
)  # fmt: skip
def test_a_wrong_config_names_its_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


@pytest.mark.parametrize("count", [2, 10, 60, 200, 5000])
def test_the_split_holds_enough_out(count):
    fitted, held_out = split(count, TrainingConfig())
    assert sorted([*fitted, *held_out]) == list(range(count))
    assert len(held_out) >= min(count // 3, 20)
    assert len(held_out) == pytest.approx(max(count / 10, min(count // 3, 20), 1), abs=1)


def test_a_hostile_scale_does_not_break_training():
    x = plane(200)
    x[0] = 1e8
    result = fit(x, SMALL, brief(), device=CPU)
    assert isinstance(result.model, VAE)
    assert torch.isfinite(result.model.weights).all()
