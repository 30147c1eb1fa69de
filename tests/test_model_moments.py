import numpy as np
import pytest
import torch

from vaeiso_monitor.model import ModelConfig, TrainingConfig, fit, isometry
from vaeiso_monitor.model.moments import Moments, meaningful_latents

X = np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32) @ np.diag(
    [3, 2, 1, 0.1, 0.1]
).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(beta=0.1, latent_dim=4, hidden=(16,))
    return fit(X, config, TrainingConfig(max_steps=300), device=torch.device("cpu")).model


@pytest.mark.parametrize("blocks", [1, 7, 32, 1000])
def test_the_moments_give_the_figures_of_the_isometry(model, blocks):
    table = isometry(model, X)
    moments = Moments.measure(model, X, blocks)
    assert moments.blocks == min(blocks, 400)
    assert moments.records.sum() == 400
    meaningful = meaningful_latents(moments)
    assert meaningful.tolist() == [latent.meaningful for latent in table.latents]
    figures = moments.figures(meaningful)
    assert figures.norm_error == pytest.approx(table.norm_error)
    assert figures.orthogonality_error == pytest.approx(table.orthogonality_error)
    assert figures.transform_coding_ratio == pytest.approx(table.transform_coding_ratio)
    assert figures.meaningful == sum(meaningful)
    assert figures.norm.tolist() == pytest.approx([t.norm_mean for t in table.latents])
    assert figures.kl.tolist() == pytest.approx([t.kl_nats for t in table.latents])
    worst = [t.orthogonality_error for t in table.latents]
    assert figures.orthogonality.tolist() == pytest.approx(worst)


def test_a_block_taken_often_counts_as_often(model):
    moments = Moments.measure(model, X, 4)
    some = meaningful_latents(moments)
    twice = moments.figures(some, np.array([2.0, 0, 0, 1]))
    again = Moments.measure(model, np.concatenate([X[:100], X[:100], X[300:]]), 1).figures(some)
    assert twice.norm_error == pytest.approx(again.norm_error)
    assert twice.orthogonality.tolist() == pytest.approx(again.orthogonality.tolist())
    assert twice.transform_coding_ratio == pytest.approx(again.transform_coding_ratio)


def test_no_meaningful_latent_means_no_error(model):
    figures = Moments.measure(model, X, 4).figures(np.zeros(4, dtype=bool))
    assert figures.norm_error == figures.orthogonality_error == 0
