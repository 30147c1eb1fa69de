import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model.distortion import DownwardConvex, SquaredError
from vaeiso_monitor.model.prior import StandardNormal
from vaeiso_monitor.model.shape import ModelConfig, Shape
from vaeiso_monitor.model.vae import VAE, bounded, initial, run, unbounded


def three_members():
    model = initial(Shape(7, 3, (8, 5)), [0.01, 0.1, 1.0], seed=1)
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(model.weights.shape, generator=generator)
    return VAE(model.shape, model.weights + 0.1 * noise, model.betas)


def test_members_compute_what_each_computes_alone():
    model, x = three_members(), torch.randn(11, 7)
    mean, log_variance = model.encode(x)
    decoded = model.decode(mean)
    assert mean.shape == log_variance.shape == (3, 11, 3)
    assert decoded.shape == (3, 11, 7)
    for i, beta in enumerate(model.betas):
        alone = model.member(i)
        assert alone.betas == (beta,)
        assert alone.members == 1
        torch.testing.assert_close(alone.encode(x)[0][0], mean[i])
        torch.testing.assert_close(alone.encode(x)[1][0], log_variance[i])
        torch.testing.assert_close(alone.decode(mean[i : i + 1])[0], decoded[i])


def test_a_member_is_a_copy():
    model = three_members()
    alone = model.member(1)
    model.weights.zero_()
    assert alone.weights.abs().sum() > 0


def test_members_start_alike():
    weights = initial(Shape(4, 2, (3,)), [0.1, 0.2], seed=5).weights
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], initial(Shape(4, 2, (3,)), [0.1], seed=6).weights[0])


def test_state_survives_json_and_numpy():
    model = three_members()
    meta, arrays = model.state()
    again = VAE.from_state(json.loads(json.dumps(meta)), arrays)
    assert again.shape == model.shape
    assert again.betas == model.betas
    assert torch.equal(again.weights, model.weights)
    assert arrays["encoder.0.weight"].shape == (3, 7, 8)


@pytest.mark.parametrize("before", [{}, {"distortion": "squared_error"}])
def test_a_bundle_from_before_there_was_a_choice_has_squared_error(before):
    meta, arrays = three_members().state()
    del meta["distortion"]
    assert isinstance(VAE.from_state({**meta, **before}, arrays).distortion, SquaredError)


def test_a_bundle_from_before_there_was_a_linear_path_has_none():
    meta, arrays = three_members().state()
    assert "linear_path" not in meta  # so that bundles without one keep their hash
    again = VAE.from_state(json.loads(json.dumps(meta)), arrays)
    assert not again.shape.linear_path
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.encode(x)[0], three_members().encode(x)[0])
    with pytest.raises(BundleError, match="should be float32"):
        VAE.from_state({**meta, "linear_path": True}, arrays)


def test_a_linear_path_goes_with_the_model():
    start = initial(Shape(7, 3, (8, 5), linear_path=True), [0.1], seed=1)
    meta, arrays = start.state()
    assert meta["linear_path"] is True
    again = VAE.from_state(json.loads(json.dumps(meta)), arrays)
    assert again.shape == start.shape
    assert torch.equal(again.weights, start.weights)
    assert arrays["encoder.2.weight"].shape == (1, 5 + 7, 6)
    assert arrays["decoder.2.weight"].shape == (1, 8 + 3, 7)
    bent = torch.randn(1, start.shape.size(), generator=torch.Generator().manual_seed(0))
    model = start.with_weights(bent, [0.1])
    for net, inputs in (
        (model.encoder, torch.randn(1, 4, 7)),
        (model.decoder, torch.randn(1, 4, 3)),
    ):
        weight, bias = net[-1]
        h = inputs
        for body, offset in net[:-1]:
            h = torch.nn.functional.silu(h @ body + offset)
        beside = h.shape[-1]
        expected = h @ weight[:, :beside] + inputs @ weight[:, beside:] + bias
        torch.testing.assert_close(run(net, inputs), expected, rtol=1e-4, atol=1e-4)


