"""The paper's quantities of a record set, each against an answer that is known beforehand."""

import math

import numpy as np
import pytest
import torch

from tests.test_model_known_answers import (
    BETA,
    CPU,
    KEPT,
    NOISE,
    WIDTH,
    axes,
    exact_nats,
    gaussian,
    linear_vae,
    silu_vae,
)  # fmt: skip
from vaeiso_monitor.model import ModelConfig, TrainingConfig, fit, objective
from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy
from vaeiso_monitor.model.distortion import DownwardConvex, SquaredError
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.embedding import Embedding, posterior
from vaeiso_monitor.model.isometry import finite_difference_norms, matrices
from vaeiso_monitor.model.jacobian import jacobians
from vaeiso_monitor.model.likelihood import likelihood
from vaeiso_monitor.model.loadings import loadings
from vaeiso_monitor.model.rate import rate_distortion, water_filling
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, initial


def random_vae(width=5, latent_dim=2, distortion=None, seed=0):
    model = initial(Shape(width, latent_dim, (7,)), [0.05], seed, distortion)
    noise = torch.randn(model.weights.shape, generator=torch.Generator().manual_seed(seed + 1))
    return model.with_weights(model.weights + 0.2 * noise, [0.05]).to(CPU, torch.float64)


def records(width=5, count=30, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (count, width))


def test_the_objective_is_the_exact_log_density_of_gaussian_data():
    x = gaussian(300)
    np.testing.assert_allclose(likelihood(silu_vae(), x).objective, -exact_nats(x), rtol=1e-5)


def test_both_ways_of_equation_19_agree_on_the_embedding():
    # on the plane of the latents, what is left beside them is a normal of variance beta/2 at 0
    rng = np.random.default_rng(1)
    x = ((rng.normal(size=(200, 3)) * np.sqrt(KEPT)) @ axes()[:, :3].T).astype(np.float32)
    found = likelihood(linear_vae(), x)
    beside = -0.5 * (WIDTH - 3) * math.log(2 * math.pi * NOISE)
    mean, sigma = posterior(linear_vae(), x)
    shrunk = NOISE / KEPT  # Lemma 3: what the decoder leaves out, and the prior at mu leaves out
    exact = found.embedded + beside - 0.5 * (mean**2 * (1 / (1 - shrunk) - 1)).sum(1)
    np.testing.assert_allclose(found.objective, exact, atol=1e-4)
    np.testing.assert_allclose(found.sigma, np.log(sigma).sum(1))
    assert np.corrcoef(found.embedded, found.objective)[0, 1] > 0.99


def test_equation_21_scales_by_half_the_latents():
    x = records()
    found = likelihood(random_vae(distortion=DownwardConvex()), x)
    a = 2 / 3 + 2 * (x**2).sum(1) / 21
    np.testing.assert_allclose(np.exp(found.correction), a ** (2 / 2))
    np.testing.assert_allclose(
        found.input_space(found.objective), found.objective + found.correction
    )
    assert np.all(likelihood(random_vae(), x).correction == 0)


def test_equation_20_takes_the_root_of_the_determinant():
    x = records(2)
    found = likelihood(random_vae(2, 2, BinaryCrossEntropy()), x)
    np.testing.assert_allclose(found.correction, 0.5 * -np.log(2 * x * (1 - x)).sum(1))


def test_the_input_space_is_refused_where_nothing_is_known():
    found = likelihood(random_vae(distortion=BinaryCrossEntropy()), records())
    with pytest.raises(ValueError, match="m = n"):
        found.input_space(found.objective)


@pytest.mark.parametrize("distortion", [SquaredError(), DownwardConvex(), BinaryCrossEntropy()])
def test_derivatives_are_those_of_autograd(distortion):
    model, x = random_vae(distortion=distortion), records(count=3)
    (piece,) = jacobians(model, x)
    for row in range(3):
        dense = torch.autograd.functional.jacobian(
            lambda z: model.decode(z[None, None])[0, 0], piece.mean[row]
        )
        torch.testing.assert_close(piece.columns[:, row], (dense * piece.sigma[row]).T)
    expected = model.decode(piece.mean[None])[0]
    torch.testing.assert_close(piece.expected, expected)


@pytest.mark.parametrize("distortion", [DownwardConvex(), BinaryCrossEntropy()])
def test_norms_of_any_distortion_agree_with_equation_23(distortion):
    model, x = random_vae(distortion=distortion), records()
    norms = torch.cat(list(matrices(model, x))).diagonal(dim1=1, dim2=2).numpy()
    np.testing.assert_allclose(finite_difference_norms(model, x, 1e-5), norms, rtol=1e-3)


@pytest.mark.parametrize("distortion", [SquaredError(), DownwardConvex(), BinaryCrossEntropy()])
def test_lemma_1_against_a_hundred_thousand_samples(distortion):
    model, x = random_vae(distortion=distortion), records(count=1)
    draws = 0.03 * torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0)).double()
    (piece,) = jacobians(model, x)
    sampled = model.decode((piece.mean + piece.sigma * draws)[None])[0]
    found = distortion.total(piece.expected, sampled).mean() / 0.03**2
    closed = (piece.columns * distortion.metric(piece.expected, piece.columns)).sum()
    assert float(found) == pytest.approx(float(closed), rel=0.02)


