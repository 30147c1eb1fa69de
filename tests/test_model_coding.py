"""The scorer under every distortion: its fast form is the score as it is defined."""

import functools

import numpy as np
import pytest
import torch

from vaeiso_monitor.model import ModelConfig, Scorer, ScoringConfig, TrainingConfig, fit, objective
from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy, MixedColumns
from vaeiso_monitor.model.distortion import DownwardConvex, SquaredError
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, initial

CPU = torch.device("cpu")
MIXED = MixedColumns([2], [(3, 6)])
TABLE = [SquaredError(), DownwardConvex(), BinaryCrossEntropy(), MIXED]
NAMES = [distortion.name for distortion in TABLE]


def model_of(distortion):
    model = initial(Shape(6, 2, (9, 7)), [0.1], 0, distortion)
    noise = torch.randn(model.weights.shape, generator=torch.Generator().manual_seed(1))
    return model.with_weights(model.weights + 0.1 * noise, [0.1])


def mixed_records(count, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, count)
    level = rng.normal(size=count) + kind
    x = np.zeros((count, 6), dtype=np.float32)
    x[:, 0], x[:, 1] = level, -0.5 * level + 0.1 * rng.normal(size=count)
    x[:, 2] = level > 1
    x[np.arange(count), 3 + kind] = 1
    return x


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_score_is_the_one_that_is_defined(distortion, precision):
    model, x = model_of(distortion), np.abs(mixed_records(200)) % 1.0
    x[:, 3:] = mixed_records(200)[:, 3:]
    scorer = Scorer(model, ScoringConfig(samples=8, precision=precision), CPU)
    found, parts = scorer.score(x), scorer.explain(x)
    scorer.close()
    exact = model.to(CPU, torch.float64)
    with torch.no_grad():
        nats = objective.nats(exact, torch.from_numpy(x).double(), sign_draws(8, 2, 0))[0].numpy()
    error = 1e-8 if precision == "float64" else 2e-3
    np.testing.assert_allclose(found, nats, rtol=error, atol=error)
    np.testing.assert_allclose(parts.nats, found, rtol=1e-4, atol=1e-4)
    summed = parts.distortion_nats.sum(1) + parts.rate_nats.sum(1) + parts.constant
    np.testing.assert_allclose(summed, parts.nats, rtol=1e-9)


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_closed_and_sampled_agree_where_the_posterior_is_sharp(distortion):
    model = model_of(distortion)
    meta, arrays = model.state()
    arrays["encoder.2.bias"][..., 2:] = -12.0
    sharp = VAE.from_state(meta, arrays)
    x = np.clip(mixed_records(50), 0.1, 0.9)
    found = []
    for method in ("closed", "sampled"):
        scorer = Scorer(sharp, ScoringConfig(method, samples=8, precision="float64"), CPU)
        found.append(scorer.score(x))
        scorer.close()
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3)


@functools.cache
def fitted_mixed():
    config = ModelConfig(beta=0.3, latent_dim=4, hidden=(24,), distortion="mixed-columns")
    training = TrainingConfig(max_steps=1200, learning_rate=0.01)
    return fit(mixed_records(3000), config, training, device=CPU, distortion=MIXED).model


def test_mixed_columns_train_and_tell_a_broken_rule():
    meta, arrays = fitted_mixed().state()
    model = VAE.from_state(meta, arrays)
    normal = mixed_records(500, seed=1)
    odd = normal.copy()
    odd[:, 3:] = np.roll(normal[:, 3:], 1, axis=1)
    odd[:, 1] += 3
    scorer = Scorer(model, ScoringConfig(), CPU)
    assert np.quantile(scorer.score(normal), 0.95) < np.median(scorer.score(odd))
    shares = scorer.explain(normal).expected[:, 3:]
    scorer.close()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-4)
    assert (shares.argmax(1) == normal[:, 3:].argmax(1)).mean() > 0.9


def test_a_matrix_whose_columns_nobody_tells_is_all_numbers():
    config = ModelConfig(beta=0.1, distortion="mixed-columns")
    fitted = fit(mixed_records(50), config, TrainingConfig(max_steps=1), device=CPU)
    assert isinstance(fitted.model.distortion, SquaredError)


def test_proper_nats_count_categories_once():
    meta, arrays = fitted_mixed().state()
    model = VAE.from_state(meta, arrays).to(CPU, torch.float64)
    x, draws = torch.from_numpy(mixed_records(40)).double(), sign_draws(2, model.latent_dim, 0)
    scorer = Scorer(model, ScoringConfig(precision="float64"), CPU)
    costs = scorer.explain(x.numpy()).distortion_nats[:, list(MIXED.counted)].sum(1)
    scorer.close()
    score, proper = (objective.nats(model, x, draws, proper=each)[0] for each in (False, True))
    np.testing.assert_allclose(score - proper, (1 - model.betas[0]) * costs, rtol=1e-6, atol=1e-9)
    assert (score > proper).all()


def test_what_is_said_of_categories_sums_to_one():
    raw = 3 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    expected = MIXED.link(raw)
    one_hot = expected.clone()
    whole = torch.zeros(5, dtype=torch.float64)
    for truth in (0.0, 1.0):
        for k in range(3):
            one_hot[:, 2], one_hot[:, 3:] = truth, torch.eye(3)[k]
            whole += (-MIXED.values(one_hot, expected)[:, list(MIXED.counted)].sum(1)).exp()
    torch.testing.assert_close(whole, torch.ones(5, dtype=torch.float64), rtol=1e-5, atol=1e-5)


def test_of_numbers_alone_proper_nats_are_the_score():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    model, draws = initial(Shape(4, 2, (8,)), (0.1, 0.5), 0, None), sign_draws(2, 2, 0)
    torch.testing.assert_close(
        objective.nats(model, x, draws, proper=True), objective.nats(model, x, draws)
    )


@pytest.mark.parametrize("method", ["closed", "sampled"])
@pytest.mark.parametrize(
    "judge",
    [
        MixedColumns([0, 1, 2], [(3, 6)]),
        MixedColumns([1, 4], []),
        MixedColumns([], [(0, 2), (4, 6)]),
    ],
    ids=["no numbers", "truths apart", "categories apart"],
)
def test_the_fast_form_finds_the_columns_wherever_they_are(judge, method):
    model, x = model_of(judge), np.abs(mixed_records(100)) % 1.0
    scorer = Scorer(model, ScoringConfig(method, precision="float64"), CPU)
    np.testing.assert_allclose(scorer.score(x), scorer.explain(x).nats, rtol=1e-10)
    x[::2, 4] = -3.0  # as what training never showed
    np.testing.assert_allclose(scorer.score(x), scorer.explain(x).nats, rtol=1e-10)
    scorer.close()
