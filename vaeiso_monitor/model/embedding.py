"""The implicit isometric embedding y(x): distances in it are distances in the metric space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.model.jacobian import alone_exact
from vaeiso_monitor.model.vae import VAE

Matrix = NDArray[np.float64]
_KNOTS = 129


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """y_j as a function of mu_j, one line of knots for each latent: [n, K] each.

    Theory: dy_j / dmu_j = sqrt(beta/2) / sigma_j (Eq. 16), integrated along mu_j from its median.
    At each knot 1/sigma_j is the mean over records near it: where sigma_j depends on other latents
    as well, there is no such function of mu_j alone, and this is the one closest to it. Beyond the
    knots it goes on straight.
    """

    mean: Matrix
    value: Matrix
    slope: Matrix

    @classmethod
    def fit(cls, model: VAE, x: NDArray[np.floating]) -> Embedding:
        """Measure the map on encoded normal records [N, m] of a model with one member."""
        mean, sigma = posterior(model, x)
        slopes = np.sqrt(model.betas[0] / 2) / sigma
        lines = [_line(mean[:, j], slopes[:, j]) for j in range(model.latent_dim)]
        knots, values, slope = (np.stack(part) for part in zip(*lines, strict=True))
        return cls(knots, values, slope)

    def of(self, mean: Matrix) -> Matrix:
        """Return y [N, n] of latents mu [N, n]."""
        columns = [self._column(j, mean[:, j]) for j in range(mean.shape[1])]
        return np.stack(columns, axis=1)

    def _column(self, j: int, mean: Matrix) -> Matrix:
        knots, values, slope = self.mean[j], self.value[j], self.slope[j]
        below, above = np.minimum(mean - knots[0], 0), np.maximum(mean - knots[-1], 0)
        line: Matrix = np.interp(mean, knots, values) + slope[0] * below + slope[-1] * above
        return line


def posterior(model: VAE, x: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    """Return mu and sigma [N, n] of encoded records [N, m] under a model with one member."""
    exact = alone_exact(model)
    with torch.no_grad():
        mean, log_variance = exact.encode(torch.from_numpy(np.asarray(x, dtype=np.float64)))
    return mean[0].numpy(), torch.exp(0.5 * log_variance[0]).numpy()


def _line(mean: Matrix, slope: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return knots at quantiles of ``mean`` [N], y there, and dy/dmu there: [K] each."""
    order = np.argsort(mean, kind="stable")
    groups = np.array_split(order, min(_KNOTS, len(mean)))
    knots = np.array([mean[group].mean() for group in groups])
    slopes = np.array([slope[group].mean() for group in groups])
    steps = np.diff(knots) * 0.5 * (slopes[1:] + slopes[:-1])
    values = np.concatenate([[0.0], np.cumsum(steps)])
    values -= np.interp(np.median(mean), knots, values)
    last = np.full(_KNOTS - len(groups), len(groups) - 1)  # few records: the last knot repeats
    rows = np.concatenate([np.arange(len(groups)), last])
    return knots[rows], values[rows], slopes[rows]
