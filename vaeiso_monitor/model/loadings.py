"""What each latent is: how the encoded columns change along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeiso_monitor.model.jacobian import jacobians
from vaeiso_monitor.model.vae import VAE

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Loadings:
    """Means over records of dx_i / dmu_j, [n, m] each: the change for one unit of the latent.

    One unit is one standard deviation of the latent under the prior. ``signed`` says which way a
    column moves, ``absolute`` how far; they differ where the latent bends.
    """

    signed: Matrix
    absolute: Matrix


def loadings(model: VAE, x: NDArray[np.floating], slopes: Matrix | None = None) -> Loadings:
    """Measure the loadings of a model with one member on encoded normal records [N, m].

    ``slopes`` [N, m], if given, converts each record's encoded columns into other units.
    """
    signed, absolute = (np.zeros((model.latent_dim, model.width)) for _ in range(2))
    start = 0
    for piece in jacobians(model, x):
        unit = piece.prior.variance().sqrt() / piece.sigma  # [B, n]
        change = (piece.columns * unit.T[:, :, None]).numpy()
        if slopes is not None:
            change = change * slopes[None, start : start + len(piece.x)]
        start += len(piece.x)
        signed += change.sum(axis=1)
        absolute += np.abs(change).sum(axis=1)
    return Loadings(signed / start, absolute / start)


def expected_records(model: VAE, x: NDArray[np.floating]) -> Matrix:
    """Return x_breve [N, m] of encoded records [N, m] under a model with one member."""
    return np.concatenate([piece.expected.numpy() for piece in jacobians(model, x)])
