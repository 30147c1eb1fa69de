"""Whether the latents measure the data: norms, orthogonality and importance of each latent.

Theory: (2 sigma_j sigma_k / beta) J_j' G J_k = delta_jk over the latents that mean something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model.jacobian import CHUNK_BYTES, Piece, alone_exact, jacobians
from vaeiso_monitor.model.vae import VAE

Floats = NDArray[np.floating]

# half a bit of rate, log(2) / 2: in the linear case the latent then holds as much signal as noise
MEANINGFUL_NATS = 0.3466
NORM_TOLERANCE = 0.2
ORTHOGONALITY_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True)
class Latent:
    """One latent over the records measured.

    ``kl_nats`` is taken against the mode that a record is of: what a latent says beyond the mode.
    ``importance`` is Eq. 22 times the variance of the latent under the prior, 1 for N(0, I).
    ``norm_expected`` is 1 - E[sigma^2 / s^2] with the mode's variance s^2, where the loss is
    stationary in sigma: close to 1 when the latent is sharp. ``orthogonality_error`` is the root
    mean square entry of the isometry matrix against the worst other meaningful latent (0 is
    perfect).
    """

    latent: int
    kl_nats: float
    importance: float
    norm_mean: float
    norm_sd: float
    norm_expected: float
    orthogonality_error: float
    meaningful: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Isometry:
    """The table over all latents and what it says; JSON-able through :meth:`to_dict`.

    ``mode_shares`` says how much of the records each mode of a mixture prior takes, empty for
    N(0, I); ``effective_modes`` is exp of their entropy, 1 where there are none.
    """

    latents: list[Latent]
    records: int
    beta: float
    effective_dimension: float
    norm_error: float
    orthogonality_error: float
    transform_loss: float
    coding_loss: float
    transform_coding_ratio: float
    healthy: bool
    verdict: str
    mode_shares: list[float] = field(default_factory=list)
    effective_modes: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain dicts, lists and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Isometry:
        """Return the table that :meth:`to_dict` wrote; BundleError if it is damaged."""
        try:
            latents = [Latent(**row) for row in table["latents"]]
            return cls(**{**table, "latents": latents})
        except (KeyError, TypeError) as error:
            msg = f"the isometry table is damaged: {error!r}"
            raise BundleError(msg) from error


def isometry(model: VAE, x: Floats, *, max_records: int = 4096) -> Isometry:
    """Measure the isometry of a model with one member on encoded normal records [N, m].

    Of more than ``max_records`` every so many-th is taken. Needs records that are finite.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), max_records)).astype(np.int64)
    sums = _Sums(model, np.asarray(x)[rows])
    meaningful = sums.kl >= MEANINGFUL_NATS
    worst = worst_partner(sums.squares, meaningful)
    latents = [_latent(sums, worst, j) for j in range(model.latent_dim)]
    return _table(latents, sums, model.betas[0])


def matrices(model: VAE, x: Floats, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Tensor]:
    """Yield the matrix of Eq. 14 of each record [B, n, n], a bounded piece of records at a time.

    Its entries are (2 sigma_j sigma_k / beta) J_j' G J_k: the diagonal holds the norms, and with
    the symmetric scale an off-diagonal entry is a cosine where the norms are 1.
    """
    for piece in jacobians(model, x, chunk_bytes=chunk_bytes):
        yield isometry_matrix(model, piece)


def finite_difference_norms(model: VAE, x: Floats, step: float = 1e-4) -> NDArray[np.float64]:
    """Return the norms of Eq. 23 [N, n]: (2/beta) sigma_j^2 D(Dec(z), Dec(z + step e_j)) / step^2.

    A cross-check of :func:`matrices` that does not differentiate.
    """
    exact = alone_exact(model)
    with torch.no_grad():
        mean, log_variance = exact.encode(torch.from_numpy(np.asarray(x, dtype=np.float64)))
        at_mean, norms = exact.decode(mean), []
        for j in range(exact.latent_dim):
            moved = mean.clone()
            moved[..., j] += step
            moved_by = exact.distortion.total(at_mean, exact.decode(moved)) / step**2
            norms.append(2 / exact.betas[0] * log_variance[..., j].exp() * moved_by)
    return torch.stack(norms, dim=-1)[0].numpy()


def isometry_matrix(model: VAE, piece: Piece) -> Tensor:
    """Return the matrix of Eq. 14 of each record of a piece [B, n, n]."""
    stretched = model.distortion.metric(piece.expected, piece.columns)
    return torch.einsum("jbm,kbm->bjk", piece.columns, stretched) * (2 / model.betas[0])


