import json
from dataclasses import replace

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
from vaeiso_monitor.model.members import decay_of
from vaeiso_monitor.model.optimizer import MemberAdam
from vaeiso_monitor.model.race import Task
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.training import partings, split
from vaeiso_monitor.model.vae import named_parts

CPU = torch.device("cpu")
SMALL = ModelConfig(betas=(0.05, 0.5), hidden=(12,), latent_dim=2)


def plane(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)) @ np.array([[1.0, 0.5, 0.0, -1.0], [0.0, 0.7, 1.2, 0.3]])
    return (x + 0.2 * rng.normal(size=x.shape)).astype(np.float32)


def bent(count, seed=0):
    """An arc in three dimensions: a linear model cannot follow it."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-2.5, 2.5, count)
    x = np.stack([2 * np.cos(angle), 2 * np.sin(angle), angle, np.zeros(count)], axis=1)
    return (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)


def brief(**changes):
    return TrainingConfig(**{"max_steps": 120, "batch_size": 32, **changes})


def test_the_winner_has_the_lowest_judged_nats():
    x = plane(800)
    result = fit(x, SMALL, brief(max_steps=400), device=CPU)
    report = result.report
    nats = [member.held_out_nats for member in report.members]
    assert report.winner == int(np.argmin(nats))
    assert result.model.betas == (SMALL.betas[report.winner],)
    assert (report.rows, report.held_out_rows, report.folds) == (720, 80, 1)
    held_out = nats_of(result.model, x[result.held_out_rows])
    winner = report.members[report.winner]
    assert winner.mean_held_out_nats == pytest.approx(held_out.mean(), rel=1e-4)
    assert winner.held_out_nats == pytest.approx(np.sort(held_out)[:-1].mean(), rel=1e-4)
    (fold,) = result.folds
    assert torch.equal(fold.model.weights, result.model.weights)
    assert np.array_equal(fold.held_out_rows, result.held_out_rows)


def nats_of(model, x):
    scorer = Scorer(model, ScoringConfig(precision="float64"), CPU)
    try:
        return scorer.score(x)
    finally:
        scorer.close()


def test_training_lowers_held_out_nats_and_keeps_the_best():
    report = fit(bent(900), SMALL, brief(max_steps=400), device=CPU).report
    for member in report.members:
        values = dict(member.curve)
        assert member.held_out_nats == pytest.approx(min(values.values()), rel=1e-4)
        assert values[member.best_step] == min(values.values())
    assert member_of(report).held_out_nats < member_of(report).curve[0][1] - 0.5


def member_of(report):
    return report.members[report.winner]


def test_a_linear_path_starts_where_the_nets_must_get_to_first():
    x = plane(800)
    config = replace(SMALL, beta=0.05)
    with_path, without = (
        fit(x, replace(config, linear_path=path), brief(max_steps=1), device=CPU)
        for path in (True, False)
    )
    begun, far = (result.report.members[0].curve[0][1] for result in (with_path, without))
    assert begun < 6
    assert far > 20


def test_the_report_is_json():
    report = fit(plane(600), SMALL, brief(patience=9.0), device=CPU).report
    table = json.loads(json.dumps(report.to_dict()))
    assert [member["beta"] for member in table["members"]] == [0.05, 0.5]
    assert table["stopped"] == "max_steps"
    assert table["steps"] == 120
    assert table["note"] == ""
    assert table["members"][0]["curve"][0][0] == 0


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (
        fit(plane(100), SMALL, brief(seed=seed, max_steps=30), device=CPU) for seed in (1, 1, 2)
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
    result = fit(plane(400), SMALL, brief(max_steps=30), device=CPU)
    assert result.members.betas == SMALL.betas
    assert torch.equal(result.members.member(result.report.winner).weights, result.model.weights)


def test_members_do_not_disturb_each_other():
    x = plane(100)
    training = brief(race=False, patience=9.0, max_steps=40)
    together = fit(x, SMALL, training, device=CPU).report
    for i, beta in enumerate(SMALL.betas):
        alone = fit(x, ModelConfig(beta=beta, hidden=(12,), latent_dim=2), training, device=CPU)
        expected = together.members[i].held_out_nats
        assert alone.report.members[0].held_out_nats == pytest.approx(expected, rel=1e-3)


def test_progress_is_told():
    seen: list[Progress] = []
    training = brief(patience=9.0)
    result = fit(bent(600), SMALL, training, device=CPU, progress=seen.append)
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
    assert {member.stopped for member in report.members} <= {"no_better", "behind"}


def test_a_race_gives_up_those_that_cannot_win_and_none_without():
    config = ModelConfig(betas=(0.02, 0.1, 30.0), hidden=(12,), latent_dim=2)
    training = brief(max_steps=300, first_round=100, patience=9.0)
    report = fit(bent(900), config, training, device=CPU).report
    assert report.members[2].stopped == "behind"
    assert report.members[2].curve[-1][0] < 100
    assert member_of(report).curve[-1][0] == report.steps
    everyone = fit(bent(900), config, replace(training, race=False), device=CPU).report
    assert {member.stopped for member in everyone.members} == {everyone.stopped}
    assert {member.curve[-1][0] for member in everyone.members} == {everyone.steps}


def test_a_second_round_is_for_the_two_best():
    config = ModelConfig(betas=(0.02, 0.04, 0.06), hidden=(12,), latent_dim=2)
    training = brief(max_steps=300, first_round=100, patience=9.0)
    report = fit(bent(900), config, training, device=CPU).report
    last = [member.curve[-1][0] for member in report.members]
    assert sum(step > 100 for step in last) == 2
    assert report.winner == int(np.argmin([member.held_out_nats for member in report.members]))


def test_training_ends_when_a_round_gains_nothing():
    training = brief(max_steps=10_000, first_round=40, patience=9.0)
    report = fit(plane(600), SMALL, training, device=CPU).report
    assert report.stopped == "converged"
    assert report.steps < 10_000
    assert report.steps in {120, 280, 600}  # whole rounds of 40, 80, 160 ...


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_records_train(count):
    result = fit(plane(count), SMALL, brief(max_steps=30), device=CPU)
    assert result.held_out_rows.tolist() == list(range(count))
    assert np.isfinite(member_of(result.report).held_out_nats)
    whole = fit(plane(count), SMALL, brief(folds_below=0, max_steps=30), device=CPU)
    assert 1 <= len(whole.held_out_rows) < count


def test_of_few_records_every_one_is_held_out_once():
    x = plane(60)
    result = fit(x, SMALL, brief(max_steps=40), device=CPU)
    report = result.report
    assert (report.folds, report.rows, report.held_out_rows) == (5, 60, 60)
    rows = np.concatenate([fold.held_out_rows for fold in result.folds])
    assert sorted(rows) == list(range(60))
    nats = np.concatenate([nats_of(fold.model, x[fold.held_out_rows]) for fold in result.folds])
    assert member_of(report).mean_held_out_nats == pytest.approx(nats.mean(), rel=1e-4)
    weights = {fold.model.weights.sum().item() for fold in result.folds}
    assert len(weights) == 5  # each fold has a model of its own ...
    assert result.model.weights.sum().item() not in weights  # ... and so have all records
    assert result.members.betas == SMALL.betas


def test_the_folds_are_kept_as_they_were_when_they_were_best_together():
    report = fit(bent(60), SMALL, brief(race=False), device=CPU).report
    for member in report.members:
        values = dict(member.curve)
        assert values[member.best_step] == min(values.values()) < values[0] - 0.1
        assert member.held_out_nats == pytest.approx(min(values.values()), rel=1e-4)


def test_the_model_of_all_records_is_trained_for_as_long_as_was_best():
    x = bent(100)
    training = brief(max_steps=30, first_round=10, patience=9.0, race=False)
    result = fit(x, SMALL, training, device=CPU)
    steps = [member.best_step for member in result.report.members]
    assert max(steps) > 10  # beyond the first round

    fitted = np.arange(100)
    task = Task(torch.from_numpy(x), partings(100, training), SMALL, training, None)
    for i, wanted in enumerate(steps):
        alone, schedule = task.members(fitted), task.schedule()
        for _ in range(wanted):
            if schedule.round_ends():
                schedule.next_round()
            alone.descend(schedule)
            schedule.step += 1
        alone.keep_as_best(i)
        expected = nats_of(alone.best().member(i), x)
        np.testing.assert_allclose(nats_of(result.members.member(i), x), expected, rtol=1e-3)


def test_out_of_fold_nats_promise_no_more_than_fresh_records_keep():
    wide = np.random.default_rng(1).normal(size=(12, 12))
    x = np.random.default_rng(0).normal(size=(2060, 12)) @ wide
    x = (x / x.std(0)).astype(np.float32)
    result = fit(x[:60], ModelConfig(betas=(0.03, 0.3), hidden=(8,)), brief(), device=CPU)
    winner = member_of(result.report)
    seen, fresh = (nats_of(result.model, part).mean() for part in (x[:60], x[60:]))
    assert fresh > seen + 1  # records that were trained on promise too much
    assert winner.mean_held_out_nats == pytest.approx(fresh, abs=0.6 * (fresh - seen))


def test_stop_is_heard_while_training_on_all_records():
    told: list[Progress] = []
    asked = 0

    def stop():
        nonlocal asked
        asked += bool(told and told[-1].step == 60)
        return asked > 3

    training = brief(max_steps=60, first_round=60, patience=9.0, race=False)
    with pytest.raises(TrainingStopped):
        fit(bent(60), SMALL, training, device=CPU, progress=told.append, stop=stop)
    assert told[-1].step == 60


@pytest.mark.parametrize(
    ("count", "columns", "said"), [(49, 4, True), (200, 21, True), (60, 4, False)]
)
def test_too_few_records_are_told_in_words(count, columns, said):
    x = np.random.default_rng(0).normal(size=(count, columns)).astype(np.float32)
    note = fit(x, SMALL, brief(max_steps=2), device=CPU).report.note
    assert bool(note) == said
    if said:
        assert note.startswith(f"{count} records are too few for {columns} encoded columns")
        assert f"{max(50, 10 * columns)} records would do" in note


def test_constant_records_train():
    x = np.full((50, 3), 2.5, dtype=np.float32)
    result = fit(x, SMALL, brief(), device=CPU)
    draws = torch.zeros(1, 2)
    with torch.no_grad():
        normal = objective.nats(result.model, torch.from_numpy(x[:1]), draws)
        odd = objective.nats(result.model, torch.from_numpy(x[:1] + 3), draws)
    assert normal < odd


@pytest.mark.parametrize("objective_name", ["decomposed", "plain"])
def test_both_objectives_train(objective_name):
    config = ModelConfig(beta=0.1, hidden=(12,), latent_dim=2, objective=objective_name)
    result = fit(bent(600), config, brief(max_steps=300), device=CPU)
    curve = result.report.members[0].curve
    assert result.report.members[0].held_out_nats < curve[0][1] - 0.5


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
        {"annealing": 1.0}, {"first_round": 0}, {"weight_decay": -1.0}, {"folds_below": -1},
        {"weight_decay": 400.0}, {"held_out": "some"},
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


@pytest.mark.parametrize("held_out", ["random", "blocks"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 12, 499])
def test_folds_part_few_records_evenly(count, held_out):
    training = TrainingConfig(held_out=held_out)
    folds = partings(count, training)
    assert len(folds) == min(5, count)
    for fitted, rows in folds:
        assert sorted([*fitted, *rows]) == list(range(count))
        assert len(rows) == pytest.approx(count / len(folds), abs=2)
        assert len(fitted) >= 1
    assert sorted(np.concatenate([rows for _, rows in folds])) == list(range(count))
    assert len(partings(500, training)) == 1
    assert len(partings(count, replace(training, folds_below=0))) == 1


def test_folds_of_a_stream_are_runs_of_neighbours():
    for _, rows in partings(400, TrainingConfig()):
        assert (np.diff(rows) > 1).sum() == 1  # two runs
    (_, rows), *_ = partings(400, TrainingConfig(held_out="random"))
    assert (np.diff(rows) > 1).sum() > 40


def test_weight_decay_is_for_what_the_nets_add_to_a_linear_model():
    shape = Shape(5, 3, (8, 6), modes=2, linear_path=True)
    decay = named_parts(shape, decay_of(shape, TrainingConfig(), 2000))
    parts = {name: part[0] for name, part in decay.items()}
    for name in ("encoder.0.weight", "encoder.1.weight", "decoder.0.weight", "decoder.1.weight"):
        assert (parts[name] == 0.5).all()
    assert (parts["encoder.2.weight"][:6] == 0.5).all()
    assert (parts["encoder.2.weight"][6:] == 0).all()
    assert (parts["decoder.2.weight"][:8] == 0.5).all()
    assert (parts["decoder.2.weight"][8:] == 0).all()
    for name, part in parts.items():
        if name.endswith("bias") or name.startswith("prior"):
            assert (part == 0).all(), name
    linear = Shape(5, 3, ())
    assert (decay_of(linear, TrainingConfig(), 2000) == 0).all()
    few, given = (decay_of(shape, TrainingConfig(weight_decay=w), 10) for w in ("auto", 0.25))
    assert (few.max(), given.max()) == (3.0, 0.25)


def test_decay_shrinks_the_hidden_weights_and_no_others():
    shape = Shape(2, 1, (3,), linear_path=True)
    weights = torch.ones(1, shape.size())
    adam = MemberAdam(weights, decay_of(shape, TrainingConfig(weight_decay=0.5), 10))
    adam.step(torch.zeros_like(weights), learning_rate=0.1)
    after = named_parts(shape, adam.weights.detach())
    assert after["encoder.0.weight"].flatten().tolist() == pytest.approx([0.95] * 6)
    assert (after["encoder.1.weight"][0, 3:] == 1).all()
    assert (after["encoder.0.bias"] == 1).all()


def test_a_hostile_scale_does_not_break_training():
    x = plane(200)
    x[0] = 1e8
    result = fit(x, SMALL, brief(), device=CPU)
    assert isinstance(result.model, VAE)
    assert torch.isfinite(result.model.weights).all()
