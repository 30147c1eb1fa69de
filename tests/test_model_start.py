"""Where training starts: probabilistic PCA in closed form, and modes at the clusters."""

import math

import numpy as np
import pytest
import torch

from vaeiso_monitor.model import ModelConfig, TrainingConfig, fit, isometry, objective
from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy, MixedColumns
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.start import started
from vaeiso_monitor.model.vae import FIRST_LOG_VARIANCE, initial, named_parts

CPU = torch.device("cpu")
BETA = 0.2
NOISE = BETA / 2
VARIANCES = np.array([4.0, 1.5, 0.6, 0.05, 0.02])
WIDTH = len(VARIANCES)


def gaussian(count=400, seed=0):
    """Records whose sample covariance has exactly the eigenvalues VARIANCES."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(count, WIDTH))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / count)).T
    axes = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    return (white * np.sqrt(VARIANCES)) @ axes.T + np.arange(WIDTH)


def begun(x, latents=3, betas=(BETA,), modes=0, hidden=(8,), distortion=None):
    """Return members at their start, what their hidden layers add taken away."""
    shape = Shape(x.shape[1], latents, hidden, modes, linear_path=True)
    model = initial(shape, betas, 1, distortion)
    parts = named_parts(shape, model.weights)
    last = len(hidden)
    parts[f"encoder.{last}.weight"][:, : hidden[-1]] = 0
    parts[f"decoder.{last}.weight"][:, : hidden[0]] = 0
    return started(model, torch.from_numpy(x.astype(np.float32)), seed=1)


def closed_form(x, fresh, latents, noise=NOISE):
    """Return the nats of probabilistic PCA with this noise, fitted to x."""
    center = x.mean(0)
    values, axes = np.linalg.eigh((x - center).T @ (x - center) / len(x))
    values, axes = values[::-1][:latents], axes[:, ::-1][:, :latents]
    loadings = axes * np.sqrt(np.maximum(values - noise, 0))
    covariance = loadings @ loadings.T + noise * np.eye(x.shape[1])
    off = fresh - center
    squares = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
    return 0.5 * (squares + np.linalg.slogdet(covariance)[1] + x.shape[1] * math.log(2 * math.pi))


def nats(model, x):
    exact = model.to(CPU, torch.float64)
    with torch.no_grad():
        return objective.nats(
            exact, torch.from_numpy(x), sign_draws(4, model.latent_dim, 0)
        ).numpy()


@pytest.mark.parametrize("latents", [1, 2, 3])
def test_the_start_is_probabilistic_pca(latents):
    x, fresh = gaussian(), gaussian(seed=5)
    found = nats(begun(x, latents), fresh)[0]
    np.testing.assert_allclose(found, closed_form(x, fresh, latents), rtol=1e-4)


def test_every_member_starts_with_its_own_noise():
    x = gaussian()
    betas = (0.01, 0.2, 1.0)
    for row, beta in zip(nats(begun(x, 2, betas), x), betas, strict=True):
        np.testing.assert_allclose(row, closed_form(x, x, 2, beta / 2), rtol=1e-4)


def test_a_direction_under_the_noise_carries_next_to_nothing():
    x = gaussian()
    found = nats(begun(x, WIDTH), x)[0]
    # its posterior is 0.9 times as wide as the prior, which costs 0.003 nats
    np.testing.assert_allclose(found, closed_form(x, x, 3), rtol=1e-4, atol=0.01)


def test_the_start_is_isometric_as_the_closed_form_is():
    table = isometry(begun(gaussian()), gaussian().astype(np.float32))
    used = sorted(table.latents, key=lambda latent: -latent.importance)
    for latent, kept in zip(used, VARIANCES[:3], strict=True):
        assert latent.norm_mean == pytest.approx(1 - NOISE / kept, rel=1e-3)
        assert latent.importance == pytest.approx(kept, rel=1e-3)
        assert latent.orthogonality_error < 1e-3


def test_training_begins_near_the_closed_form():
    x = gaussian(700)
    config = ModelConfig(beta=BETA, latent_dim=3, prior="normal")
    result = fit(x.astype(np.float32), config, TrainingConfig(max_steps=1), device=CPU)
    held_out = np.isin(np.arange(700), result.held_out_rows)
    exact = np.sort(closed_form(x[~held_out], x[held_out], 3))[:-1].mean()
    # the hidden layers, a tenth of their usual size, are not zero: they could not learn
    assert exact - 0.01 < result.report.members[0].curve[0][1] < exact + 2


def test_more_latents_than_columns():
    x = gaussian()
    model = begun(x, latents=WIDTH + 4)
    each = (math.exp(FIRST_LOG_VARIANCE) - FIRST_LOG_VARIANCE - 1) / 2
    more = nats(model, x)[0] - closed_form(x, x, 3)
    np.testing.assert_allclose(more, 4 * each, atol=0.01)  # of latents that say nothing yet
    with torch.no_grad():
        shown = model.decode(torch.eye(WIDTH + 4)[None] * 3)[0]
    middle = shown[-1]
    assert (shown[WIDTH:] == middle).all()  # the latents without a column move nothing
    assert (shown[:3] - middle).abs().amax() > 1


@pytest.mark.parametrize("records", [1, 2, 3])
def test_fewer_records_than_columns(records):
    x = gaussian()[:records]
    found = nats(begun(x, WIDTH), x)[0]
    np.testing.assert_allclose(found, closed_form(x, x, WIDTH), rtol=1e-4, atol=0.02)


def test_columns_that_repeat_or_stand_still():
    x = gaussian()
    x = np.concatenate([x, x, np.full((len(x), 2), 7.0)], axis=1)
    found = nats(begun(x, 8), x)[0]
    np.testing.assert_allclose(found, closed_form(x, x, 8), rtol=1e-4, atol=0.02)


def test_huge_and_tiny_values_stay_finite():
    for scale in (1e-9, 1e9):
        assert np.isfinite(nats(begun(gaussian() * scale), gaussian() * scale)).all()


def test_numbers_beside_categories_start_as_principal_components():
    x = np.concatenate([gaussian(), np.eye(3)[np.arange(400) % 3]], axis=1)
    mixed = begun(x, distortion=MixedColumns([], [(WIDTH, WIDTH + 3)]))
    plain = begun(x)
    for name in ("decoder.1.weight", "encoder.1.weight"):
        ours, theirs = (named_parts(each.shape, each.weights)[name] for each in (mixed, plain))
        torch.testing.assert_close(ours, theirs)
    assert np.isfinite(nats(mixed, x)).all()


def test_values_without_a_gaussian_have_no_closed_form():
    x = np.eye(WIDTH)[np.arange(400) % WIDTH]
    model = begun(x, distortion=BinaryCrossEntropy())
    assert (named_parts(model.shape, model.weights)["decoder.1.weight"][:, -3:] == 0).all()


def test_mixed_columns_train_with_a_linear_path():
    x = np.concatenate([gaussian(600), np.eye(3)[np.arange(600) % 3]], axis=1).astype(np.float32)
    config = ModelConfig(betas=(0.1, 0.5), hidden=(8,), distortion="mixed-columns")
    judge = MixedColumns([], [(WIDTH, WIDTH + 3)])
    result = fit(x, config, TrainingConfig(max_steps=200), device=CPU, distortion=judge)
    winner = result.report.members[result.report.winner]
    assert winner.held_out_nats < winner.curve[0][1] - 1
    assert result.model.shape.linear_path


# modes

CENTRES = np.array([[6.0, 0.0, 0, 0, 0], [0.0, 6.0, 0, 0, 0], [0.0, 0.0, 6.0, 0, 0]])


def clusters(count=600, shares=(0.5, 0.3, 0.2), seed=0):
    rng = np.random.default_rng(seed)
    which = rng.choice(3, count, p=shares)
    return CENTRES[which] + 0.3 * rng.normal(size=(count, WIDTH)), which


def test_modes_start_where_the_records_are():
    x, which = clusters()
    model = begun(x, modes=6, betas=(0.05, 0.2))
    with torch.no_grad():
        mean, log_variance = model.encode(torch.from_numpy(x.astype(np.float32)))
    sigma = (0.5 * log_variance).exp()
    likeliest = model.prior.responsibilities(mean, sigma, log_variance).argmax(-1)
    means = named_parts(model.shape, model.weights)["prior.means"]
    for i in range(2):
        owner = {k: set(which[likeliest[i].numpy() == k]) for k in likeliest[i].unique().tolist()}
        assert all(len(own) == 1 for own in owner.values())  # no mode lies between two clusters
        assert set.union(*owner.values()) == {0, 1, 2}
        for k in owner:
            assert (means[i, k] - mean[i][likeliest[i] == k].mean(0)).norm() < 0.5
        shares = model.prior.shares()[i]
        found = [sum(shares[k] for k, own in owner.items() if own == {c}) for c in range(3)]
        assert torch.stack(found).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.06)


def test_modes_at_clusters_explain_more_than_one_cloud():
    x, _ = clusters()
    fresh, _ = clusters(seed=1)
    assert nats(begun(x, modes=6), fresh).mean() < nats(begun(x), fresh).mean() - 0.5


def test_modes_are_as_wide_as_what_is_around_them():
    x, _ = clusters(3000)
    model = begun(x, modes=6)
    with torch.no_grad():
        mean, log_variance = model.encode(torch.from_numpy(x.astype(np.float32)))
    spread = (mean[0].var(0) + log_variance[0].exp().mean(0)).numpy()
    found = model.prior.variance()[0].numpy()  # within modes and between them: that of everything
    np.testing.assert_allclose(found, spread, rtol=0.1)


@pytest.mark.parametrize("records", [1, 2, 5, 7])
def test_more_modes_than_records(records):
    x, _ = clusters(records)
    model = begun(x, modes=7)
    assert torch.isfinite(model.weights).all()
    assert model.prior.shares().sum().item() == pytest.approx(1)
    assert np.isfinite(nats(model, x)).all()


def test_one_mode_is_the_normal_prior_at_first():
    x = gaussian()
    np.testing.assert_allclose(nats(begun(x, modes=1), x), nats(begun(x), x), rtol=1e-5)