def test_lemma_3_over_a_sweep_of_beta():
    x = np.random.default_rng(0).normal(size=(6000, 1)).astype(np.float32)
    config = ModelConfig(betas=(0.05, 0.2), latent_dim=1, hidden=(8,))
    training = TrainingConfig(batch_size=1024, max_steps=1500, learning_rate=0.01)
    members = fit(x, config, training, device=CPU).members
    for i, beta in enumerate(config.betas):
        found = rate_distortion(members.member(i), x)
        level = beta / 2 / float(x.var())
        assert found.transform / found.coding == pytest.approx(level / (1 - level), rel=0.15)


def test_rate_and_distortion_of_the_closed_form():
    found = rate_distortion(linear_vae(), gaussian(60_000))
    eigenvalues = np.array([*KEPT, *[NOISE] * (WIDTH - 3)])
    best = water_filling(eigenvalues, BETA)
    assert found.rate_nats == pytest.approx(best.rate_nats, rel=0.01)
    assert found.distortion == pytest.approx(best.distortion, rel=0.01)
    assert found.transform == pytest.approx(best.transform, rel=0.02)
    assert found.coding == pytest.approx(best.coding, rel=0.01)


def test_water_filling_by_hand():
    best = water_filling(np.array([4.0, 1.0, 0.1]), 0.5)
    assert best.rate_nats == pytest.approx(0.5 * math.log(16 * 4))
    assert best.distortion == pytest.approx(0.25 + 0.25 + 0.1)
    assert water_filling(np.array([0.1]), 0.5).rate_nats == 0


def test_the_embedding_of_gaussian_data_is_its_principal_components():
    x = gaussian(5000)
    model = linear_vae()
    mean, _ = posterior(model, x)
    y = Embedding.fit(model, x).of(mean)
    scores = x.astype(np.float64) @ axes()[:, :3]
    for j, kept in enumerate(KEPT):
        # the mean shrinks a component by 1 - NOISE / kept, and y by half of that
        right = scores[:, j] * math.sqrt(1 - NOISE / kept)
        assert np.abs(y[:, j] - y[:, j].mean() - right + right.mean()).max() < 1e-4


def test_the_embedding_grows_everywhere_and_goes_on_straight_beyond_its_records():
    model, x = random_vae(), records(count=400)
    mean, _ = posterior(model, x)
    embedding = Embedding.fit(model, x)
    line = np.repeat(np.linspace(mean.min() - 5, mean.max() + 5, 500)[:, None], 2, axis=1)
    y = embedding.of(line)
    assert (np.diff(y, axis=0) > 0).all()
    ends = np.diff(y, axis=0)[[0, -1]] / np.diff(line, axis=0)[[0, -1]]
    np.testing.assert_allclose(ends, [embedding.slope[:, 0], embedding.slope[:, -1]], rtol=1e-6)
    few = Embedding.fit(model, x[:5])
    assert (np.diff(few.of(line), axis=0) > 0).all()


def test_loadings_of_a_linear_decoder_are_its_weights():
    found = loadings(linear_vae(), gaussian(50))
    decoder = (axes()[:, :3] * np.sqrt(KEPT - NOISE)).T
    np.testing.assert_allclose(found.signed, decoder, atol=1e-6)
    np.testing.assert_allclose(found.absolute, np.abs(decoder), atol=1e-6)
    doubled = loadings(linear_vae(), gaussian(50), np.full((50, WIDTH), 2.0))
    np.testing.assert_allclose(doubled.signed, 2 * decoder, atol=1e-6)


def test_the_closed_score_does_not_know_the_order_of_latents():
    model, x = random_vae(latent_dim=3), records()
    meta, arrays = model.to(CPU, torch.float32).state()
    order = [2, 0, 1]
    arrays["decoder.0.weight"] = arrays["decoder.0.weight"][:, order]
    for name in ("encoder.1.weight", "encoder.1.bias"):
        arrays[name] = arrays[name][..., [*order, *(3 + j for j in order)]]
    turned = VAE.from_state(meta, arrays).to(CPU, torch.float64)
    for moved, kept in zip(jacobians(turned, x), jacobians(model, x), strict=True):
        torch.testing.assert_close(moved.columns.square().sum(0), kept.columns.square().sum(0),
                                   rtol=1e-5, atol=1e-7)  # fmt: skip
        torch.testing.assert_close(moved.mean, kept.mean[:, order], rtol=1e-5, atol=1e-6)


def test_a_rotation_of_the_input_leaves_nats_unchanged_up_to_training_noise():
    x, fresh = gaussian(6000), gaussian(2000, seed=1)
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    config = ModelConfig(beta=BETA, latent_dim=4, hidden=(24,))
    training = TrainingConfig(max_steps=1500, learning_rate=0.01)
    draws, found = sign_draws(8, 4, 0), []
    for rotation in (np.eye(WIDTH, dtype=np.float32), turn):
        model = fit(x @ rotation, config, training, device=CPU).model
        with torch.no_grad():
            found.append(objective.nats(model, torch.from_numpy(fresh @ rotation), draws)[0])
    plain, turned = (nats.numpy() for nats in found)
    assert turned.mean() == pytest.approx(plain.mean(), rel=0.01)
    assert np.corrcoef(plain, turned)[0, 1] > 0.99