class _Sums:
    """What is kept of the records: nothing that grows with them but the norms [N, n]."""

    def __init__(self, model: VAE, x: Floats) -> None:
        n, self.count = model.latent_dim, len(x)
        self.beta = model.betas[0]
        kl, precision, shrinkage = (torch.zeros(n, dtype=torch.float64) for _ in range(3))
        modes = torch.zeros(max(1, model.prior.modes), dtype=torch.float64)
        spread = alone_exact(model).prior.alone().variance()
        squares, norms, transform = torch.zeros(n, n, dtype=torch.float64), [], 0.0
        for piece in jacobians(model, x):
            matrix = isometry_matrix(model, piece)
            prior, posterior = piece.prior, piece.posterior
            kl += prior.split(*posterior).latents.sum(0)
            precision += torch.exp(-piece.log_variance).sum(0)
            shrinkage += prior.shrinkage(*posterior).sum(0)
            modes += prior.responsibilities(*posterior).sum(0)
            squares += matrix.square().sum(0)
            norms.append(matrix.diagonal(dim1=1, dim2=2))
            transform += float(model.distortion.total(piece.x, piece.expected).sum())
        self.kl, self.shrinkage = (kl / self.count).numpy(), (shrinkage / self.count).numpy()
        self.importance = (0.5 * self.beta * precision * spread / self.count).numpy()
        self.modes = (modes / self.count).numpy()
        self.squares = (squares / self.count).numpy()
        self.norms = torch.cat(norms).numpy()
        self.transform = transform / self.count
        self.coding = float(self.norms.sum(1).mean()) * self.beta / 2


def worst_partner(
    squares: NDArray[np.float64], meaningful: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return for each latent [n] the root of its largest off-diagonal mean square [n, n].

    Only pairs of meaningful latents count.
    """
    others = np.sqrt(squares) * (meaningful[:, None] & meaningful[None, :])
    np.fill_diagonal(others, 0.0)
    return np.asarray(others.max(axis=1))


def _latent(sums: _Sums, worst: Floats, j: int) -> Latent:
    kl = float(sums.kl[j])
    carries = kl >= MEANINGFUL_NATS
    words = "carries" if carries else "carries only"
    return Latent(
        latent=j,
        kl_nats=kl,
        importance=float(sums.importance[j]),
        norm_mean=float(sums.norms[:, j].mean()),
        norm_sd=float(sums.norms[:, j].std()),
        norm_expected=float(1 - sums.shrinkage[j]),
        orthogonality_error=float(worst[j]),
        meaningful=carries,
        reason=f"{words} {kl:.3g} nats per record; the line is {MEANINGFUL_NATS:.3g}",
    )


def _table(latents: list[Latent], sums: _Sums, beta: float) -> Isometry:
    used = [latent for latent in latents if latent.meaningful]
    norm_error = _mean([abs(latent.norm_mean - latent.norm_expected) for latent in used])
    orthogonality_error = _mean([latent.orthogonality_error for latent in used])
    healthy, verdict = _verdict(len(used), len(latents), norm_error, orthogonality_error)
    return Isometry(
        latents=latents,
        records=sums.count,
        beta=beta,
        effective_dimension=effective_number([latent.importance for latent in used]),
        norm_error=norm_error,
        orthogonality_error=orthogonality_error,
        transform_loss=sums.transform,
        coding_loss=sums.coding,
        transform_coding_ratio=sums.transform / sums.coding if sums.coding > 0 else 0.0,
        healthy=healthy,
        verdict=verdict,
        mode_shares=sums.modes.tolist() if len(sums.modes) > 1 else [],
        effective_modes=effective_number(sums.modes.tolist()),
    )


def _verdict(used: int, count: int, norm: float, orthogonality: float) -> tuple[bool, str]:
    if used == 0:
        return False, f"None of the {count} latents carries anything: the model learned a point."
    figures = (
        f"{used} of {count} latents are meaningful, their norms are off by {norm:.2f} "
        f"(at most {NORM_TOLERANCE}) and their off-diagonals are {orthogonality:.2f} "
        f"(at most {ORTHOGONALITY_TOLERANCE})"
    )
    healthy = norm <= NORM_TOLERANCE and orthogonality <= ORTHOGONALITY_TOLERANCE
    if healthy:
        return True, f"The embedding is isometric: {figures}."
    return False, f"The embedding is not isometric, do not trust its likelihood: {figures}."


def effective_number(weights: list[float]) -> float:
    """Return exp of the entropy of the shares of these weights: how many there are in effect."""
    present = np.array([weight for weight in weights if weight > 0])
    if not len(present):
        return 0.0
    shares = present / present.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
