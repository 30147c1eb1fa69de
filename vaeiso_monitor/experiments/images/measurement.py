"""What the latents of an image model mean: importance (Eq. 22) and norm (Eq. 15 and 23) of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.experiments.images.network import ConvolutionalVae
from vaeiso_monitor.model.distortion import Distortion
from vaeiso_monitor.model.isometry import MEANINGFUL_NATS
from vaeiso_monitor.model.prior import StandardNormal

_CHUNK_BYTES = 64_000_000
_STEP = 1e-4  # of the finite difference


@dataclass(frozen=True, slots=True)
class ImageLatent:
    """One latent over the images measured; numbered from 1 in falling order of importance.

    ``norm_mean`` and ``norm_sd`` are (2/beta) sigma^2 J'GJ by forward-mode differentiation,
    ``difference_mean`` is the same by the finite difference of Eq. 23, ``precision`` E[sigma^-2],
    and ``place`` the index of the latent in the model.
    """

    latent: int
    place: int
    kl_nats: float
    importance: float
    precision: float
    norm_mean: float
    norm_sd: float
    difference_mean: float
    orthogonality_error: float
    meaningful: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """The table, the means mu [N, n] in its order, and the two losses per image."""

    latents: list[ImageLatent]
    means: NDArray[np.float64]
    transform_loss: float
    coding_loss: float


def measure(
    model: ConvolutionalVae, distortion: Distortion, x: NDArray[np.uint8], beta: float
) -> Measurement:
    """Measure a model on images [N, m] that it was not trained on."""
    exact = model.exact()
    chunk = max(1, _CHUNK_BYTES // (8 * exact.shape.width * 4 * exact.shape.latent_dim))
    with torch.no_grad():
        pieces = [
            _Piece(exact, distortion, rows.double() / 255, beta)
            for rows in torch.split(torch.from_numpy(x), chunk)
        ]
    return _summary(pieces, beta)


class _Piece:
    """The figures of some images: matrix of Eq. 14 [B, n, n] and what goes with it."""

    def __init__(
        self, model: ConvolutionalVae, distortion: Distortion, x: Tensor, beta: float
    ) -> None:
        self.mean, log_variance = model.encode(x)
        sigma = torch.exp(0.5 * log_variance)
        self.precision = torch.exp(-log_variance)
        self.kl = StandardNormal().split(self.mean, sigma, log_variance).latents
        along = torch.diag_embed(sigma).transpose(0, 1)  # [n, B, n]: sigma_j e_j
        expected, columns = model.tangents(self.mean, along)
        stretched = distortion.metric(expected, columns)
        self.matrix = torch.einsum("jbm,kbm->bjk", columns, stretched) * (2 / beta)
        moved = (model.decode(self.mean + _STEP * direction) for direction in along)
        differences = [distortion.total(expected, image) / _STEP**2 for image in moved]
        self.differences = torch.stack(differences, dim=1) * (2 / beta)
        self.transform = distortion.total(x, expected)


def _summary(pieces: list[_Piece], beta: float) -> Measurement:
    means = torch.cat([piece.mean for piece in pieces]).numpy()
    kl = torch.cat([piece.kl for piece in pieces]).mean(0).numpy()
    precision = torch.cat([piece.precision for piece in pieces]).mean(0).numpy()
    matrix = torch.cat([piece.matrix for piece in pieces])
    differences = torch.cat([piece.differences for piece in pieces]).mean(0).numpy()
    norms = matrix.diagonal(dim1=1, dim2=2).numpy()
    worst = _worst_partner(matrix.square().mean(0).sqrt().numpy(), kl >= MEANINGFUL_NATS)
    order = np.argsort(-precision)
    latents = [
        ImageLatent(
            latent=rank,
            place=int(j),
            kl_nats=float(kl[j]),
            importance=float(beta / 2 * precision[j]),
            precision=float(precision[j]),
            norm_mean=float(norms[:, j].mean()),
            norm_sd=float(norms[:, j].std()),
            difference_mean=float(differences[j]),
            orthogonality_error=float(worst[j]),
            meaningful=bool(kl[j] >= MEANINGFUL_NATS),
        )
        for rank, j in enumerate(order, start=1)
    ]
    transform = float(torch.cat([piece.transform for piece in pieces]).mean())
    return Measurement(latents, means[:, order], transform, float(norms.sum(1).mean()) * beta / 2)


def _worst_partner(
    entries: NDArray[np.float64], meaningful: NDArray[np.bool_]
) -> NDArray[np.float64]:
    others = entries * (meaningful[:, None] & meaningful[None, :])
    np.fill_diagonal(others, 0.0)
    return np.asarray(others.max(axis=1))