def test_the_distortion_goes_with_the_model():
    model = VAE(three_members().shape, three_members().weights, [1, 2, 3], DownwardConvex(0.5, 2.0))
    meta, arrays = model.state()
    for again in (VAE.from_state(json.loads(json.dumps(meta)), arrays), model.member(1)):
        assert again.distortion.state() == model.distortion.state()
    assert model.to(torch.device("cpu"), torch.float64).distortion is model.distortion


def broken_states():
    meta, arrays = three_members().state()
    name = "decoder.1.bias"
    yield meta, {k: v for k, v in arrays.items() if k != name}
    yield meta, {**arrays, name: arrays[name][:, :, 1:]}
    yield meta, {**arrays, name: arrays[name].astype(np.int64)}
    yield meta, {**arrays, name: np.full_like(arrays[name], np.nan)}
    for key, value in [
        ("betas", [0.1, -1, 2]), ("betas", []), ("width", 0), ("hidden", "x"),
        ("prior", "other"), ("distortion", "other"), ("latent_dim", None),
    ]:  # fmt: skip
        yield {**meta, key: value}, arrays
    yield {k: v for k, v in meta.items() if k != "betas"}, arrays


@pytest.mark.parametrize(("meta", "arrays"), list(broken_states()))
def test_a_damaged_state_is_a_bundle_error(meta, arrays):
    with pytest.raises(BundleError):
        VAE.from_state(meta, arrays)


@given(st.floats(-1e6, 1e6))
def test_log_variance_is_bounded_whatever_the_encoder_says(raw):
    value = float(bounded(torch.tensor(raw)))
    assert -21.001 <= value <= 7.001


@given(st.floats(-15, 5))
def test_unbounded_inverts_bounded(log_variance):
    raw = torch.tensor(unbounded(log_variance), dtype=torch.float64)
    assert float(bounded(raw)) == pytest.approx(log_variance, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0.0}, {"beta": float("inf")}, {"betas": ()}, {"betas": (0.1, -1.0)},
        {"latent_dim": 0}, {"hidden": (4, 0)}, {"objective": "best"},
        {"distortion": "ssim"},
    ],
)  # fmt: skip
def test_a_wrong_config_names_its_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ModelConfig(**wrong)


def test_config_chooses_members_and_sizes():
    assert ModelConfig(beta=0.5).member_betas() == (0.5,)
    assert ModelConfig(betas=(1.0, 2.0)).member_betas() == (1.0, 2.0)
    assert ModelConfig().shape(3, 1000).latent_dim == 3
    assert ModelConfig().shape(500, 1000).latent_dim < 50
    assert ModelConfig(latent_dim=60).shape(50, 1000).latent_dim == 60


def test_squared_error_and_its_metric():
    distortion, x, d = SquaredError(), torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(distortion.values(x, x + d), d.square())
    torch.testing.assert_close(distortion.total(x, x + d), d.square().sum(1))
    torch.testing.assert_close((d * distortion.metric(x, d)).sum(1), d.square().sum(1))
    assert distortion.metric(x, torch.randn(2, 4, 3)).shape == (2, 4, 3)
    assert torch.equal(distortion.log_det_metric(x), torch.zeros(4))
    hessian = torch.autograd.functional.hessian(lambda y: distortion.total(x[0], y), x[0])
    torch.testing.assert_close(hessian / 2, torch.eye(3))


def test_rate_is_the_divergence_of_normals():
    mean = torch.randn(5, 2, dtype=torch.float64)
    sigma = torch.rand(5, 2, dtype=torch.float64) + 0.1
    posterior = torch.distributions.Normal(mean, sigma)
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    right = torch.distributions.kl_divergence(posterior, standard)
    found = StandardNormal().split(mean, sigma, 2 * sigma.log())
    torch.testing.assert_close(found.latents, right)
