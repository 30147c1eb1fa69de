import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.model import Scorer, ScoringConfig, objective, resolve_device
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.network import Linear, Network
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, initial, unbounded
from vaeiso_monitor.model.workers import Workers

CPU = torch.device("cpu")


def model(width=9, latent_dim=4, hidden=(16, 12), sigma=0.1, beta=0.05):
    start = initial(Shape(width, latent_dim, hidden), [beta], seed=4)
    name = f"encoder.{len(hidden)}.bias"
    meta, arrays = start.state()
    arrays[name][..., latent_dim:] = unbounded(2 * math.log(sigma))
    return VAE.from_state(meta, arrays)


def records(count, width=9, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.fixture(params=["sampled", "closed"])
def scorer(request):
    made = Scorer(model(), ScoringConfig(request.param), CPU)
    yield made
    made.close()


def exact(method, **config):
    return Scorer(model(), ScoringConfig(method, precision="float64", **config), CPU)


def test_sampled_score_is_its_definition():
    x = records(300)
    draws = sign_draws(2, 4, 0)
    with torch.no_grad():
        defined = objective.nats(model(), torch.from_numpy(x), draws)[0].numpy()
    np.testing.assert_allclose(exact("sampled").score(x), defined, rtol=1e-5)
    fast = Scorer(model(), ScoringConfig(), CPU)
    np.testing.assert_allclose(fast.score(x), defined, rtol=1e-5)
    fast.close()


def test_closed_form_agrees_with_100_000_samples():
    x = torch.from_numpy(records(3)).double()
    nets = model(sigma=0.03).to(CPU, torch.float64)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(100_000, 4, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        mean, log_variance = nets.encode(x)
        sigma, at_mean = (0.5 * log_variance).exp(), nets.decode(mean)[0]
        z = mean[0][:, None] + sigma[0][:, None] * draws
        decoded = nets.decode(z.flatten(0, 1)[None]).view(3, -1, 9)
        coding = (decoded - at_mean[:, None]).square().sum(-1)  # [3, 100_000]
        rest = (x - at_mean).square().sum(-1)
        rate = nets.prior.total(mean, sigma, log_variance)[0]
    constant = float(objective.log_normaliser(nets)[0])
    sampled = ((rest + coding.mean(1)) / 0.05 + rate + constant).numpy()
    error = (coding.std(1) / math.sqrt(100_000) / 0.05).numpy()
    closed = Scorer(model(sigma=0.03), ScoringConfig("closed", precision="float64"), CPU)
    difference = np.abs(closed.score(x.numpy()) - sampled)
    assert (difference < 4 * error + 2e-3 * (coding.mean(1) / 0.05).numpy()).all()
    closed.close()


def test_sampled_agrees_with_closed_where_the_steps_are_small():
    x = records(200)
    small = model(sigma=0.01)
    closed, sampled = (
        Scorer(small, ScoringConfig(method, samples=8), CPU) for method in ("closed", "sampled")
    )
    np.testing.assert_allclose(sampled.score(x), closed.score(x), rtol=1e-3)
    closed.close()
    sampled.close()


# torch's own forward-mode rules are still compiled by its deprecated torch.jit
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_tangents_are_forward_mode_derivatives():
    nets = model(hidden=(6, 5, 4)).to(CPU, torch.float64)
    net, z = Network(nets.decoder), torch.randn(7, 4, dtype=torch.float64)
    hidden, slopes = net.tangents(z, torch.ones_like(z))
    ours = (slopes @ net.layers[-1][0]).permute(1, 2, 0)  # [B, m, n]
    single = torch.func.jacfwd(lambda v: nets.decode(v[None, None])[0, 0])
    torch.testing.assert_close(ours, torch.func.vmap(single)(z), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(net.last(hidden), nets.decode(z[None])[0])


def test_parts_sum_to_the_score(scorer):
    x = records(500) * 3
    parts = scorer.explain(x)
    rates = parts.rate_nats.sum(1) + parts.mode_nats
    total = parts.distortion_nats.sum(1) + rates + parts.constant
    np.testing.assert_allclose(total, scorer.score(x), rtol=1e-4)
    np.testing.assert_allclose(parts.nats, total, rtol=1e-12)
    assert parts.distortion_nats.shape == (500, 9)
    assert parts.rate_nats.shape == (500, 4)
    assert parts.constant == pytest.approx(4.5 * math.log(math.pi * 0.05))
    assert parts.method == scorer.config.method
    assert (parts.distortion_nats >= 0).all()


def test_expected_is_the_decoded_mean(scorer):
    x = records(20)
    nets = model()
    with torch.no_grad():
        expected = nets.decode(nets.encode(torch.from_numpy(x))[0])[0].numpy()
    np.testing.assert_allclose(scorer.explain(x).expected, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_record_scores_the_same_in_any_batch(order, size):
    scorer = Scorer(model(), ScoringConfig(), CPU)
    x = records(6)
    alone = scorer.score(x)
    np.testing.assert_allclose(scorer.score(x[order][:size]), alone[order][:size], rtol=1e-5)
    scorer.close()


def test_big_batches_are_cut_and_put_together_in_order(scorer):
    x = records(20_000)
    pending = [scorer.launch(x), scorer.launch(x[:7])]
    whole = pending[0].result()
    np.testing.assert_allclose(pending[1].result(), whole[:7], rtol=1e-5)
    for start in (0, 9_999, 19_990):
        rows = slice(start, start + 10)
        np.testing.assert_allclose(scorer.score(x[rows]), whole[rows], rtol=1e-5)


def test_damage_stays_in_its_row(scorer):
    x = records(40)
    clean = scorer.score(x)
    x[3, 2], x[5, 1], x[6, 0] = np.nan, np.inf, 1e30
    nats = scorer.score(x)
    assert np.isnan(nats[3])
    assert not nats[5] <= 1e9
    assert not nats[6] <= 1e9
    rest = np.setdiff1d(np.arange(40), [3, 5, 6])
    np.testing.assert_allclose(nats[rest], clean[rest], rtol=1e-5)
    assert np.isnan(scorer.explain(x).nats[3])


def test_no_records_give_no_scores(scorer):
    assert scorer.score(records(0)).shape == (0,)
    assert scorer.explain(records(0)).rate_nats.shape == (0, 4)


def test_the_closed_form_ignores_the_order_of_latents():
    order = [2, 0, 3, 1]
    meta, arrays = model().state()
    both = [*order, *(4 + j for j in order)]
    for name in ("encoder.2.weight", "encoder.2.bias"):
        arrays[name] = arrays[name][..., both]
    arrays["decoder.0.weight"] = arrays["decoder.0.weight"][:, order]
    permuted = Scorer(
        VAE.from_state(meta, arrays), ScoringConfig("closed", precision="float64"), CPU
    )
    x = records(50)
    np.testing.assert_allclose(permuted.score(x), exact("closed").score(x), rtol=1e-10)
    permuted.close()


def test_a_saved_model_scores_the_same(scorer):
    x = records(100)
    again = Scorer(VAE.from_state(*model().state()), scorer.config, CPU)
    assert np.array_equal(again.score(x), scorer.score(x))
    again.close()


def test_scoring_leaves_the_callers_threads_alone():
    before = torch.get_num_threads()
    scorer = Scorer(model(), ScoringConfig(), CPU)
    scorer.score(records(10))
    scorer.explain(records(10))
    assert torch.get_num_threads() == before
    scorer.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(1, 80))
def test_every_row_is_in_one_piece(count, largest):
    rows = np.arange(count, dtype=np.float64)[:, None]
    sizes = []

    def score(x, nats):
        sizes.append(len(x))
        nats[:] = x[:, 0]

    workers = Workers()
    np.testing.assert_array_equal(workers.launch(score, rows, largest).result(), rows[:, 0])
    workers.close()
    assert sum(sizes) == count
    assert max(sizes, default=0) <= largest
    assert sum(size < largest for size in sizes) <= 1  # so few are not cut smaller


def test_what_fails_in_a_worker_is_raised():
    def score(x, nats):
        raise FloatingPointError

    workers = Workers()
    with pytest.raises(FloatingPointError):
        workers.launch(score, np.zeros((9, 1)), 2).result()
    workers.close()


def test_float64_records_are_taken(scorer):
    x = records(10)
    assert np.array_equal(scorer.score(x.astype(np.float64)), scorer.score(x))


def test_wrong_shapes_are_refused(scorer):
    with pytest.raises(ValueError, match="9 values"):
        scorer.score(records(3, width=8))
    with pytest.raises(ValueError, match="9 values"):
        scorer.explain(records(3)[0])


def test_a_scorer_serves_one_member():
    two = initial(Shape(3, 2, (4,)), [0.1, 0.2], seed=0)
    with pytest.raises(ValueError, match="one member"):
        Scorer(two, ScoringConfig(), CPU)


@pytest.mark.parametrize("wrong", [{"method": "x"}, {"samples": 0}, {"precision": "half"}])
def test_a_wrong_config_names_its_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScoringConfig(**wrong)


@pytest.mark.parametrize(("count", "latent_dim"), [(1, 3), (2, 16), (8, 5), (32, 16)])
def test_draws_match_the_moments_of_a_normal(count, latent_dim):
    draws = sign_draws(count, latent_dim, seed=3)
    assert draws.shape == (count, latent_dim)
    assert torch.equal(draws, sign_draws(count, latent_dim, seed=3))
    assert torch.equal(draws.abs(), torch.ones_like(draws))
    if count > 1:
        assert torch.equal(draws.sum(0), torch.zeros(latent_dim, dtype=draws.dtype))
    if count >= 2 * latent_dim:
        second = draws.T @ draws / count
        torch.testing.assert_close(second, torch.eye(latent_dim, dtype=draws.dtype))


def test_fused_and_plain_layers_agree():
    weight, bias, h = torch.randn(5, 3), torch.randn(3), torch.randn(8, 5)
    fast, plain = Linear(weight, bias), Linear(weight.double(), bias.double())
    torch.testing.assert_close(fast.silu(h).double(), plain.silu(h.double()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fast(h).double(), plain(h.double()), rtol=1e-5, atol=1e-5)


def test_devices_are_named():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(ValueError, match="device"):
        resolve_device("toaster")
    with pytest.raises(ValueError, match="device"):
        resolve_device("meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_said_so():
    with pytest.raises(ValueError, match="no GPU"):
        resolve_device("cuda")


@pytest.mark.parametrize("modes", [0, 3])
@pytest.mark.parametrize("hidden", [(16, 12), (5,), ()])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_fast_score_is_the_definition_with_a_linear_path(modes, hidden, precision):
    nets = with_linear_path(modes, hidden)
    x = records(400)
    with torch.no_grad():
        exact = nets.to(CPU, torch.float64)
        defined = objective.nats(exact, torch.from_numpy(x).double(), sign_draws(4, 4, 0))[0]
    scorer = Scorer(nets, ScoringConfig(samples=4, precision=precision), CPU)
    found, parts = scorer.score(x), scorer.explain(x)
    scorer.close()
    error = 1e-8 if precision == "float64" else 2e-5
    np.testing.assert_allclose(found, defined.numpy(), rtol=error, atol=1e-6)
    np.testing.assert_allclose(parts.nats, found, rtol=1e-4)
    np.testing.assert_allclose(parts.expected, expected_of(exact, x), rtol=1e-4, atol=1e-4)


def with_linear_path(modes, hidden):
    shape = Shape(9, 4, hidden, modes, linear_path=True)
    start = initial(shape, [0.05], seed=4)
    generator = torch.Generator().manual_seed(1)
    return start.with_weights(
        start.weights + 0.2 * torch.randn(start.weights.shape, generator=generator), [0.05]
    )


def expected_of(nets, x):
    with torch.no_grad():
        return nets.decode(nets.encode(torch.from_numpy(x).double())[0])[0].numpy()


# torch's own forward-mode rules are still compiled by its deprecated torch.jit
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("modes", [0, 3])
@pytest.mark.parametrize("hidden", [(16, 12), (5,), ()])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_closed_score_is_lemma_1_with_a_linear_path(modes, hidden, precision):
    nets = with_linear_path(modes, hidden)
    x = records(60)
    exact = nets.to(CPU, torch.float64)
    with torch.no_grad():
        mean, log_variance = exact.encode(torch.from_numpy(x).double())
        sigma = (0.5 * log_variance).exp()
        rate = exact.prior.total(mean, sigma, log_variance)[0]
        single = torch.func.jacfwd(lambda v: exact.decode(v[None, None])[0, 0])
        slopes = torch.func.vmap(single)(mean[0])  # [B, m, n]
        coding = (slopes.square().sum(1) * sigma[0].square()).sum(1)
    rest = np.square(x - expected_of(exact, x)).sum(1)
    constant = float(objective.log_normaliser(exact)[0])
    defined = (rest + coding.numpy()) / 0.05 + rate.numpy() + constant
    scorer = Scorer(nets, ScoringConfig("closed", precision=precision), CPU)
    error = 1e-8 if precision == "float64" else 2e-5
    np.testing.assert_allclose(scorer.score(x), defined, rtol=error, atol=1e-6)
    scorer.close()
