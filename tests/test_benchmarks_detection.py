"""The benchmark of detection: its measures are right, and it goes on where it was interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.detection import methods
from benchmarks.detection.__main__ import main
from benchmarks.detection.measures import (
    BUDGETS,
    average_precision,
    calibration,
    chance_outside,
    measured,
    paired,
    pooled,
    within,
)
from benchmarks.detection.ours import as_given, changed, ours
from benchmarks.detection.problems import chosen, halves, problem, read, seeds_of
from benchmarks.detection.results import Store, fingerprint
from vaeiso_monitor import Detector
from vaeiso_monitor.detect import calibrate
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.data import made_of
from vaeiso_monitor.records import infer_schema

SMALL = ["--recipe", "training.max_steps=20", "--recipe", "model.hidden=[8]"]


def made(repeated=False):
    rng = np.random.default_rng(0)
    anomaly = np.arange(120) % 12 == 0
    x = rng.normal(size=(120, 4)) + 3 * anomaly[:, None]
    if repeated:
        x = np.round(x / 2)
    return made_of("Pima", x, (), anomaly, float(anomaly.mean()))


@pytest.fixture
def data(tmp_path, monkeypatch):
    dataset = made()
    (tmp_path / "adbench").mkdir()
    x, y = dataset.numbers[dataset.rows], dataset.anomaly.astype(np.int8)
    np.savez(tmp_path / "adbench" / "Pima.npz", X=x.astype(np.float32), y=y)
    monkeypatch.setenv("VAEISO_DATA", str(tmp_path))
    return tmp_path


def call(out: Path, *arguments: str) -> int:
    return main(
        ["--out", str(out), "--protocol", "G", "--sets", "pima", "--seeds", "2", *arguments]
    )


def finished(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_the_measures_of_a_ranking_are_those_of_their_definitions():
    scores = np.array([5.0, 4.0, 4.0, 3.0, 2.0, 1.0, 0.0, np.nan])
    truth = np.array([True, False, True, False, True, False, False, False])
    found = measured(scores, truth, 3 / 8)
    pairs = [
        0.5 if a == b else float(a > b)
        for a in scores[truth]
        for b in np.where(np.isnan(scores), np.inf, scores)[~truth]
    ]
    assert found["auroc"] == pytest.approx(np.mean(pairs))
    assert found["precision"] == pytest.approx(1 / 3)  # NaN, 5 and the first 4 are flagged
    assert found["f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["aupr"] == pytest.approx((1 / 2 + 2 / 4 + 3 / 6) / 3)


def test_the_precision_is_averaged_as_scikit_learn_does_it():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    scores, truth = rng.integers(0, 30, 400).astype(float), rng.random(400) < 0.2
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))


def test_one_calibration_gives_the_rates_of_all_budgets():
    rng = np.random.default_rng(2)
    held_out, unseen = rng.gumbel(size=3000), rng.gumbel(size=20_000)
    found = calibration(calibrate(held_out, 0.001), unseen)
    for budget in BUDGETS:
        again = calibrate(held_out, budget).anomalous(unseen).mean()
        assert found["rates"][f"{budget:g}"] == pytest.approx(again, abs=1e-4)
        assert again / budget == pytest.approx(1, abs=0.5)
    assert (found["held_out"], found["unseen"], found["tied"]) == (3000, 20_000, 0)
    assert found["ks_p_finite"] > 0.01
    shifted = calibration(calibrate(held_out, 0.001), unseen + 0.5)
    assert shifted["rates"]["0.01"] > 0.015
    assert shifted["ks_p_finite"] < 1e-6


def test_the_finite_test_of_uniformity_is_the_one_of_two_samples():
    rng = np.random.default_rng(3)
    held_out, unseen = rng.normal(size=900), rng.normal(size=5000) + 0.05
    found = calibration(calibrate(held_out, 0.01), unseen)
    assert found["ks_p_finite"] == pytest.approx(
        stats.ks_2samp(held_out, unseen, method="asymp").pvalue, abs=0.05
    )
    assert found["ks_p"] < found["ks_p_finite"]


def test_chance_puts_some_rates_outside_even_of_a_perfect_detector():
    rng = np.random.default_rng(4)
    near = []
    for _ in range(2000):
        threshold = calibrate(rng.random(2000), 0.01)
        near.append(within(threshold.anomalous(rng.random(4000)).mean() / 0.01))
    assert 1 - chance_outside(0.01, 2000, 4000) == pytest.approx(np.mean(near), abs=0.03)


def test_differences_are_paired_by_seed_with_the_interval_of_t():
    rng = np.random.default_rng(5)
    mine, theirs = rng.random(6), rng.random(6)
    gap = paired(dict(enumerate(mine)), {**dict(enumerate(theirs)), 9: 0.0})
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    assert (gap.seeds, gap.low, gap.high) == pytest.approx((6, expected.low, expected.high))
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert paired({0: 1.0}, {0: 0.5}).low is None
    alone = pooled([gap])
    assert (alone.mean, alone.low, alone.high) == pytest.approx((gap.mean, gap.low, gap.high))
    both = pooled([gap, gap])
    assert both.high - both.low < gap.high - gap.low


def test_protocol_g_trains_on_half_of_the_normals_and_tests_on_all_else():
    dataset = made()
    parts = halves(dataset, 3)
    assert len(parts.train) == 55
    assert len(parts.test) == 65
    assert parts.truth.sum() == 10
    assert not set(parts.train) & set(parts.test)
    assert np.array_equal(halves(dataset, 3).test, parts.test)
    assert not np.array_equal(halves(dataset, 4).test, parts.test)
    assert problem("G", dataset, 3).ratio == pytest.approx(10 / 65)


def test_protocol_c_takes_one_class_of_a_bundled_set_for_the_anomalies():
    places = chosen(("C",), None)
    assert len(places) == 1 + 10 + 3 + 3
    sets = {name: read(protocol, name) for protocol, name in places}
    assert [sets[f"digits-{i}"].anomaly.sum() for i in range(3)] == [178, 182, 177]
    parts = problem("C", sets["iris-virginica"], 0)
    assert (len(parts.train), len(parts.test), parts.truth.sum()) == (50, 100, 50)
    assert parts.ratio == 0.5
    assert len(seeds_of("C", "digits-3", None)) == 3


def test_repetitions_count_as_neighbours():
    one = problem("G", made(repeated=True), 0)
    assert len(np.unique(one.train)) < len(one.train)
    (system,) = (s for s in methods.neighbours() if "k-nn-5" in s.methods)
    found = system.run(one)
    x = one.encoded(methods.Z_SCORE)
    distances = np.sort(np.linalg.norm(x[one.test][:, None] - x[one.train], axis=2), axis=1)
    for k in (1, 5):
        assert found[f"k-nn-{k}"].outcome.scores == pytest.approx(distances[:, k - 1], abs=1e-3)


def test_categories_reach_the_detector_as_texts_and_truths():
    rng = np.random.default_rng(6)
    x = np.column_stack([rng.normal(size=60), rng.integers(0, 4, 60), rng.integers(0, 2, 60)])
    dataset = made_of("kddcup99", x, (1, 2), rng.random(60) < 0.2, 0.2)
    kinds = {c.name: c.kind for c in infer_schema(as_given(dataset), labels=False).columns}
    assert kinds == {"number0": "number", "text0": "category", "truth1": "boolean"}
    assert as_given(made()) is not None


def test_what_is_finished_is_not_run_again_and_another_recipe_is(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(out, "--methods", "ours,k-nn-5,mahalanobis", *SMALL) == 0
    first = finished(out)
    name = "ours[training.max_steps=20, model.hidden=[8]]"
    assert [(run["method"], run["seed"]) for run in first] == [
        (method, seed) for seed in (0, 1) for method in (name, "k-nn-5", "mahalanobis")
    ]
    assert first[0]["settings"]["recipe"]["training"]["max_steps"] == 20
    assert first[0]["calibration"]["rates"].keys() == {f"{budget:g}" for budget in BUDGETS}
    assert call(out, "--methods", "ours,k-nn-5,mahalanobis", *SMALL) == 0
    assert finished(out) == first

    with (out / "results.jsonl").open("a") as file:
        file.write('{"protocol": "G", "set": "Pi')  # killed while it wrote
    assert call(out, "--recipe", "training.max_steps=10") == 0
    runs = Store(out / "results.jsonl").read()
    assert len(runs) == len(first) + 2
    assert (out / "results.jsonl").read_bytes().endswith(b"}\n")

    document = json.loads((out / "detection.json").read_text())
    assert {line["method"] for line in document["means"]} == {run.method for run in runs.values()}
    text = (out / "detection.md").read_text()
    assert "| Pima |" in text
    assert "ours[training.max_steps=10]" in text
    assert "Calibration" in text


def test_runs_of_a_recipe_that_is_not_todays_are_left_out(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(out, "--methods", "mahalanobis") == 0
    store = Store(out / "results.jsonl")
    (old, *_) = store.read().values()
    store.append([replace(old, fingerprint="of another day", seed=7)])
    assert call(out, "--report-only") == 0
    assert "1 runs of other recipes are left out" in capsys.readouterr().out
    document = json.loads((out / "detection.json").read_text())
    assert [line["seeds"] for line in document["means"]] == [2]


def test_differences_are_ours_less_theirs(data, tmp_path):
    out = tmp_path / "out"
    assert call(out, "--methods", "k-nn-5,mahalanobis") == 0
    store = Store(out / "results.jsonl")
    mine = fingerprint(ours())
    store.append(
        [
            replace(run, method="ours", fingerprint=mine, auroc=run.auroc + 0.01 * (1 + run.seed))
            for run in store.read().values()
            if run.method == "k-nn-5"
        ]
    )
    assert call(out, "--report-only") == 0
    lines = json.loads((out / "detection.json").read_text())["ours_less_theirs"]
    gaps = {(g["method"], g["measure"], g["set"]): g["mean"] for g in lines}
    assert gaps["k-nn-5", "auroc", "Pima"] == pytest.approx(0.015)
    assert gaps["k-nn-5", "auroc", "mean over sets"] == pytest.approx(0.015)
    assert gaps["k-nn-5", "f1", "Pima"] == pytest.approx(0)


def test_the_recipe_is_changed_by_name_or_refused():
    recipe = changed(Detector().recipe, ["model.beta=0.1", "model.hidden=[8, 4]", "device=cpu"])
    assert (recipe.model.beta, recipe.model.hidden, recipe.device) == (0.1, (8, 4), "cpu")
    assert changed(recipe, ["model.linear_path=false"]).model.linear_path is False
    for bad in (
        "model.nothing=1",
        "model.beta.more=1",
        "model.beta",
        "training.max_steps=0",
        "model.linear_path=False",
    ):
        with pytest.raises(ConfigError):
            changed(Detector().recipe, [bad])
    assert fingerprint(ours(["model.beta=0.1"])) != fingerprint(ours())


def test_unknown_names_and_absent_data_are_refused_in_words(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VAEISO_DATA", raising=False)
    assert call(tmp_path, "--methods", "nobody") == 2
    assert 'no method "nobody"' in capsys.readouterr().err
    assert call(tmp_path, "--methods", "lof") == 2
    assert "VAEISO_DATA" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="there is no set"):
        chosen(("G",), ["thyroid"])
    assert len(chosen(("G", "Z"), None)) == 18
    counts = [len(seeds_of(*place, None)) for place in (("G", "Wilt"), ("Z", "kddcup99-rev"))]
    assert [*counts, len(seeds_of("Z", "thyroid", None))] == [3, 5, 20]


def test_a_method_whose_package_is_missing_is_left_out_in_words(monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda _name: None)
    words = [methods.missing(system) for system in methods.neighbours()]
    assert all(word is not None and "not installed" in word for word in words)
    assert words[-1] == "pyod-vae left out: pyod is not installed (pip install pyod tqdm)"
