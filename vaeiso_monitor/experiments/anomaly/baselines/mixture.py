"""The Gaussian mixture that an estimation network describes (Zong et al., 2018, Eqs. 4 to 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """K Gaussians in d dimensions: weights [L, K], means [L, K, d], covariances [L, K, d, d]."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, z: Tensor, shares: Tensor, ridge: float) -> Mixture:
        """Return the mixture of features [L, N, d] that belong to its parts by [L, N, K] shares.

        ``ridge`` is added to each variance, which keeps a part from falling onto a plane.
        """
        shares = shares.mT  # [L, K, N]
        total = shares.sum(dim=-1, keepdim=True).clamp_min(_LEAST_SHARE)
        means = shares @ z / total
        centred = z[:, None] - means[:, :, None]  # [L, K, N, d]
        spread = (centred * shares[..., None]).mT @ centred / total[..., None]
        covariances = spread + ridge * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        return cls((total / total.sum(dim=1, keepdim=True))[..., 0], means, covariances)

    def energy(self, z: Tensor) -> Tensor:
        """Return -log p(z) of features [L, N, d]: [L, N]."""
        factor = torch.linalg.cholesky(self.covariances)
        unit = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device).expand_as(factor)
        whitening = torch.linalg.solve_triangular(factor, unit, upper=False)
        white = (z[:, None] - self.means[:, :, None]) @ whitening.mT  # [L, K, N, d]
        log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        peak = self.weights.log() - log_volume - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return -torch.logsumexp(peak[..., None] - 0.5 * white.square().sum(dim=-1), dim=1)

    def penalty(self) -> Tensor:
        """Return the sum of inverse variances [L], which grows where a part becomes singular."""
        return self.covariances.diagonal(dim1=-2, dim2=-1).reciprocal().sum(dim=(1, 2))
