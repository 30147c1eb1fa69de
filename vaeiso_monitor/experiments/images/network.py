"""A convolutional beta-VAE: each layer halves an image on one side, and doubles it on the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.model.vae import FIRST_LOG_VARIANCE, bounded, unbounded

_SMALLEST = 4  # edge in pixels of what lies between the convolutions and the latents
_GAIN = 1.676  # E[silu(u)^2] = 0.36 for u ~ N(0, 1)


@dataclass(frozen=True, slots=True)
class ImageShape:
    """Size of the images and of the net; ``size`` is 16, 32, 64 or another power of two."""

    channels: int
    size: int
    latent_dim: int
    filters: int

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved down to 4 pixels."""
        if self.size < 2 * _SMALLEST or self.size & (self.size - 1):
            msg = f"size must be a power of two, at least 8, not {self.size}"
            raise ValueError(msg)

    @property
    def width(self) -> int:
        """Number of values of an image."""
        return self.channels * self.size**2

    @property
    def depth(self) -> int:
        """Number of convolutions on each side."""
        return int(math.log2(self.size // _SMALLEST))

    @property
    def between(self) -> int:
        """Number of values between the convolutions and the latents."""
        return self.filters * _SMALLEST**2

    def layers(self) -> list[tuple[int, ...]]:
        """Return the size of each weight, from the image through the latents to the image."""
        inner = [self.filters] * self.depth
        down = zip(inner, [self.channels, *inner[:-1]], strict=True)
        up = zip(inner, [*inner[:-1], self.channels], strict=True)
        return [
            *((outgoing, incoming, 4, 4) for outgoing, incoming in down),
            (2 * self.latent_dim, self.between),
            (self.between, self.latent_dim),
            *((incoming, outgoing, 4, 4) for incoming, outgoing in up),
        ]

    def biases(self) -> list[int]:
        """Return the number of biases of each layer of :meth:`layers`."""
        ends = [self.filters] * (self.depth - 1) + [self.channels]
        return [*[self.filters] * self.depth, 2 * self.latent_dim, self.between, *ends]


class ConvolutionalVae:
    """Encoder and decoder over one tensor of weights [1, P], as the optimizer takes them."""

    def __init__(self, shape: ImageShape, weights: Tensor) -> None:
        self.shape, self.weights = shape, weights
        counts = zip(map(math.prod, shape.layers()), shape.biases(), strict=True)
        sizes = [count for pair in counts for count in pair]
        parts = torch.split(weights[0], sizes)
        self._layers = [
            (weight.view(size), bias)
            for weight, bias, size in zip(parts[::2], parts[1::2], shape.layers(), strict=True)
        ]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance [N, n] of images [N, m]."""
        shape = self.shape
        h = x.reshape(-1, shape.channels, shape.size, shape.size)
        for weight, bias in self._layers[: shape.depth]:
            h = functional.silu(functional.conv2d(h, weight, bias, stride=2, padding=1))
        mean, raw = functional.linear(h.flatten(1), *self._layers[shape.depth]).chunk(2, dim=1)
        return mean, bounded(raw)

    def decode(self, z: Tensor) -> Tensor:
        """Return images [N, m], of values within 0 and 1, of latents [N, n]."""
        first, *rest = self._layers[self.shape.depth + 1 :]
        h = self._planes(functional.linear(z, *first))
        for weight, bias in rest:
            h = functional.silu(h)
            h = functional.conv_transpose2d(h, weight, bias, stride=2, padding=1)
        return torch.sigmoid(h).flatten(1)

    def tangents(self, z: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return images [N, m] and their derivatives [K, N, m] along ``directions`` [K, N, n].

        Forward mode by hand: each layer is linear but for its SiLU, whose slope all K share.
        """
        first, *rest = self._layers[self.shape.depth + 1 :]
        h = self._planes(functional.linear(z, *first))
        d = self._planes(functional.linear(directions.flatten(0, 1), first[0]))
        for weight, bias in rest:
            gate = torch.sigmoid(h)
            d = d.reshape(len(directions), *h.shape) * (gate * (1 + h * (1 - gate)))
            d = functional.conv_transpose2d(d.flatten(0, 1), weight, stride=2, padding=1)
            h = functional.conv_transpose2d(h * gate, weight, bias, stride=2, padding=1)
        image = torch.sigmoid(h).flatten(1)
        slopes = d.reshape(len(directions), *image.shape)
        return image, slopes * (image * (1 - image))

    def _planes(self, h: Tensor) -> Tensor:
        return h.reshape(-1, self.shape.filters, _SMALLEST, _SMALLEST)

    def exact(self) -> ConvolutionalVae:
        """Return the same model in float64 on the CPU."""
        return ConvolutionalVae(self.shape, self.weights.detach().to("cpu", torch.float64))


def initial(shape: ImageShape, seed: int) -> Tensor:
    """Return untrained weights [1, P]; posteriors start narrow, or the signal drowns."""
    generator = torch.Generator().manual_seed(seed)
    pieces: list[Tensor] = []
    for place, (size, count) in enumerate(zip(shape.layers(), shape.biases(), strict=True)):
        gain = 1.0 if place in {0, shape.depth + 1} else _GAIN
        weight = torch.randn(size, generator=generator) * gain / _incoming(shape, place) ** 0.5
        bias = torch.zeros(count)
        if place == shape.depth:
            weight[shape.latent_dim :] *= 0.1
            bias[shape.latent_dim :] = unbounded(FIRST_LOG_VARIANCE)
        pieces += [weight.reshape(-1), bias]
    return torch.cat(pieces)[None]


def _incoming(shape: ImageShape, place: int) -> int:
    size = shape.layers()[place]
    if place > shape.depth + 1:
        return size[0] * 4  # a pixel of a transposed convolution with stride 2 sees 2 x 2 inputs
    return math.prod(size[1:])
