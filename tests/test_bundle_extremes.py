"""What a record's distance from the middle costs: nothing near it, and more the farther it is."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor import Detector
from vaeiso_monitor.bundle import Bundle, BundleScorer, Engine, Extremes
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records import Encoder, EncoderConfig, Schema
from vaeiso_monitor.records.schema import Column
from vaeiso_monitor.types import Records

CPU = torch.device("cpu")
QUICK = {"max_steps": 60, "hidden": (8,), "latent_dim": 2}


def table(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    flags = (rng.random((count, 1)) < 0.1).astype(float)
    return np.hstack([rng.normal(size=(count, 2)), rng.lognormal(size=(count, 1)), flags])


def encoded(x, transform="auto"):
    schema = Schema(columns=tuple(Column(f"x{i}") for i in range(x.shape[1])))
    records = Records(numbers=x, categories=(), rows=np.arange(len(x)))
    encoder = Encoder.fit(records, schema, EncoderConfig(transform=transform))
    return encoder, encoder.encode(records)


def fitted(x, transform="auto"):
    encoder, matrix = encoded(x, transform)
    nats = np.random.default_rng(1).exponential(size=len(x) // 3)
    return Extremes.fit(matrix, encoder.numbers, nats), matrix


def test_measured_columns_count_and_flags_do_not():
    extremes, _ = fitted(table())
    assert extremes.columns.tolist() == [0, 1, 2]


def test_what_only_has_flags_has_no_extremes():
    assert fitted(np.hstack([table()[:, 3:]] * 2) * [[1, 2]])[0] is None


def test_of_few_records_one_in_55_costs_something():
    extremes, x = fitted(table(1500))
    costs = extremes.nats(x) > 0
    assert costs.mean() == pytest.approx(math.exp(-4), rel=0.2)
    assert extremes.nats(np.zeros((5, 4), np.float32)).tolist() == [0] * 5
    assert "1 of 55 normal records" in extremes.in_words()


def test_where_many_records_went_the_density_is_believed():
    extremes, x = fitted(table(60_000))
    assert (extremes.nats(x) > 0).sum() == pytest.approx(30, abs=6)
    assert "1 of 2,000 normal records" in extremes.in_words()


def test_a_nat_of_surprise_costs_three_times_what_one_costs_in_the_score():
    extremes, _ = fitted(table(60_000))
    assert extremes.price == pytest.approx(3, rel=0.05)  # of scores with an exponential law


def test_rare_records_in_the_tail_do_not_make_the_price():
    encoder, x = encoded(table())
    nats = np.random.default_rng(1).exponential(size=9000)
    nats[:300] += 5000  # 3 % are of a kind that no other held-out record is of
    assert Extremes.fit(x, encoder.numbers, nats).price == pytest.approx(3, rel=0.3)


def test_the_cost_grows_with_the_distance():
    extremes, _ = fitted(table())
    line = np.zeros((200, 4), np.float32)
    line[:, 0] = np.linspace(0, 1000, 200)
    cost = extremes.nats(line)
    assert (np.diff(cost) >= 0).all()
    assert cost[-1] > cost[20] > 10
    assert np.isfinite(extremes.nats(np.full((1, 4), 1e4, np.float32))).all()


@pytest.mark.parametrize("transform", ["auto", "z-score", "yeo-johnson", "quantile"])
def test_a_column_is_bent_once(transform):
    extremes, _ = fitted(table(), transform)
    straight = transform == "z-score"
    assert (extremes.transform.exponent[2] < 0.5) == straight
    if not straight:
        assert extremes.transform.exponent[2] == 1.0


@settings(max_examples=25)
@given(st.integers(1, 9000), st.integers(0, 5))
def test_a_record_costs_the_same_in_any_batch(count, seed):
    extremes, _ = fitted(table())
    x = 4 * np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    alone = np.concatenate([extremes.nats(x[i : i + 1]) for i in (0, count // 2, count - 1)])
    np.testing.assert_allclose(extremes.nats(x)[[0, count // 2, count - 1]], alone, rtol=1e-12)
    split = extremes.split(x)
    np.testing.assert_allclose(split.sum(1), extremes.nats(x), rtol=1e-9, atol=1e-12)
    assert (split >= 0).all()
    assert (split[:, 3] == 0).all()


def test_no_records_cost_nothing():
    extremes, x = fitted(table())
    assert extremes.nats(x[:0]).shape == (0,)


def test_state_round_trip_and_damage():
    extremes, x = fitted(table())
    meta, arrays = extremes.state()
    again = Extremes.from_state(meta, arrays)
    np.testing.assert_array_equal(again.nats(x), extremes.nats(x))
    older = Extremes.from_state({k: meta[k] for k in ("price", "law")}, arrays)
    assert (older.index, older.free) == (1.0, 4.0)
    for key in arrays:
        with pytest.raises(BundleError):
            Extremes.from_state(meta, {name: a for name, a in arrays.items() if name != key})
    for damage in ({"price": -1.0}, {"price": math.inf}, {"price": None}, {"law": {}}):
        with pytest.raises(BundleError):
            Extremes.from_state({**meta, **damage}, arrays)
    for damage in ({"index": 0.0}, {"index": 2.0}, {"index": None}, {"free": math.inf}):
        with pytest.raises(BundleError):
            Extremes.from_state({**meta, **damage}, arrays)
    with pytest.raises(BundleError, match="do not fit"):
        Extremes.from_state(meta, {**arrays, "columns": arrays["columns"][:1]})
    with pytest.raises(BundleError, match="do not fit"):
        Extremes.from_state(meta, {**arrays, "columns": arrays["columns"] - 5})


def test_columns_beyond_the_encoder_are_a_damaged_bundle(tmp_path):
    bundle = Detector(**QUICK).fit(table(600)).bundle
    extremes = bundle.extremes
    shifted = Extremes(extremes.columns + 40, extremes.transform, extremes.law, extremes.price)
    parts = (bundle.schema, bundle.encoder, bundle.model, bundle.threshold, bundle.scoring)
    names = ("schema", "encoder", "model", "threshold", "scoring")
    sealed = Bundle.seal(**dict(zip(names, parts, strict=True)), summary={}, extremes=shifted)
    sealed.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="columns"):
        Bundle.load(tmp_path / "bundle")


def test_a_bundle_keeps_its_extremes_and_explains_them(tmp_path):
    detector = Detector(**QUICK).fit(table(900))
    detector.save(tmp_path / "bundle")
    again = Detector.load(tmp_path / "bundle")
    odd = table(40, seed=2)
    odd[:, 0] += 30
    np.testing.assert_allclose(again.nats(odd), detector.nats(odd), rtol=1e-9)
    found = again.explain(odd)
    whole = found.feature_nats.sum(1) + found.latent_nats.sum(1) + found.mode_nats + found.constant
    np.testing.assert_allclose(whole, found.nats, rtol=1e-9)
    np.testing.assert_allclose(found.nats, again.nats(odd), rtol=1e-4)
    assert found.feature_nats[:, 0].min() > found.feature_nats[:, 1:].max()


def test_without_extremes_the_score_is_the_density_alone():
    detector = Detector(**QUICK)
    plain = Detector(**QUICK, extremes=False).fit(table(900)).bundle
    bundle = detector.fit(table(900)).bundle
    assert plain.extremes is None
    assert bundle.summary["held_out_nats"] == plain.summary["held_out_nats"]
    x = bundle.encoder.encode(Records(numbers=5 * table(50), categories=(), rows=np.arange(50)))
    with_cost, without = (BundleScorer.of(each, CPU) for each in (bundle, plain))
    extra = with_cost.score(x) - without.score(x)
    np.testing.assert_allclose(extra, bundle.extremes.nats(x), rtol=1e-6, atol=1e-6)
    assert extra.max() > 1
    for scorer in (with_cost, without):
        scorer.close()


def test_the_alert_budget_holds_with_extremes():
    detector = Detector(**QUICK, alert_budget=0.05).fit(table(12_000))  # 60 held out are above
    assert (detector.predict(table(20_000, seed=5)) == -1).mean() == pytest.approx(0.05, rel=0.4)


def test_an_engine_scores_as_the_detector_does():
    detector = Detector(**QUICK).fit(table(900))
    engine = Engine(detector.bundle, CPU)
    odd = 6 * table(30)
    records = Records(numbers=odd, categories=(), rows=np.arange(30))
    np.testing.assert_allclose(engine.score(records), detector.nats(odd), rtol=1e-9)
    engine.warm_up(16)
    engine.close()


def test_extremes_that_come_in_runs_cost_less_by_how_many_come_together():
    x = table(60_000)
    alone, _ = fitted(x)
    normal = np.column_stack([x[:, :2], np.log(x[:, 2])])
    order = np.argsort(np.square(normal).sum(1)).reshape(-1, 20)  # 20 that are as far
    runs = order[np.random.default_rng(3).permutation(len(order))].ravel()
    together, _ = fitted(x[runs])
    assert alone.index == pytest.approx(1, abs=0.05)
    assert together.index < 0.25
    assert together.free == pytest.approx(alone.free + math.log(together.index / alone.index))
    assert together.free > 4
    assert together.price == pytest.approx(alone.price * together.index / alone.index, rel=0.01)
    assert "come " in together.in_words()
    assert "come " not in alone.in_words()
