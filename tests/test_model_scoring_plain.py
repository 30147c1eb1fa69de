"""The score against its formula, written out in numpy by itself, in float64."""

import itertools
import math

import numpy as np
import pytest
import torch

from vaeiso_monitor.model import Scorer, ScoringConfig, network, workers
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.network import Linear
from vaeiso_monitor.model.posterior import Encoder, PosteriorRate
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import initial

CPU = torch.device("cpu")
BETA = 0.2
SIZES = {"narrow": (3, 2, (8,)), "wide": (40, 6, (16, 12)), "linear": (5, 4, ())}


def random_model(size, modes, linear_path, seed=0):
    start = initial(Shape(*SIZES[size], modes, linear_path), [BETA], seed=seed)
    noise = torch.randn(start.weights.shape, generator=torch.Generator().manual_seed(seed + 1))
    return start.with_weights(start.weights + 0.15 * noise, [BETA])


def records(width, count=50):
    return np.random.default_rng(3).normal(size=(count, width))


class Plain:
    """The definition of the score less its constant, a mode and a draw at a time.

    ``size`` is what it adds up, without signs: the float error is a share of it.
    """

    def __init__(self, model, samples=2):
        meta, arrays = model.state()
        self._n, self._modes = meta["latent_dim"], meta.get("modes", 0)
        self._arrays = {name: array[0].astype(np.float64) for name, array in arrays.items()}
        self._draws = sign_draws(samples, self._n, 0).numpy()

    def posterior(self, x):
        mean, raw = np.split(self._net("encoder", x), 2, axis=1)
        scaled = (raw + 7) / 14
        return mean, -7 + 14 * scaled / np.sqrt(1 + scaled**2)

    def decode(self, z):
        return self._net("decoder", z)

    def rate(self, mean, log_variance):
        if not self._modes:
            return self._divergence(mean, log_variance, 0.0, np.zeros(self._n))
        part = {name: self._arrays[f"prior.{name}"] for name in ("logits", "means", "scales")}
        log_scales = part["scales"] / np.sqrt(1 + (part["scales"] / 2) ** 2)
        weights = np.exp(part["logits"][0]) / np.exp(part["logits"][0]).sum()
        total = 0.0
        for weight, centre, log_scale in zip(weights, part["means"], log_scales, strict=True):
            total += weight * np.exp(-self._divergence(mean, log_variance, centre, log_scale))
        return -np.log(total)

    def nats(self, x):
        mean, log_variance = self.posterior(x)
        at_mean, sigma = self.decode(mean), np.exp(log_variance / 2)
        distortion = ((x - at_mean) ** 2).sum(1)
        for draw in self._draws:
            step = self.decode(mean + sigma * draw) - at_mean
            distortion += (step**2).sum(1) / len(self._draws)
        rate = self.rate(mean, log_variance)
        self.size = distortion / BETA + np.abs(rate) + x.shape[1]
        return distortion / BETA + rate

    def _net(self, name, inputs):
        count = sum(f"{name}.{i}.weight" in self._arrays for i in range(9))
        h = inputs
        for i in range(count):
            weight, bias = (self._arrays[f"{name}.{i}.{part}"] for part in ("weight", "bias"))
            if h.shape[1] < len(weight):
                h = np.hstack([h, inputs])
            h = h @ weight + bias
            h = h / (1 + np.exp(np.minimum(-h, 700))) if i < count - 1 else h
        return h

    @staticmethod
    def _divergence(mean, log_variance, centre, log_scale):
        apart = (np.exp(log_variance) + (mean - centre) ** 2) / np.exp(2 * log_scale)
        return 0.5 * (apart - 1 - log_variance + 2 * log_scale).sum(1)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("modes", [0, 1, 7])
