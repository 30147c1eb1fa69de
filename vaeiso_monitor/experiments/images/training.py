"""Training a convolutional VAE on images, with the plain or the decomposed loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.experiments.images.network import ConvolutionalVae, ImageShape, initial
from vaeiso_monitor.experiments.ssim import Ssim
from vaeiso_monitor.model import Progress
from vaeiso_monitor.model.distortion import Distortion, SquaredError
from vaeiso_monitor.model.optimizer import MemberAdam
from vaeiso_monitor.model.prior import StandardNormal

LossName = Literal["plain", "decomposed"]
DistortionName = Literal["ssim", "squared-error"]
# Of a posterior step, in the decomposed loss. SSIM saturates within a whole one, and so would let
# sigma grow until norms are above 1; a short one stays where D is the quadratic form of Lemma 1.
_SHORT = 0.3
_SSIM_SCALE = 1000.0  # so that beta is of the order of 1
_FLOOR = 1e-3  # of the learning rate, where the cosine ends
_TOLD = 20  # steps between two words about progress


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """The net, the distortion and the training; the paper's text gives none of them.

    The defaults are for the generated set.
    """

    latent_dim: int = 10
    filters: int = 16
    distortion: DistortionName = "ssim"
    beta: float = 4.0
    first_beta: float = 200.0
    annealing: float = 0.5
    batch_size: int = 64
    max_steps: int = 2000
    learning_rate: float = 3e-3


def usual_config(distortion: DistortionName, *, photographs: bool) -> ImagesConfig:
    """Return the config for the generated set or for ``photographs``, of 64 x 64 in colour.

    Squared error is a sum over the values of an image, so that its beta has another unit.
    """
    config = ImagesConfig(distortion=distortion)
    if photographs:
        config = replace(config, latent_dim=32, filters=64, max_steps=10_000, learning_rate=1e-3)
    if distortion == "squared-error":
        beta = 0.123 if photographs else 0.02
        config = replace(config, beta=beta, first_beta=50 * beta)
    return config


def distortion_of(name: DistortionName, channels: int, size: int) -> Distortion:
    """Return the distortion of that name for images of that size; SSIM is 1000 (1 - SSIM)."""
    if name == "squared-error":
        return SquaredError()
    return Ssim(channels, size, size, scale=_SSIM_SCALE)


def train(
    x: NDArray[np.uint8],
    shape: ImageShape,
    config: ImagesConfig,
    loss: LossName,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[Progress], None] | None = None,
) -> ConvolutionalVae:
    """Train on images [N, m] and return the model with its averaged weights.

    beta falls from ``first_beta`` to its own value over the first share ``annealing`` of the
    steps: the latents wake one after another, the most important first.
    """
    begun, data = time.monotonic(), torch.from_numpy(x).to(device)
    distortion = distortion_of(config.distortion, shape.channels, shape.size)
    adam = MemberAdam(initial(shape, seed).to(device))
    generator = torch.Generator(device=device).manual_seed(seed)
    batches = _batches(data, config.batch_size, generator)
    for step in range(config.max_steps):
        batch, beta = next(batches), _annealed(config, step)
        noise = torch.randn(len(batch), shape.latent_dim, generator=generator, device=device)
        model = ConvolutionalVae(shape, adam.weights)
        parts = objective(model, distortion, batch, noise, beta, loss)
        (gradient,) = torch.autograd.grad(parts.mean(), [adam.weights])
        adam.step(gradient, _learning_rate(config, step))
        if progress is not None and ((step + 1) % _TOLD == 0 or step + 1 == config.max_steps):
            progress(Progress(step + 1, config.max_steps, None, time.monotonic() - begun))
    return ConvolutionalVae(shape, adam.average.detach())


def objective(
    model: ConvolutionalVae,
    distortion: Distortion,
    x: Tensor,
    noise: Tensor,
    beta: float,
    loss: LossName,
) -> Tensor:
    """Return Lx / beta of each image [B] for images [B, m] and normal draws [B, n].

    "plain" is E_z D(x, x_hat) + beta KL; "decomposed" is D(x, x_breve) + E_z D(x_breve, x_hat) +
    beta KL, E_z to second order (Lemma 1): the steps are short, and D is scaled back.
    """
    mean, log_variance = model.encode(x)
    sigma = torch.exp(0.5 * log_variance)
    rate = StandardNormal().total(mean, sigma, log_variance)
    step = sigma * noise
    if loss == "plain":
        return distortion.total(x, model.decode(mean + step)) / beta + rate
    expected, sampled = model.decode(torch.cat([mean, mean + _SHORT * step])).chunk(2)
    coding = distortion.total(expected, sampled) / _SHORT**2
    return (distortion.total(x, expected) + coding) / beta + rate


def _batches(data: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    size = min(size, len(data))
    while True:
        order = torch.randperm(len(data), generator=generator, device=data.device)
        for rows in torch.split(order, size):
            if len(rows) == size:
                yield data[rows].float() / 255


def _annealed(config: ImagesConfig, step: int) -> float:
    steps = config.annealing * config.max_steps
    if step >= steps or config.beta >= config.first_beta:
        return config.beta
    return float(config.beta * (config.first_beta / config.beta) ** (1 - step / steps))


def _learning_rate(config: ImagesConfig, step: int) -> float:
    warm = min(1.0, (step + 1) / (0.02 * config.max_steps + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.max_steps))
    return config.learning_rate * warm * max(cosine, _FLOOR)
