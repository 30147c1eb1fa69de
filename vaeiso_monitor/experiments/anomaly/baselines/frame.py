"""What GMVAE, DAGMM and RaDOGAGA share: a compression net, an estimation net, and a mixture.

The compression net maps a record to a few latents and back. The latents and two measures of what
was lost on the way (relative distance and cosine) are the features whose density is the score: an
estimation net says to which parts of a mixture they belong.

Several of them, the lanes L of one seed each, are trained side by side: every tensor has a leading
lane axis, and no lane depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.experiments.anomaly.baselines.mixture import Mixture

RESIDUALS = 2
_FEWEST = 1e-6  # length of a record that relative distances are measured by

Layers = list[tuple[Tensor, Tensor]]  # weight [L, in, out], bias [L, 1, out]


@dataclass(frozen=True, slots=True)
class FrameConfig:
    """Sizes of the nets: hidden layers of encoder and (reversed) decoder, latents, mixture."""

    hidden: tuple[int, ...]
    latents: int
    mixtures: int
    estimation_hidden: int = 10
    dropout: float = 0.5
    ridge: float = 1e-6


class Dice:
    """Random draws of each lane from its own seed, the same whatever lanes are beside it."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.device = device
        self._lanes = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

    def uniform(self, *shape: int) -> Tensor:
        """Return draws within [0, 1): [L, *shape]."""
        lanes = self._lanes
        return torch.stack([torch.rand(shape, generator=g, device=self.device) for g in lanes])

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal draws [L, *shape]."""
        lanes = self._lanes
        return torch.stack([torch.randn(shape, generator=g, device=self.device) for g in lanes])

    def order(self, lane: int, count: int) -> Tensor:
        """Return the numbers below ``count`` in random order."""
        return torch.randperm(count, generator=self._lanes[lane], device=self.device)


class Frame:
    """The nets, as views into ``weights`` [L, P]; ``outputs`` is how many values make a latent."""

    def __init__(self, width: int, config: FrameConfig, dice: Dice, outputs: int = 1) -> None:
        self.config, self.dice = config, dice
        latents, features = config.latents, config.latents + RESIDUALS
        stacks = (
            (width, *config.hidden, outputs * latents),
            (latents, *reversed(config.hidden), width),
            (features, config.estimation_hidden, config.mixtures),
        )
        self._shapes = [list(pairwise(sizes)) for sizes in stacks]
        pieces = [_first(pair, dice) for pairs in self._shapes for pair in pairs]
        self.training = True
        self.use(torch.cat(pieces, dim=1).requires_grad_())

    def use(self, weights: Tensor) -> None:
        """Make the layers views of weights [L, P]; each backward pass needs fresh ones."""
        self.weights, rest = weights, weights
        stacks: list[Layers] = []
        for pairs in self._shapes:
            stacks.append([])
            for rows, columns in pairs:
                size = rows * columns
                weight, bias, rest = rest.tensor_split((size, size + columns), dim=1)
                stacks[-1].append((weight.view(-1, rows, columns), bias.view(-1, 1, columns)))
        self._encoder, self._decoder, self._estimator = stacks

    def encode(self, x: Tensor) -> Tensor:
        """Return what the encoder says of records [L, N, m]: [L, N, outputs * latents]."""
        return _run(self._encoder, x)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the records [L, N, m] of latents."""
        return _run(self._decoder, latents)

    def features(self, x: Tensor, latents: Tensor, decoded: Tensor) -> Tensor:
        """Return latents and residuals [L, N, d] in double precision, as the mixture needs it."""
        return torch.cat([latents, residuals(x, decoded)], dim=-1).double()

    def shares(self, features: Tensor) -> Tensor:
        """Return to which parts of the mixture features [L, N, d] belong: [L, N, K]."""
        (weight, bias), last = self._estimator
        hidden = torch.baddbmm(bias, features.float(), weight).tanh()
        if self.training and self.config.dropout > 0:
            kept = self.dice.uniform(*hidden.shape[1:]) >= self.config.dropout
            hidden = hidden * kept / (1 - self.config.dropout)
        shares: Tensor = _run([last], hidden).softmax(dim=-1).double()
        return shares

    def mixture(self, features: Tensor) -> Mixture:
        """Return the mixture of a batch of features [L, N, d]."""
        return Mixture.of(features, self.shares(features), self.config.ridge)


def _first(pair: tuple[int, int], dice: Dice) -> Tensor:
    rows, columns = pair
    reach = float(rows) ** -0.5
    draws: Tensor = (2 * dice.uniform((rows + 1) * columns) - 1) * reach
    return draws


def _run(layers: Layers, h: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        h = torch.baddbmm(bias, h, weight).tanh()
    weight, bias = layers[-1]
    return torch.baddbmm(bias, h, weight)


def residuals(x: Tensor, decoded: Tensor) -> Tensor:
    """Return relative Euclidean distance and cosine similarity of records and copies [L, N, 2]."""
    norm = x.norm(dim=-1).clamp_min(_FEWEST)
    distance = (squared_error(x, decoded) + _FEWEST**2).sqrt() / norm
    return torch.stack([distance, functional.cosine_similarity(x, decoded, dim=-1)], dim=-1)


def squared_error(x: Tensor, decoded: Tensor) -> Tensor:
    """Return the sum of squares of each record [L, N]."""
    return (x - decoded).square().sum(dim=-1)