@pytest.mark.parametrize("size", SIZES)
def test_the_score_is_the_plain_formula(size, modes, linear_path, precision):
    model = random_model(size, modes, linear_path)
    x, plain = records(model.width), Plain(model)
    defined = plain.nats(x)
    scorer = Scorer(model, ScoringConfig(precision=precision), CPU)
    found, parts = scorer.score(x), scorer.explain(x)
    scorer.close()
    error = 1e-12 if precision == "float64" else 1e-5
    assert (np.abs(found - parts.constant - defined) <= error * plain.size).all()
    assert (np.abs(parts.nats - parts.constant - defined) <= error * plain.size).all()
    assert parts.constant == pytest.approx(0.5 * model.width * math.log(math.pi * BETA))
    mean, _ = plain.posterior(x)
    np.testing.assert_allclose(parts.expected, plain.decode(mean), rtol=error, atol=10 * error)


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_any_number_of_draws_is_the_plain_formula(samples):
    model = random_model("wide", 7, linear_path=True)
    x, plain = records(model.width), Plain(model, samples)
    scorer = Scorer(model, ScoringConfig(samples=samples), CPU)
    found = scorer.score(x) - scorer.explain(x[:1]).constant
    assert (np.abs(found - plain.nats(x)) <= 1e-5 * plain.size).all()
    scorer.close()


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_encoder_for_scoring_is_the_models(size, linear_path):
    model = random_model(size, 0, linear_path).to(CPU, torch.float64)
    x = records(model.width)
    mean, log_variance = Plain(model).posterior(x)
    with torch.inference_mode():
        found = Encoder(model.encoder)(torch.from_numpy(x))
    second = mean**2 + np.exp(log_variance)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.log_variance, log_variance, rtol=1e-6)
    np.testing.assert_allclose(found.sigma, np.exp(log_variance / 2), rtol=1e-6)
    np.testing.assert_allclose(found.moments, np.hstack([mean, second]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("modes", [0, 1, 7])
def test_the_rate_for_scoring_is_the_priors(modes):
    model = random_model("wide", modes, linear_path=True).to(CPU, torch.float64)
    prior, x = model.prior.alone(), torch.from_numpy(30 * records(model.width))
    with torch.inference_mode():
        q = Encoder(model.encoder)(x)
        found = PosteriorRate(prior, model.weights, model.latent_dim)(q)
        defined = prior.total(q.mean, q.sigma, q.log_variance)
    torch.testing.assert_close(found, defined, rtol=1e-10, atol=1e-10)


def test_a_far_record_has_the_rate_of_its_mode_and_no_probability_of_zero():
    model = random_model("wide", 7, linear_path=True)
    x = 300 * records(model.width)
    plain = Plain(model)
    mean, log_variance = plain.posterior(x)
    with np.errstate(divide="ignore"):
        assert np.isinf(plain.rate(mean, log_variance)).any()
    scorer = Scorer(model, ScoringConfig(), CPU)
    exact = Scorer(model, ScoringConfig(precision="float64"), CPU)
    np.testing.assert_allclose(scorer.score(x), exact.score(x), rtol=1e-4)
    scorer.close()
    exact.close()


def test_only_the_workers_take_tiny_numbers_for_zero():
    tiny = torch.full((64,), 1e-40)
    kept = []

    def score(x, nats):
        kept.append(bool((tiny * 1.0).any()))
        nats[:] = 0

    threads = workers.Workers()
    threads.launch(score, np.zeros((9, 1)), 2).result()
    threads.close()
    assert bool((tiny * 1.0).any())
    if torch.set_flush_denormal(False):  # else the processor cannot
        assert not any(kept)


@pytest.mark.parametrize("rows", [1, 3, 1000, 1024, 1025, 6000, 9000])
def test_pieces_are_of_few_sizes_and_shared_evenly(rows):
    pieces = workers._pieces(rows, 2048, workers=2)
    sizes = [piece.stop - piece.start for piece in pieces]
    assert sum(sizes) == rows
    assert {2048, 1024} >= set(sizes[:-1])
    assert abs(sum(sizes[::2]) - sum(sizes[1::2])) <= 1024


@pytest.mark.parametrize("rows", [1, 2, 3, 37, 64, 65, 5000])
def test_any_number_of_rows_scores_as_each_alone(rows):
    model = random_model("wide", 7, linear_path=True)
    x = records(model.width, 5000)
    scorer = Scorer(model, ScoringConfig(), CPU)
    np.testing.assert_allclose(scorer.score(x[:rows]), scorer.score(x)[:rows], rtol=1e-4)
    scorer.close()


def test_without_onednn_the_score_is_the_same(monkeypatch):
    model = random_model("wide", 7, linear_path=True)
    x = records(model.width)
    fast = Scorer(model, ScoringConfig(), CPU)
    monkeypatch.setattr(network, "_packed_linear", lambda weight, bias: None)
    plain = Scorer(model, ScoringConfig(), CPU)
    np.testing.assert_allclose(fast.score(x), plain.score(x), rtol=1e-5)
    fast.close()
    plain.close()


def test_a_layer_that_computes_wrong_is_left_out():
    weight, bias = torch.randn(5, 3), torch.randn(5)
    for given, right in itertools.product([bias, None], [True, False]):
        layer = Linear(weight.t().contiguous(), given if right else bias + 1)
        assert network._computes_right(layer, weight, given) is right
