"""Rate and distortion of a record set, and what PCA could do at best (Eq. 25)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.jacobian import alone_exact
from vaeiso_monitor.model.vae import VAE

_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class RateDistortion:
    """Means over records: the rate in nats, distortions in squared units of the encoded space.

    ``distortion`` is E_z D(x, x_hat), what a decoder that is sent z gets wrong; ``transform`` is
    D(x, x_breve) and ``coding`` E_z D(x_breve, x_hat).
    """

    beta: float
    rate_nats: float
    distortion: float
    transform: float
    coding: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a plain dict."""
        return asdict(self)


def rate_distortion(
    model: VAE, x: NDArray[np.floating], *, samples: int = 16, seed: int = 0
) -> RateDistortion:
    """Measure a model with one member on encoded records [N, m], E_z over ``samples`` draws."""
    exact = alone_exact(model)
    draws = sign_draws(samples, model.latent_dim, seed)
    records = torch.from_numpy(np.asarray(x, dtype=np.float64))
    with torch.no_grad():
        sums = sum(_sums(exact, piece, draws) for piece in torch.split(records, _CHUNK))
    assert isinstance(sums, torch.Tensor)
    rate, distortion, transform, coding = (sums / len(records)).tolist()
    return RateDistortion(model.betas[0], rate, distortion, transform, coding)


def _sums(model: VAE, x: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    mean, log_variance = model.encode(x)
    sigma = torch.exp(0.5 * log_variance)
    expected, total = model.decode(mean), model.distortion.total
    rate = model.prior.total(mean, sigma, log_variance).sum()
    away, coding = torch.zeros_like(rate), torch.zeros_like(rate)
    for draw in draws:
        sampled = model.decode(mean + sigma * draw)
        away += total(x, sampled).sum() / len(draws)
        coding += total(expected, sampled).sum() / len(draws)
    return torch.stack([rate, away, total(x, expected).sum(), coding])


def water_filling(eigenvalues: NDArray[np.float64], beta: float) -> RateDistortion:
    """Return the least rate of Gaussian data and its distortion, at beta/2 in each dimension.

    Reverse water-filling over the ``eigenvalues`` of the covariance (Eq. 25): a dimension above
    the water level beta/2 costs log(eigenvalue / (beta/2)) / 2 nats and is wrong by beta/2, one
    below it costs nothing and is wrong by its variance.
    """
    level = beta / 2
    kept = eigenvalues[eigenvalues > level]
    rate = 0.5 * float(np.log(kept / level).sum())
    lost = float(eigenvalues[eigenvalues <= level].sum())
    transform = float((level**2 / kept).sum())
    coding = float((level - level**2 / kept).sum())
    return RateDistortion(beta, rate, len(kept) * level + lost, transform + lost, coding)
