"""SSIM as a distortion: against autograd, and against values that are known."""

import json

import pytest
import torch

from vaeiso_monitor.experiments.ssim import Ssim

DISTORTION = Ssim(2, 12, 13, scale=3.0)
WIDTH = 2 * 12 * 13


def image(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, WIDTH, generator=generator, dtype=torch.float64)


def test_the_metric_tensor_is_half_the_hessian():
    x = image(0)
    dense = DISTORTION.metric(x, torch.eye(WIDTH, dtype=torch.float64))
    hessian = torch.autograd.functional.hessian(lambda y: DISTORTION.total(x, y), x.clone())
    torch.testing.assert_close(dense, hessian / 2, atol=1e-10, rtol=1e-6)


def test_it_is_ssim_as_it_is_defined_window_by_window():
    x, y = image(4), image(5)
    line = torch.exp(-0.5 * ((torch.arange(11, dtype=torch.float64) - 5) / 1.5) ** 2)
    weights = torch.outer(line, line) / torch.outer(line, line).sum()
    planes = [picture.reshape(2, 12, 13).unfold(1, 11, 1).unfold(2, 11, 1) for picture in (x, y)]

    def mean(values):
        return (values * weights).sum((-2, -1))

    mu, nu = map(mean, planes)
    spread_x, spread_y = (mean(p * p) - m * m for p, m in zip(planes, (mu, nu), strict=True))
    together = mean(planes[0] * planes[1]) - mu * nu
    light = (2 * mu * nu + 1e-4) / (mu**2 + nu**2 + 1e-4)
    ssim = light * (2 * together + 9e-4) / (spread_x + spread_y + 9e-4)
    torch.testing.assert_close(DISTORTION.total(x, y), 3.0 * (1 - ssim).mean())


def test_values_sum_to_the_total():
    x, y = image(1, 4), image(2, 3, 4)
    assert DISTORTION.values(x, y).shape == (3, 4, WIDTH)
    torch.testing.assert_close(DISTORTION.values(x, y).sum(-1), DISTORTION.total(x, y))
    assert (DISTORTION.values(x, y) >= 0).all()


def test_known_similarities():
    x = image(3, 2)
    torch.testing.assert_close(DISTORTION.total(x, x), torch.zeros(2, dtype=torch.float64))
    flat = torch.full((WIDTH,), 0.2, dtype=torch.float64)
    # flat images differ in luminance alone: 1 - (2 a b + c) / (a^2 + b^2 + c)
    light = 1 - (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert float(DISTORTION.total(flat, 3 * flat)) == pytest.approx(3.0 * light)


def test_the_state_survives_json():
    again = Ssim.from_state(json.loads(json.dumps(DISTORTION.state())))
    assert torch.equal(again.total(image(1), image(2)), DISTORTION.total(image(1), image(2)))


def test_what_does_not_exist_is_said():
    assert DISTORTION.log_scale(image(0)) is None
    assert DISTORTION.gaussian_values(WIDTH) == 0
    with pytest.raises(ValueError, match="determinant"):
        DISTORTION.log_det_metric(image(0))
    with pytest.raises(ValueError, match="window of 11"):
        Ssim(1, 8, 8)
