"""Moments of the isometry by blocks of records in a row, from which its noise can be resampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model.isometry import MEANINGFUL_NATS, isometry_matrix, worst_partner
from vaeiso_monitor.model.jacobian import Piece, jacobians
from vaeiso_monitor.model.vae import VAE

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """What the moments amount to: aggregates over the latents that mean something, and each latent.

    ``norm``, ``orthogonality`` and ``kl`` are float64 [n]; ``meaningful`` counts the latents that
    carry more than :data:`MEANINGFUL_NATS` in these records.
    """

    norm_error: float
    orthogonality_error: float
    transform_coding_ratio: float
    meaningful: int
    norm: Matrix
    orthogonality: Matrix
    kl: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over each of b blocks of records: all that the figures of the isometry need.

    ``records``, ``transform`` and ``coding`` are [b], ``kl``, ``shrinkage`` (the share of noise in
    a latent) and ``norms`` [b, n], ``squares`` (of the entries of the isometry matrix) [b, n * n];
    all float64.
    """

    records: Matrix
    kl: Matrix
    shrinkage: Matrix
    norms: Matrix
    squares: Matrix
    transform: Matrix
    coding: Matrix

    @classmethod
    def measure(cls, model: VAE, x: NDArray[np.floating], blocks: int) -> Moments:
        """Measure a model with one member on encoded records [N, m], in ``blocks`` runs of them."""
        blocks = min(blocks, len(x))
        of_block = torch.from_numpy(np.arange(len(x)) * blocks // max(len(x), 1))
        width = 3 * model.latent_dim + model.latent_dim**2 + 3
        sums = torch.zeros(blocks, width, dtype=torch.float64)
        start = 0
        for piece in jacobians(model, x):
            rows = _rows(model, piece)
            sums.index_add_(0, of_block[start : start + len(rows)], rows)
            start += len(rows)
        return cls(*_split(sums.numpy(), model.latent_dim))

    @property
    def blocks(self) -> int:
        """Number of blocks b."""
        return len(self.records)

    def figures(self, meaningful: NDArray[np.bool_], times: Matrix | None = None) -> Figures:
        """Return the figures of the latents ``meaningful`` [n], each block taken ``times`` [b]."""
        times = np.ones(self.blocks) if times is None else times
        count = float(times @ self.records)
        kl, shrinkage, norm = (
            times @ sums / count for sums in (self.kl, self.shrinkage, self.norms)
        )
        squares = (times @ self.squares / count).reshape(len(norm), len(norm))
        worst = worst_partner(squares, meaningful)
        coding = float(times @ self.coding)
        return Figures(
            norm_error=_mean(np.abs(norm - (1 - shrinkage))[meaningful]),
            orthogonality_error=_mean(worst[meaningful]),
            transform_coding_ratio=float(times @ self.transform) / coding if coding > 0 else 0.0,
            meaningful=int((kl >= MEANINGFUL_NATS).sum()),
            norm=norm,
            orthogonality=worst,
            kl=kl,
        )


def meaningful_latents(moments: Moments) -> NDArray[np.bool_]:
    """Return which latents [n] carry something in these records."""
    kl = moments.kl.sum(axis=0) / moments.records.sum()
    return np.asarray(kl >= MEANINGFUL_NATS)


def _rows(model: VAE, piece: Piece) -> Tensor:
    """Return the contribution of each record, side by side [B, 3 n + n^2 + 3]."""
    matrix = isometry_matrix(model, piece)
    norms = matrix.diagonal(dim1=1, dim2=2)
    rate = piece.prior.split(*piece.posterior).latents
    shrinkage = piece.prior.shrinkage(*piece.posterior)
    transform = model.distortion.total(piece.x, piece.expected)[:, None]
    coding = norms.sum(1, keepdim=True) * (model.betas[0] / 2)
    parts = [rate, shrinkage, norms, matrix.square().flatten(1), transform, coding]
    return torch.cat([*parts, torch.ones_like(transform)], dim=1)


def _split(sums: Matrix, n: int) -> tuple[Matrix, ...]:
    kl, shrinkage, norms, squares, transform, coding, records = np.split(
        sums, np.cumsum([n, n, n, n * n, 1, 1]), axis=1
    )
    return records[:, 0], kl, shrinkage, norms, squares, transform[:, 0], coding[:, 0]


def _mean(values: Matrix) -> float:
    return float(values.mean()) if len(values) else 0.0
