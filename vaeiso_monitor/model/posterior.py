"""The posterior q(z|x) of records and its rate, laid out for scoring: few passes, few products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.model.network import Linear, Network, has_linear_path
from vaeiso_monitor.model.prior import Prior
from vaeiso_monitor.model.vae import HALF, MIDDLE, Layer

_LN_2 = math.log(2)
_UNIT = 2 * _LN_2  # of a log-variance, for log2 sigma


@dataclass(frozen=True, slots=True)
class Posterior:
    """N(mu, sigma^2) per record; ``moments`` [B, 2n] are mu beside mu^2 + sigma^2."""

    moments: Tensor
    mean: Tensor  # [B, n]
    sigma: Tensor  # [B, n]
    log2_sigma: Tensor  # [B, n]

    @property
    def log_variance(self) -> Tensor:
        """The log-variance: [B, n]."""
        return self.log2_sigma * _UNIT


class Encoder:
    """The encoder of a model with one member: records [B, m] to their posteriors.

    Its last layer yields log-variances in such a unit that bounding them as
    :func:`vaeiso_monitor.model.vae.bounded` does gives log2 sigma: two passes less, and torch takes
    a power of 2 in a quarter of the time of one of e.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        *body, last = ((weight[0], bias[0, 0]) for weight, bias in layers)
        flat = [*body, _in_units(*last)]
        self._raw = _Split(flat) if has_linear_path(flat) else _plain(flat)
        self._one, self._middle = last[1].new_tensor([1.0]), last[1].new_tensor([MIDDLE / _UNIT])

    def __call__(self, x: Tensor) -> Posterior:
        """Return the posterior of each record."""
        moments = self._raw(x)
        mean, raw = moments.chunk(2, dim=-1)
        slope = torch.addcmul(self._one, raw, raw, value=(_UNIT / HALF) ** 2).rsqrt_()
        log2_sigma = torch.addcmul(self._middle, raw, slope)
        sigma = log2_sigma.exp2()
        torch.addcmul(sigma.square(), mean, mean, out=raw)
        return Posterior(moments, mean, sigma, log2_sigma)


class PosteriorRate:
    """The rate of posteriors under the prior of a model's only member, by one product.

    Powers and logarithms are to base 2, which torch takes in a fraction of the time of base e.
    """

    def __init__(self, prior: Prior, like: Tensor, latents: int) -> None:
        weight, bias = prior.affine(latents)
        self._table = Linear(*((part.double() / _LN_2).to(like) for part in (weight, bias)))
        self._modes, self._latents = like.new_ones(len(bias)), like.new_ones(latents)

    def __call__(self, posterior: Posterior) -> Tensor:
        """Return the rate of each record in nats: [B]."""
        table = self._table(posterior.moments)  # [B, K]
        bits = table.squeeze(-1) if len(self._modes) == 1 else self._log_sum(table)
        return bits.addmv_(posterior.log2_sigma, self._latents).mul_(-_LN_2)

    def _log_sum(self, table: Tensor) -> Tensor:
        largest = table.amax(-1, keepdim=True)
        total = torch.mv(table.sub_(largest).exp2_(), self._modes)
        return total.log2_().add_(largest.squeeze(-1))


class _Split:
    """A net with a linear path, which is had together with the first layer: one product of x."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        (first, first_bias), *between, (last, last_bias) = layers
        self._sizes = [first.shape[1], last.shape[1]]
        of_hidden, of_x = last.split_with_sizes([last.shape[0] - first.shape[0], first.shape[0]])
        self._first = Linear(torch.cat([first, of_x], 1), torch.cat([first_bias, last_bias]))
        self._between = [Linear(weight, bias) for weight, bias in between]
        self._last = Linear(of_hidden)

    def __call__(self, x: Tensor) -> Tensor:
        h, beside = self._first(x).split_with_sizes(self._sizes, dim=-1)
        h = functional.silu(h)
        for linear in self._between:
            h = linear.silu(h)
        return self._last(h).add_(beside)


def _plain(layers: Sequence[tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
    return Network([(weight[None], bias[None, None]) for weight, bias in layers]).run


def _in_units(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer with (raw - MIDDLE) / _UNIT where it had the raw log-variance."""
    mean, raw = weight.chunk(2, dim=-1)
    mean_bias, raw_bias = bias.chunk(2)
    scaled_bias = (raw_bias.double() - MIDDLE) / _UNIT
    scaled = (raw.double() / _UNIT).to(weight.dtype)
    return torch.cat([mean, scaled], -1), torch.cat([mean_bias, scaled_bias.to(bias.dtype)])
