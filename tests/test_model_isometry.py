import json

import numpy as np
import pytest
import torch

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model import ModelConfig, TrainingConfig, fit
from vaeiso_monitor.model.isometry import Isometry, isometry, matrices
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, initial

CPU = torch.device("cpu")


def curved(count, seed=0):
    rng = np.random.default_rng(seed)
    angle, height = rng.uniform(-1.5, 1.5, count), rng.normal(size=count)
    x = np.stack([2 * np.cos(angle), 2 * np.sin(angle), height, 0.5 * height], axis=1)
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    config = ModelConfig(beta=0.05, latent_dim=4, hidden=(32, 32))
    return fit(
        curved(3000), config, TrainingConfig(max_steps=2500, learning_rate=0.008), device=CPU
    ).model


def changed(model, change):
    meta, arrays = model.state()
    change(arrays)
    return VAE.from_state(meta, arrays)


def test_a_trained_model_is_isometric_over_its_meaningful_latents(trained):
    table = isometry(trained, curved(1000, seed=1))
    used = [latent for latent in table.latents if latent.meaningful]
    assert 2 <= len(used) < 4
    assert table.healthy, table.verdict
    assert "isometric" in table.verdict
    assert 1 < table.effective_dimension <= len(used)


def test_a_dead_latent_is_left_out(trained):
    table = isometry(trained, curved(500))
    dead = [latent for latent in table.latents if not latent.meaningful]
    assert dead
    for latent in dead:
        assert "carries only" in latent.reason
        assert latent.orthogonality_error == 0
        assert latent.norm_mean < 0.5


def test_a_stretched_decoder_is_unhealthy(trained):
    def stretch(arrays):
        arrays["decoder.2.weight"] *= 1.5

    table = isometry(changed(trained, stretch), curved(500))
    assert not table.healthy
    assert "not isometric" in table.verdict
    assert table.norm_error > 0.5


def test_sheared_latents_are_unhealthy(trained):
    used = [t.latent for t in isometry(trained, curved(500)).latents if t.meaningful][:2]

    def shear(arrays):
        # turn two latents of one sharpness into mixtures of each other, norms kept
        first = arrays["decoder.0.weight"]
        bias = arrays["encoder.2.bias"]
        weight = arrays["encoder.2.weight"]
        a, b = used
        first[:, b] = 0.8 * first[:, a] + 0.6 * first[:, b]
        for side in (bias, weight):
            side[..., 4 + b] = side[..., 4 + a]

    table = isometry(changed(trained, shear), curved(500))
    assert not table.healthy
    assert table.orthogonality_error > 0.25


def test_a_model_that_learned_nothing_is_unhealthy():
    model = initial(Shape(4, 2, (4,)), [0.1], seed=0)

    def forget(arrays):
        for name in arrays:
            arrays[name][:] = 0.0

    table = isometry(changed(model, forget), curved(50))
    assert not table.healthy
    assert table.effective_dimension == 0
    assert "learned a point" in table.verdict


def test_the_table_survives_json(trained):
    table = isometry(trained, curved(100))
    assert Isometry.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    damaged: list[dict[str, object]] = [
        {},
        {**table.to_dict(), "latents": [{"latent": 1}]},
        {"latents": []},
    ]
    for broken in damaged:
        with pytest.raises(BundleError):
            Isometry.from_dict(broken)


def test_records_are_bounded_and_spread(trained):
    assert isometry(trained, curved(500), max_records=64).records == 64
    assert isometry(trained, curved(20), max_records=64).records == 20


def test_pieces_do_not_change_the_matrices(trained):
    x = curved(40)
    whole = torch.cat(list(matrices(trained, x)))
    pieces = list(matrices(trained, x, chunk_bytes=20_000))
    assert len(pieces) > 3
    torch.testing.assert_close(torch.cat(pieces), whole)


def test_one_member_at_a_time():
    two = initial(Shape(4, 2, (4,)), [0.1, 0.2], seed=0)
    with pytest.raises(ValueError, match="one member"):
        isometry(two, curved(10))
