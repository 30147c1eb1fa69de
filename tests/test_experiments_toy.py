"""The toy data, and what is told of a run; `reproduce toy` makes the runs themselves."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.rate_distortion import SweepConfig, gaussian, least_rate
from vaeiso_monitor.experiments.records import store, stored
from vaeiso_monitor.experiments.toy import ToyConfig, ToyLatent, ToyRun, run_toy
from vaeiso_monitor.experiments.toy_data import VARIANCES, toy_data
from vaeiso_monitor.experiments.toy_series import run_series, targets
from vaeiso_monitor.model.rate import water_filling

SMALL = ToyConfig(records=2000, hidden=(16,), max_steps=60)


def test_the_sources_have_the_variances_of_the_paper():
    data = toy_data(200_000, seed=0)
    np.testing.assert_allclose(data.sources.var(0), VARIANCES, rtol=0.02)
    np.testing.assert_allclose(data.sources.mean(0), 0, atol=0.02)
    assert data.x.shape == (200_000, 16)
    eigenvalues = np.linalg.eigvalsh(np.cov(data.x.T))
    np.testing.assert_allclose(eigenvalues[-3:], VARIANCES, rtol=0.02)
    assert eigenvalues[:-3].max() < 1e-6
    # distances in x are distances in s: the axes are orthonormal
    np.testing.assert_allclose((data.x**2).sum(1), (data.sources**2).sum(1), rtol=1e-4)


def test_the_density_integrates_to_one():
    # E[1 / p] over a box is its volume where p covers it: measured on the middle of each source
    data = toy_data(400_000, seed=1)
    half = 0.8 * np.sqrt(VARIANCES)
    inside = (np.abs(data.sources) < half).all(1)
    volume = np.mean(inside / data.density)
    assert volume == pytest.approx(np.prod(2 * half), rel=0.02)


def test_each_source_has_its_own_shape():
    sources = toy_data(200_000, seed=0).sources / np.sqrt(VARIANCES)
    skew, fourth = (sources**3).mean(0), (sources**4).mean(0)
    assert skew[1] == pytest.approx(2 / np.sqrt(8), abs=0.05)
    assert np.abs(skew[[0, 2]]).max() < 0.05
    assert fourth[0] == pytest.approx(4.2, abs=0.2)  # logistic
    assert fourth[2] < 2.5  # two peaks


def test_the_same_seed_is_the_same_data():
    first, again, other = toy_data(50, 3), toy_data(50, 3), toy_data(50, 4)
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)


def perfect(loss="squared-error"):
    rows = [ToyLatent(0.97, 0.05, v, v / 2, 200 * v, 6 * v, v, 0.01, 0.99) for v in VARIANCES]
    r = {"prior": 0.5, "objective": 0.95, "corrected_prior": 0.97, "corrected_objective": 0.97}
    return ToyRun(loss, 0, asdict(SMALL), rows, r, 0.02, 1.0)


@pytest.mark.parametrize("loss", ["squared-error", "downward-convex"])
def test_a_good_run_meets_every_target(loss):
    assert all(target.met for target in targets(perfect(loss)))


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"norm_mean": 0.89}, "norm of z2"), ({"norm_sd": 0.2}, "norm of z2"),
        ({"importance": 0.8}, "sigma^-2] of z2"), ({"ratio": 4.5}, "ratio of E[sigma^-2]"),
    ],
)  # fmt: skip
def test_a_figure_that_is_off_is_missed(change, missed):
    run = perfect()
    run.latents[1] = replace(run.latents[1], **change)
    (target,) = [target for target in targets(run) if not target.met]
    assert missed in target.what


@pytest.mark.parametrize(
    ("loss", "name", "r"),
    [
        ("squared-error", "objective", 0.89), ("downward-convex", "corrected_prior", 0.90),
        ("downward-convex", "objective", 0.98),
    ],
)  # fmt: skip
def test_a_correlation_that_is_off_is_missed(loss, name, r):
    run = perfect(loss)
    run.correlations[name] = r
    assert not all(target.met for target in targets(run))


def test_a_run_measures_everything_and_survives_json():
    torch.manual_seed(0)
    run, points = run_toy("downward-convex", 0, SMALL, device="cpu")
    assert ToyRun.from_dict(json.loads(json.dumps(asdict(run)))) == run
    assert points.shape == (5, 2000)
    importances = [latent.importance for latent in run.latents]
    assert importances == sorted(importances)
    assert run.latents[0].ratio == 1.0
    for latent in run.latents:
        assert latent.precision * 0.01 / 2 == pytest.approx(latent.importance)


def test_a_series_goes_on_where_it_stopped(tmp_path):
    told = []
    first = run_series([0], tmp_path, SMALL, device="cpu", progress=lambda n, p: told.append(n))
    assert {"squared-error, seed 0", "downward-convex, seed 0"} == set(told)
    told.clear()
    again = run_series([0, 1], tmp_path, SMALL, device="cpu", progress=lambda n, p: told.append(n))
    assert set(told) == {"squared-error, seed 1", "downward-convex, seed 1"}
    assert again[0].run == first[0].run
    assert len(json.loads((tmp_path / "toy.json").read_text())["runs"]) == 4
    other = replace(SMALL, max_steps=61)
    told.clear()
    run_series([0], tmp_path, other, device="cpu", progress=lambda n, p: told.append(n))
    assert told  # other settings are another run


def test_a_damaged_result_names_its_file(tmp_path):
    path = tmp_path / "run.json"
    assert stored(path, {"a": 1}) is None
    store(path, {"a": (1, 2)}, {"r": 2})
    assert stored(path, {"a": (1, 2)}) == {"r": 2}
    assert stored(path, {"a": (1, 3)}) is None
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json"):
        stored(path, {"a": 1})


def test_the_least_rate_inverts_water_filling():
    variances = np.array([4.0, 1.0, 0.1])
    for beta in (0.05, 0.5, 3.0):
        best = water_filling(variances, beta)
        assert least_rate(variances, best.distortion) == pytest.approx(best.rate_nats, abs=1e-6)


def test_the_gaussian_data_has_its_variances():
    config = SweepConfig(records=100_000)
    x, fresh = gaussian(config, 0)
    for part in (x, fresh):
        found = np.sort(np.linalg.eigvalsh(np.cov(part.T)))
        np.testing.assert_allclose(found, np.sort(config.variances), rtol=0.03)
    assert not np.array_equal(x[:5], fresh[:5])
