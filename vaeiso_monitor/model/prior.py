"""The prior p(z) of the latents, and the rate it asks for a posterior."""

from __future__ import annotations

import torch
from torch import Tensor


class StandardNormal:
    """p(z) = N(0, I), the prior of the paper: the rate is the KL divergence in closed form."""

    name = "normal"

    def rate(self, mean: Tensor, sigma: Tensor, log_variance: Tensor) -> Tensor:
        """Return KL_j = (mu_j^2 + sigma_j^2 - log sigma_j^2 - 1) / 2 per latent: [..., n]."""
        return torch.addcmul(sigma.square() - log_variance, mean, mean).sub_(1).mul_(0.5)
