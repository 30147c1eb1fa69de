"""The decoder's derivatives along each latent, by forward mode, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model.network import Network
from vaeiso_monitor.model.prior import Prior
from vaeiso_monitor.model.vae import VAE

CHUNK_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records of one member, in float64; ``columns`` [n, B, m] holds sigma_j J_j.

    ``prior`` is the member's own, without a member axis.
    """

    x: Tensor  # [B, m]
    mean: Tensor  # [B, n]
    sigma: Tensor  # [B, n]
    log_variance: Tensor  # [B, n]
    expected: Tensor  # x_breve [B, m]
    columns: Tensor
    prior: Prior

    @property
    def posterior(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the prior is asked with: mean, sigma and log-variance [B, n]."""
        return self.mean, self.sigma, self.log_variance


def alone_exact(model: VAE) -> VAE:
    """Return the model in float64 on the CPU; ValueError unless it has one member."""
    if model.members != 1:
        msg = f"this is measured on one member, not {model.members}: choose with .member(i)"
        raise ValueError(msg)
    return model.to(torch.device("cpu"), torch.float64)


def jacobians(
    model: VAE, x: NDArray[np.floating], *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Piece]:
    """Yield the derivatives of the decoder at the mean of each record [N, m]."""
    exact = alone_exact(model)
    decoder, prior = Network(exact.decoder), exact.prior.alone()
    wide = max(model.width, *model.shape.hidden, 1)
    chunk = max(1, chunk_bytes // (8 * wide * 3 * model.latent_dim))
    for piece in torch.split(torch.from_numpy(np.asarray(x, dtype=np.float64)), chunk):
        with torch.no_grad():
            mean, log_variance = (part[0] for part in exact.encode(piece))
            sigma = torch.exp(0.5 * log_variance)
            hidden, slopes = decoder.tangents(mean, sigma)
            raw = decoder.last(hidden)
            columns = torch.matmul(slopes, decoder.layers[-1][0])
            expected = model.distortion.link(raw)
            columns = model.distortion.link_slope(raw, columns)
        yield Piece(piece, mean, sigma, log_variance, expected, columns, prior)
