"""The probability of a record, estimated both ways that the theory offers (Eq. 19, 20 and 21)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.jacobian import alone_exact
from vaeiso_monitor.model.vae import VAE

Vector = NDArray[np.float64]
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Logarithms of what the probability of each record is made of: float64 [N] each.

    ``objective`` is -Lx/beta less (m/2) log(pi beta): an absolute log-density with squared error.
    ``prior`` is log p(mu), ``sigma`` is sum_j log sigma_j. ``correction`` leads from the metric
    space to the input space: log|det G_x|/2 where m = n (Eq. 20), (n/2) log a_x where m > n and
    G_x = a_x I (Eq. 21); None where neither holds. It is zero with squared error.
    """

    objective: Vector
    prior: Vector
    sigma: Vector
    correction: Vector | None
    beta: float
    latents: int

    @property
    def embedded(self) -> Vector:
        """Return log p(y) by the prior: log p(mu) + sum log sigma - (n/2) log(beta/2) (Eq. 19).

        It is a density over the n dimensions of the isometric embedding, whatever m is.
        """
        return self.prior + self.sigma - 0.5 * self.latents * math.log(self.beta / 2)

    def input_space(self, estimate: Vector) -> Vector:
        """Return ``estimate`` (of the metric space) in the input space (Eq. 20 or 21)."""
        if self.correction is None:
            msg = "the input space is known where m = n or G_x = a_x I, and here neither holds"
            raise ValueError(msg)
        return estimate + self.correction


def likelihood(model: VAE, x: NDArray[np.floating], *, samples: int = 8) -> Likelihood:
    """Estimate the probability of encoded records [N, m] under a model with one member."""
    exact = alone_exact(model)
    draws = sign_draws(samples, model.latent_dim, seed=0)
    records = torch.from_numpy(np.asarray(x, dtype=np.float64))
    with torch.no_grad():
        pieces = [_piece(exact, piece, draws) for piece in torch.split(records, _CHUNK)]
    columns = torch.cat(pieces, dim=1).numpy()
    correction = None if np.isnan(columns[3]).all() else columns[3]
    return Likelihood(
        columns[0], columns[1], columns[2], correction, model.betas[0], model.latent_dim
    )


def _piece(model: VAE, x: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    mean, log_variance = (part[0] for part in model.encode(x))
    prior = model.prior.alone().log_density(mean)
    nats = objective.nats(model, x, draws)[0]
    return torch.stack([-nats, prior, 0.5 * log_variance.sum(-1), _correction(model, x)])


def _correction(model: VAE, x: torch.Tensor) -> torch.Tensor:
    if model.width == model.latent_dim:
        return 0.5 * model.distortion.log_det_metric(x)
    scale = model.distortion.log_scale(x)
    missing = x.new_full(x.shape[:-1], math.nan)
    return missing if scale is None else 0.5 * model.latent_dim * scale
