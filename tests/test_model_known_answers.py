"""Gaussian data has a closed form (probabilistic PCA): everything must reproduce it."""

import math

import numpy as np
import pytest
import torch

from vaeiso_monitor.model import ModelConfig, Scorer, ScoringConfig, TrainingConfig, fit
from vaeiso_monitor.model.isometry import finite_difference_norms, isometry, matrices
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, unbounded

CPU = torch.device("cpu")
BETA = 0.2
NOISE = BETA / 2
KEPT = np.array([4.0, 1.5, 0.6])
WIDTH = 6


def axes():
    return np.linalg.qr(np.random.default_rng(3).normal(size=(WIDTH, WIDTH)))[0]


def covariance():
    eigenvalues = np.concatenate([KEPT, np.full(WIDTH - len(KEPT), NOISE)])
    return axes() * eigenvalues @ axes().T


def gaussian(count, seed=0):
    draws = np.random.default_rng(seed).multivariate_normal(np.zeros(WIDTH), covariance(), count)
    return draws.astype(np.float32)


def exact_nats(x):
    x = x.astype(np.float64)
    _, log_det = np.linalg.slogdet(covariance())
    squared = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance()), x)
    return 0.5 * (squared + log_det + x.shape[1] * math.log(2 * math.pi))


def linear_maps():
    """Encoder [m, n] and decoder [n, m] of probabilistic PCA."""
    decoder = (axes()[:, :3] * np.sqrt(KEPT - NOISE)).T
    return decoder.T / KEPT, decoder


def vae_of(shape, layers):
    named = dict(zip(shape.arrays(), layers, strict=True))
    flat = np.concatenate([np.broadcast_to(v, shape.arrays()[k]).ravel() for k, v in named.items()])
    return VAE(shape, torch.tensor(flat[None], dtype=torch.float32), [BETA])


def head():
    return np.array([0, 0, 0, *(unbounded(math.log(NOISE / kept)) for kept in KEPT)])


def linear_vae():
    encoder, decoder = linear_maps()
    widened = np.concatenate([encoder, np.zeros_like(encoder)], axis=1)
    return vae_of(Shape(WIDTH, 3, ()), [widened, head(), decoder, 0.0])


def silu_vae():
    """The same maps through two hidden layers: SiLU(u) - SiLU(-u) = u."""
    encoder, decoder = linear_maps()
    both = np.concatenate([np.eye(3), -np.eye(3)], axis=1)  # [3, 6]
    across = both.T @ both
    last = np.concatenate([both.T, np.zeros_like(both.T)], axis=1)
    layers = [encoder @ both, 0.0, across, 0.0, last, head()]
    layers += [both, 0.0, across, 0.0, both.T @ decoder, 0.0]
    return vae_of(Shape(WIDTH, 3, (6, 6)), layers)


@pytest.mark.parametrize("build", [linear_vae, silu_vae])
@pytest.mark.parametrize("method", ["sampled", "closed"])
def test_nats_are_the_exact_log_density(build, method):
    x = gaussian(500)
    scorer = Scorer(build(), ScoringConfig(method, precision="float64"), CPU)
    np.testing.assert_allclose(scorer.score(x), exact_nats(x), rtol=1e-5, atol=1e-5)
    scorer.close()


@pytest.mark.parametrize("build", [linear_vae, silu_vae])
def test_isometry_of_the_closed_form(build):
    x = gaussian(300)
    table = isometry(build(), x)
    for latent, kept in zip(table.latents, KEPT, strict=True):
        assert latent.importance == pytest.approx(kept, rel=1e-5)
        assert latent.norm_mean == pytest.approx(1 - NOISE / kept, rel=1e-5)
        assert latent.norm_expected == pytest.approx(1 - NOISE / kept, rel=1e-5)
        assert latent.norm_sd < 1e-5
        assert latent.orthogonality_error < 1e-5
        assert latent.meaningful
    shares = KEPT / KEPT.sum()
    assert table.effective_dimension == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert table.coding_loss == pytest.approx((NOISE * (1 - NOISE / KEPT)).sum(), rel=1e-5)
    assert table.healthy


def test_transform_loss_of_the_closed_form():
    lost = 3 * NOISE + (NOISE**2 / KEPT).sum()
    found = isometry(linear_vae(), gaussian(60_000), max_records=60_000).transform_loss
    assert found == pytest.approx(lost, rel=0.02)


def test_finite_differences_agree_with_differentiation():
    x = gaussian(50)
    diagonal = torch.cat(list(matrices(silu_vae(), x))).diagonal(dim1=1, dim2=2).numpy()
    np.testing.assert_allclose(finite_difference_norms(silu_vae(), x), diagonal, rtol=1e-4)


@pytest.mark.parametrize(
    ("hidden", "objective", "norm_error"),
    # decomposed, a net may bend its decoder a little: norms rise where sigma is large
    [((), "decomposed", 0.05), ((24, 24), "plain", 0.05), ((24, 24), "decomposed", 0.1)],
)
def test_a_trained_model_finds_the_closed_form(hidden, objective, norm_error):
    x = gaussian(6000)
    config = ModelConfig(beta=BETA, latent_dim=4, hidden=hidden, objective=objective)
    training = TrainingConfig(max_steps=2000, learning_rate=0.01, annealing=0.4)
    result = fit(x, config, training, device=CPU)
    fresh = gaussian(4000, seed=1)
    scorer = Scorer(result.model, ScoringConfig("closed"), CPU)
    assert scorer.score(fresh).mean() == pytest.approx(exact_nats(fresh).mean(), rel=0.01)
    scorer.close()
    table = isometry(result.model, fresh)
    used = [latent for latent in table.latents if latent.meaningful]
    used.sort(key=lambda latent: -latent.importance)
    assert [latent.importance for latent in used] == pytest.approx(KEPT, rel=0.1)
    assert [latent.norm_mean for latent in used] == pytest.approx(1 - NOISE / KEPT, abs=norm_error)
    assert table.healthy, table.verdict
