"""The prior p(z) of the latents, and the rate it asks for a posterior q(z|x) = N(mu, sigma^2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Slopes = tuple[Tensor, Tensor, tuple[Tensor, ...]]

_WIDEST = 2.0  # the log-scale of a mode lies within -2 and 2


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of each record, part by part: ``latents`` [..., n] and ``mode_nats`` [...].

    ``mode`` [...] is the likeliest mode; both of its fields are None for a prior without modes.
    """

    latents: Tensor
    mode_nats: Tensor | None = None
    mode: Tensor | None = None


class Prior(Protocol):
    """What a model needs to know of p(z).

    A posterior is mu, sigma and log sigma^2, [M, B, n] each; after :meth:`alone` they lack the
    member axis, as all results then do.
    """

    @property
    def name(self) -> str:
        """The word for it in a config and in a bundle."""

    @property
    def modes(self) -> int:
        """Number of modes K; 0 for a prior without modes."""

    def total(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return the rate of each record in nats: [..., B]."""

    def slopes(self, mean: Tensor, sigma: Tensor) -> Slopes:
        """Return the derivatives of the sum of :meth:`total` over the records.

        They are by mean and log-variance [M, B, n], and by each array that the prior learns.
        """

    def split(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Rate:
        """Return the parts that add up to :meth:`total`, none of them negative."""

    def shrinkage(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return 2 sigma_j^2 (dR / d sigma_j^2) + 1 per latent: [..., B, n].

        It is the share of noise in a latent. Where the loss is stationary in sigma, the norm of
        Eq. 23 is 1 less this share: d/d sigma_j^2 of sigma_j^2 J_j'GJ_j / beta + R is zero.
        """

    def responsibilities(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return how likely each record is of each mode: [..., B, K], [..., B, 1] without modes."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return log p(z) of latents [..., B, n]: [..., B]."""

    def variance(self) -> Tensor:
        """Return the variance of each latent under p(z): [..., n], or [1] if all are the same."""

    def shares(self) -> Tensor:
        """Return the weight pi_k of each mode: [..., K]; [0] without modes."""

    def affine(self, latents: int) -> tuple[Tensor, Tensor]:
        """Return W [2n, K] and b [K] of a prior without a member axis, for n latents.

        A record whose mu beside mu^2 + sigma^2 is v [2n] has the rate -log sum_k exp(v W + b)_k -
        sum_j log sigma_j, one k without modes.
        """

    def alone(self) -> Prior:
        """Return the prior of a model's only member, for tensors without a member axis."""


class StandardNormal:
    """p(z) = N(0, I), the prior of the paper: the rate is the KL divergence in closed form."""

    name = "normal"
    modes = 0

    def total(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return sum_j KL_j: [..., B]."""
        return self.split(mean, sigma, log_variance).latents.sum(-1)

    def slopes(self, mean: Tensor, sigma: Tensor) -> Slopes:
        """Return mu and (sigma^2 - 1) / 2."""
        return mean.clone(), sigma.square().sub_(1).mul_(0.5), ()

    def split(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Rate:
        """Return KL_j = (mu_j^2 + sigma_j^2 - log sigma_j^2 - 1) / 2 per latent: [..., B, n]."""
        return Rate(torch.addcmul(sigma.square() - log_variance, mean, mean).sub_(1).mul_(0.5))

    def shrinkage(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return sigma_j^2: [..., B, n]."""
        del mean, log_variance
        return sigma.square()

    def responsibilities(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return 1, as everything is of one kind: [..., B, 1]."""
        del sigma, log_variance
        return torch.ones_like(mean[..., :1])

    def log_density(self, z: Tensor) -> Tensor:
        """Return log N(z; 0, I): [..., B]."""
        return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))

    def variance(self) -> Tensor:
        """Return 1: [1]."""
        return torch.ones(1)

    def shares(self) -> Tensor:
        """Return nothing: [0]."""
        return torch.empty(0)

    def affine(self, latents: int) -> tuple[Tensor, Tensor]:
        """Return W [2n, 1] and b [1]: n / 2 - sum_j (mu_j^2 + sigma_j^2) / 2."""
        weight = torch.cat([torch.zeros(latents, 1), torch.full((latents, 1), -0.5)])
        return weight, torch.full((1,), 0.5 * latents)

    def alone(self) -> StandardNormal:
        """Return the same prior: it has no member axis."""
        return self


class Mixture:
    """p(z) = sum_k pi_k N(z; m_k, diag s_k^2), learned with the nets.

    The rate is the bound R = -log sum_k pi_k exp(-KL_k), KL_k that of the posterior against mode k.
    For any weights rho_k, a posterior over modes beside q(z|x), Jensen gives KL(q || p) <=
    sum_k rho_k (KL_k + log rho_k / pi_k). The best of them are the responsibilities
    r_k ~ pi_k exp(-KL_k), and with these the right side is R (J. R. Hershey and P. A. Olsen, ICASSP
    2007, the variational approximation). It has no sampling noise, it is -H(q) - log p(mu) for
    small sigma, and one mode N(0, I) gives the KL of :class:`StandardNormal`.
    """

    name = "mixture"

    def __init__(self, logits: Tensor, means: Tensor, raw_scales: Tensor) -> None:
        self._parameters = logits, means, raw_scales  # [M, 1, K], [M, K, n], [M, K, n]
        log_scales = _bounded(raw_scales)
        self._means, self._twice = means, 2 * log_scales
        self._log_weights = logits.log_softmax(-1)
        self._precision = torch.exp(-2 * log_scales)
        self._pull = means * self._precision
        self._cost = torch.addcmul(self._twice, means, self._pull)
        free = 0.5 * (means.shape[-1] - self._cost.sum(-1))  # [M, K]
        self._base = self._log_weights + free.unsqueeze(-2)
        self._product = torch.baddbmm if means.dim() == 3 else torch.addmm

    @property
    def modes(self) -> int:
        """Number of modes K."""
        return int(self._means.shape[-2])

    def total(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return R: [..., B]."""
        table = self._table(mean, _second(mean, sigma))
        return torch.sub(-0.5 * log_variance.sum(-1), _logsumexp(table))

    def slopes(self, mean: Tensor, sigma: Tensor) -> Slopes:
        """Return sum_k r_k dKL_k by mean and log-variance, and sum_b r_bk dKL_k by what is learned.

        dKL_k / d mu = (mu - m_k) / s_k^2 and dKL_k / d log s_k = 1 - (sigma^2 + (mu - m_k)^2) /
        s_k^2, per latent; no derivative of r_k remains (:meth:`shrinkage`).
        """
        logits, means, raw = self._parameters
        variance = sigma.square()
        second = torch.addcmul(variance, mean, mean)
        r = self._table(mean, second).softmax(-1)  # [M, B, K]
        hold = r @ self._precision  # [M, B, n]
        by_mean = torch.addcmul(-(r @ self._pull), mean, hold)
        by_variance = variance.mul_(hold).sub_(1).mul_(0.5)
        count = r.sum(-2).unsqueeze(-1)  # [M, K, 1]
        first, square = r.mT @ mean, r.mT @ second  # [M, K, n]
        off = count * means - first
        spread = torch.addcmul(square, means, off - first)  # sum_b r_bk (sigma^2 + (mu - m_k)^2)
        by_scales = (count - self._precision * spread).mul_(_bounded_slope(raw))
        by_logits = logits.softmax(-1) * mean.shape[-2] - count.mT
        return by_mean, by_variance, (by_logits, self._precision * off, by_scales)

    def split(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Rate:
        """Return sum_k r_k KL_kj per latent, and sum_k r_k log(r_k / pi_k) for the mode.

        The first says how far a latent is from the modes that the record is of, the second how
        rare these modes are.
        """
        second = _second(mean, sigma)
        log_r = self._table(mean, second).log_softmax(-1)
        r = log_r.exp()
        latents = (r @ self._cost).addcmul_(second, r @ self._precision)
        latents = latents.addcmul_(mean, r @ self._pull, value=-2).sub_(log_variance).sub_(1)
        mode_nats = (r * (log_r - self._log_weights)).sum(-1).clamp_min_(0)
        return Rate(latents.mul_(0.5).clamp_min_(0), mode_nats, log_r.argmax(-1))

    def shrinkage(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return sigma_j^2 sum_k r_k / s_kj^2: [..., B, n].

        dR = sum_k r_k dKL_k, and dKL_k / d sigma_j^2 = (1 / s_kj^2 - 1 / sigma_j^2) / 2.
        """
        r = self.responsibilities(mean, sigma, log_variance)
        return sigma.square() * (r @ self._precision)

    def responsibilities(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return r_k: [..., B, K]."""
        del log_variance  # the same for every mode
        return self._table(mean, _second(mean, sigma)).softmax(-1)

    def log_density(self, z: Tensor) -> Tensor:
        """Return log p(z): [..., B]."""
        constant = 0.5 * z.shape[-1] * (1 + math.log(2 * math.pi))
        return _logsumexp(self._table(z, z.square())) - constant

    def variance(self) -> Tensor:
        """Return sum_k pi_k (s_kj^2 + m_kj^2) - (sum_k pi_k m_kj)^2: [..., n]."""
        weights = self._log_weights.exp()
        second = weights @ (self._twice.exp() + self._means.square())
        return (second - (weights @ self._means).square()).squeeze(-2)

    def shares(self) -> Tensor:
        """Return pi_k: [..., K]."""
        return self._log_weights.exp().squeeze(-2)

    def affine(self, latents: int) -> tuple[Tensor, Tensor]:
        """Return W [2n, K] and b [K]: the products of :meth:`_table` as one."""
        del latents
        return torch.cat([self._pull.mT, -0.5 * self._precision.mT]), self._base.squeeze(0)

    def alone(self) -> Mixture:
        """Return the only member's mixture, its tensors without the member axis."""
        logits, means, raw_scales = (part.squeeze(0) for part in self._parameters)
        return Mixture(logits, means, raw_scales)

    def _table(self, mean: Tensor, second: Tensor) -> Tensor:
        """Return log pi_k - KL_k less sum_j log(sigma_j^2) / 2, which is no mode's: [..., B, K].

        ``second`` is mu^2 + sigma^2. Two matrix products, where (mu - m_k)^2 for each k would be
        K times as large as the records.
        """
        table = self._product(self._base, mean, self._pull.mT)
        return self._product(table, second, self._precision.mT, alpha=-0.5)


def _bounded(raw: Tensor) -> Tensor:
    scaled = raw / _WIDEST
    return raw * torch.rsqrt(1 + scaled * scaled)


def _bounded_slope(raw: Tensor) -> Tensor:
    scaled = raw / _WIDEST
    return torch.rsqrt(1 + scaled * scaled).pow_(3)


def raw_scales(log_scales: Tensor) -> Tensor:
    """Return what a mixture keeps for modes of these log-scales, brought inside their bounds."""
    scaled = log_scales.clamp(-0.9 * _WIDEST, 0.9 * _WIDEST) / _WIDEST
    return _WIDEST * scaled * torch.rsqrt(1 - scaled * scaled)


def _second(mean: Tensor, sigma: Tensor) -> Tensor:
    return torch.addcmul(sigma.square(), mean, mean)


def _logsumexp(table: Tensor) -> Tensor:
    """Return log sum_k exp of a table [..., K]: [...]; torch's own takes three times as long.

    Every entry less its log-softmax is the sum, and the largest entry loses no digits.
    """
    return table.amax(-1) - table.log_softmax(-1).amax(-1)
