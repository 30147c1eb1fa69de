"""Common random numbers for E_z: one small set of draws, shared by every record."""

from __future__ import annotations

import torch
from torch import Tensor


def sign_draws(count: int, latent_dim: int, seed: int) -> Tensor:
    """Return ``count`` draws [K, n] (float64) in antithetic pairs, orthogonal as far as K allows.

    Every value is +1 or -1: each draw has the second moment of N(0, I) on every single latent, so
    the coding term is exact to second order as soon as J'GJ is diagonal, which is what the
    isometry says. Pairs (e, -e) cancel the odd orders. The rows of a Hadamard matrix cancel the
    cross terms of latents j and k that still remain.
    """
    pairs = (count + 1) // 2
    order = 1
    while order < max(latent_dim, pairs):
        order *= 2
    hadamard = torch.ones(1, 1, dtype=torch.float64)
    while len(hadamard) < order:
        upper, lower = torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)
        hadamard = torch.cat([upper, lower])
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(order, generator=generator)[:pairs]
    columns = torch.randperm(order, generator=generator)[:latent_dim]
    signs = torch.randint(0, 2, (latent_dim,), generator=generator) * 2.0 - 1.0
    half = hadamard[rows][:, columns] * signs
    return torch.stack([half, -half], dim=1).reshape(2 * pairs, latent_dim)[:count]
