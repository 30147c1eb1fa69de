"""GMVAE, DAGMM and RaDOGAGA: their mixture against scipy, their lanes, and what they find."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from vaeiso_monitor.experiments.anomaly import data, protocol
from vaeiso_monitor.experiments.anomaly.baselines import dagmm, gmvae, radogaga
from vaeiso_monitor.experiments.anomaly.baselines.descent import Schedule
from vaeiso_monitor.experiments.anomaly.baselines.frame import Dice, FrameConfig, residuals
from vaeiso_monitor.experiments.anomaly.baselines.mixture import Mixture
from vaeiso_monitor.experiments.anomaly.classical import ClassicalConfig, classical
from vaeiso_monitor.experiments.anomaly.encoding import Encoding
from vaeiso_monitor.experiments.anomaly.trial import Trial
from vaeiso_monitor.experiments.anomaly.vae import VaeConfig, vae

CPU = torch.device("cpu")
FRAME = FrameConfig(hidden=(8,), latents=2, mixtures=2, ridge=1e-3)
SHORT = Schedule(steps=150, batch_size=64, learning_rate=5e-3)
Z = Encoding("z-score")


def line(seed=0):
    """Records near a bent line in five dimensions, and a tenth that lie off it."""
    rng = np.random.default_rng(seed)
    along = rng.uniform(-1, 1, 300)
    x = np.stack([along, along**2, -along, 0.5 * along, along**3], axis=1)
    x += 0.03 * rng.normal(size=x.shape)
    anomaly = np.arange(300) % 10 == 0
    x[anomaly] = rng.uniform(-1, 1, (anomaly.sum(), 5)) + np.sign(rng.normal(size=5))
    return data.made_of("line", x, (), anomaly, 0.1)


def trial(seed, dataset=None):
    dataset = dataset or line()
    parts = protocol.split(dataset, seed)
    return Trial(dataset, parts.train, parts.test, seed, CPU, lambda done, of: None)


def auroc(outcome, seed):
    return protocol.auroc(outcome.scores, protocol.split(line(), seed).truth)


SYSTEMS = {
    "dagmm": (dagmm.dagmm, dagmm.DagmmConfig(FRAME, SHORT, Z)),
    "radogaga-d": (
        radogaga.radogaga,
        radogaga.RadogagaConfig(FRAME, SHORT, Z, "d", lambda1=1, lambda2=10),
    ),
    "radogaga-log-d": (
        radogaga.radogaga,
        radogaga.RadogagaConfig(FRAME, SHORT, Z, "log d", lambda1=1, lambda2=10, noise="normal"),
    ),
    "gmvae": (gmvae.gmvae, gmvae.GmvaeConfig(FRAME, SHORT, Z, beta=0.1)),
}


def test_the_mixture_is_that_of_scipy():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    shares = rng.dirichlet([1, 1], size=400)
    weights = shares.mean(0)
    means = [np.average(z, axis=0, weights=share) for share in shares.T]
    spreads = [np.cov(z.T, aweights=share, ddof=0) + 0.1 * np.eye(3) for share in shares.T]
    density = sum(
        w * multivariate_normal(m, s).pdf(z)
        for w, m, s in zip(weights, means, spreads, strict=True)
    )
    other = torch.from_numpy(rng.normal(size=(1, 400, 3)))  # a second lane changes nothing
    lanes = torch.cat([torch.from_numpy(z)[None], other])
    both = torch.from_numpy(shares).expand(2, -1, -1)
    mixture = Mixture.of(lanes, both, 0.1)
    assert mixture.energy(lanes)[0].numpy() == pytest.approx(-np.log(density))
    inverse = sum((1 / np.diag(spread)).sum() for spread in spreads)
    assert float(mixture.penalty()[0]) == pytest.approx(inverse)


def test_residuals_of_known_records():
    x = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    copy = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    assert residuals(x, copy)[0].numpy() == pytest.approx(np.array([[0, 1], [5**0.5, 0]]), abs=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_lane_does_not_depend_on_its_neighbours(name):
    run, config = SYSTEMS[name]
    brief = replace(config, schedule=replace(SHORT, steps=5))  # longer, and rounding grows
    alone, other = run([trial(1)], brief)[0].scores, run([trial(2)], brief)[0].scores
    beside = run([trial(1), trial(2)], brief)
    assert beside[0].scores == pytest.approx(alone, rel=1e-3, abs=1e-3)
    assert beside[1].scores == pytest.approx(other, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_lies_off_the_line_is_found(name):
    run, config = SYSTEMS[name]
    outcomes = run([trial(seed) for seed in range(6)], config)
    found = [auroc(outcome, seed) for seed, outcome in enumerate(outcomes)]
    # a seed of these may fail outright, of DAGMM and GMVAE more often: their mixtures collapse
    assert np.median(found) > 0.9


def test_a_repeated_record_weighs_as_often_as_it_occurs():
    dataset = line()
    run, config = SYSTEMS["dagmm"]
    once = trial(1, dataset)
    spread = data.Dataset(
        "spread",
        dataset.numbers[dataset.rows],
        dataset.categories[dataset.rows],
        np.arange(300),
        dataset.anomaly,
        0.1,
    )
    assert run([once], config)[0].scores == pytest.approx(
        run([trial(1, spread)], config)[0].scores, rel=1e-3, abs=1e-3
    )


def test_radogaga_minimises_rate_and_two_distortions():
    config = radogaga.RadogagaConfig(
        FrameConfig((), 2, 1, dropout=0.0), SHORT, Z, "d", lambda1=3.0, lambda2=5.0
    )
    x = torch.randn(1, 50, 4, generator=torch.Generator().manual_seed(0))
    loss = {}
    for key, (l1, l2) in {"rate": (0, 0), "one": (1, 0), "two": (0, 1), "all": (3, 5)}.items():
        weighed = radogaga.RadogagaConfig(config.frame, SHORT, Z, "d", lambda1=l1, lambda2=l2)
        loss[key] = float(radogaga.recipe(weighed, 4, Dice([7], CPU)).loss(x).detach())
    first, second = loss["one"] - loss["rate"], loss["two"] - loss["rate"]
    assert loss["all"] == pytest.approx(loss["rate"] + 3 * first + 5 * second, rel=1e-4)
    decoder = radogaga.recipe(config, 4, Dice([7], CPU)).frame._decoder[0][0][0].detach()
    # of a linear decoder W the noise of variance 1/12 costs |W|^2 / 12
    assert second == pytest.approx(float(decoder.square().sum()) / 12, rel=0.25)


@pytest.mark.parametrize("detector", ["isolation-forest", "k-nn", "mahalanobis"])
def test_classical_detectors_find_it_too(detector):
    pytest.importorskip("sklearn")
    outcome = classical(trial(1), ClassicalConfig(detector, Z, trees=50))
    assert auroc(outcome, 1) > 0.9


def test_the_vae_is_trained_once_and_scored_twice():
    config = VaeConfig(Z, beta=0.1, latents=2, hidden=(16,), max_steps=200, batch_size=64)
    outcomes = vae(trial(1), config)
    assert list(outcomes) == ["vae-sampled", "vae-closed"]
    assert {outcome.train_seconds for outcome in outcomes.values()} == {
        outcomes["vae-closed"].train_seconds
    }
    assert min(auroc(outcome, 1) for outcome in outcomes.values()) > 0.9
    sampled, closed = (outcome.scores for outcome in outcomes.values())
    assert np.corrcoef(sampled, closed)[0, 1] > 0.95
    assert not np.array_equal(sampled, closed)
