"""The score of records under one model: launched on the device, awaited when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.coding import Categories, decoded
from vaeiso_monitor.model.cross_entropy import MixedColumns
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.network import Linear, Network
from vaeiso_monitor.model.pending import OnDevice, Pending
from vaeiso_monitor.model.posterior import Encoder, Posterior, PosteriorRate
from vaeiso_monitor.model.vae import VAE
from vaeiso_monitor.model.workers import Workers, one_thread

Floats = NDArray[np.floating]

_CACHED_BYTES = 4_000_000  # of the largest activation; fewer, and starting each layer costs more


@dataclass(frozen=True, slots=True)
class ScoringConfig:
    """How E_z is taken: from ``samples`` common draws, or in closed form to second order."""

    method: Literal["sampled", "closed"] = "sampled"
    samples: int = 2
    seed: int = 0
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        """Refuse what cannot be computed, naming the key."""
        if self.method not in {"sampled", "closed"}:
            msg = f'method must be "sampled" or "closed", not {self.method!r}'
            raise ValueError(msg)
        if self.samples < 1:
            msg = f"samples must be at least 1, not {self.samples!r}"
            raise ValueError(msg)
        if self.precision not in {"float32", "float64"}:
            msg = f'precision must be "float32" or "float64", not {self.precision!r}'
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Parts:
    """Why records score as they do: nats = sum of all distortion, rate and mode nats + constant.

    ``distortion_nats`` [B, m] is transform + coding loss of each encoded value over beta;
    ``rate_nats`` [B, n] the KL of each latent; ``expected`` [B, m] is x_breve. ``mode_nats`` [B]
    says how rare the mode of a record is, and ``mode`` int64 [B] which it is: 0 and None for a
    prior without modes.
    """

    nats: NDArray[np.float64]
    distortion_nats: NDArray[np.float64]
    rate_nats: NDArray[np.float64]
    mode_nats: NDArray[np.float64]
    mode: NDArray[np.int64] | None
    constant: float
    expected: NDArray[np.float64]
    method: str


class Scorer:
    """Scores records with one member of a model, in bounded memory whatever the batch.

    The draws depend on the model's size and the seed alone, so that a record has the same score
    in any batch, to float rounding. A record with a NaN has a score of NaN; the others keep theirs.
    """

    def __init__(self, model: VAE, config: ScoringConfig, device: torch.device) -> None:
        if model.members != 1:
            msg = f"a scorer serves one member, not {model.members}: choose with .member(i)"
            raise ValueError(msg)
        dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.config, self.device = config, device
        self._model = model.to(device, dtype)
        self._prior = self._model.prior.alone()
        self._encoder, self._decoder = Encoder(self._model.encoder), Network(self._model.decoder)
        self._rate = PosteriorRate(self._prior, self._model.weights, model.latent_dim)
        self._dtype = dtype
        self._beta = model.betas[0]
        self._constant = float(objective.log_normaliser(model.to(torch.device("cpu"))).item())
        draws = sign_draws(config.samples, model.latent_dim, config.seed)
        with_mean = torch.cat([torch.zeros_like(draws[:1]), draws])[:, None, :]
        self._draws = with_mean.to(device=device, dtype=dtype)  # [1 + K, 1, n]
        judge = self._model.distortion
        self._categories = (
            Categories(judge, self._decoder) if isinstance(judge, MixedColumns) else None
        )
        self._root = Linear(self._metric_root())
        self._chunk = self._chunk_rows()
        self._workers = Workers() if device.type == "cpu" else None

    def launch(self, x: Floats) -> Pending:
        """Start to score records [B, m] and return at once; the array must not change meanwhile."""
        x = self._checked(x)
        if self._workers is None:
            return OnDevice(self._nats, x, self.device)
        return self._workers.launch(self._on_host, x, self._chunk)

    def score(self, x: Floats) -> NDArray[np.float64]:
        """Return the nats of records [B, m]: [B]."""
        return self.launch(x).result()

    def explain(self, x: Floats) -> Parts:
        """Return what the score of each record [B, m] is made of."""
        records = torch.from_numpy(_padded(self._checked(x)))
        with torch.inference_mode(), one_thread():
            pieces = [self._parts(piece) for piece in self._pieces(records)]
            whole = [torch.cat(part)[: len(x)].cpu() for part in zip(*pieces, strict=True)]
        distortion, expected, rate, mode_nats, mode = (part.numpy() for part in whole)
        return Parts(
            nats=distortion.sum(1) + rate.sum(1) + mode_nats + self._constant,
            distortion_nats=distortion,
            rate_nats=rate,
            mode_nats=mode_nats,
            mode=mode if self._prior.modes else None,
            constant=self._constant,
            expected=expected,
            method=self.config.method,
        )

    def close(self) -> None:
        """Wait for what is under way and end the worker."""
        if self._workers is not None:
            self._workers.close()

    def _checked(self, x: Floats) -> Floats:
        if x.ndim != 2 or x.shape[1] != self._model.width:
            msg = f"the model scores records of {self._model.width} values, not an array {x.shape}"
            raise ValueError(msg)
        wanted = np.float64 if self._dtype == torch.float64 else np.float32
        return np.ascontiguousarray(x, dtype=wanted)

    def _on_host(self, x: Floats, nats: NDArray[np.float64]) -> None:
        with torch.inference_mode():
            padded, out = torch.from_numpy(_padded(x)), torch.from_numpy(nats)
            if len(padded) == len(out):
                self._score(padded, out)
            else:
                self._score(padded, whole := out.new_empty(len(padded)))
                out.copy_(whole[: len(out)])

    def _pieces(self, x: Tensor) -> Iterator[Tensor]:
        return (piece.to(self.device) for piece in torch.split(x, self._chunk))

    def _nats(self, x: Tensor) -> Tensor:
        out = torch.empty(len(x), dtype=torch.float64, device=x.device)
        for piece, nats in zip(
            torch.split(x, self._chunk), torch.split(out, self._chunk), strict=True
        ):
            self._score(piece, nats)
        return out

    def _score(self, x: Tensor, nats: Tensor) -> None:
        """Write the nats [B] (float64) of records [B, m]."""
        posterior = self._encoder(x)
        rate = self._rate(posterior)
        if self._model.distortion.constant_metric:
            distortion = self._squared_error(x, posterior)
        elif self._categories is not None:
            distortion = self._mixed(x, posterior, self._categories)
        else:
            distortion = self._distortions(x, posterior)[0].sum(1)
        nats.copy_(torch.add(rate, distortion, alpha=1 / self._beta)).add_(self._constant)

    def _squared_error(self, x: Tensor, posterior: Posterior) -> Tensor:
        """Return the sum of transform and coding loss [B], the latter by the root of the metric."""
        hidden, steps, weight = self._steps(posterior)
        coding = _square_sum(self._root(steps)).sum(0)
        return _square_sum(self._decoder.last(hidden).sub_(x)).add_(coding, alpha=weight)

    def _mixed(self, x: Tensor, posterior: Posterior, categories: Categories) -> Tensor:
        """Return the same [B] where only numbers are judged by squared error."""
        hidden, steps, weight = self._steps(posterior)
        raw = self._decoder.last(hidden)
        closed = self.config.method == "closed"
        total = categories.distortion(x, raw, steps, weight=weight, closed=closed)
        numbers = raw.sub_(x).index_fill_(1, categories.columns, 0.0)
        coding = _square_sum(self._root(steps)).sum(0)
        return total.add_(_square_sum(numbers)).add_(coding, alpha=weight)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the distortion [B, m] in nats, x_breve [B, m], and the rate: latents, mode."""
        posterior = self._encoder(x)
        distortion, expected = self._distortions(x, posterior)
        rate = self._prior.split(posterior.mean, posterior.sigma, posterior.log_variance)
        mode_nats = x.new_zeros(len(x)) if rate.mode_nats is None else rate.mode_nats
        mode = torch.zeros_like(mode_nats) if rate.mode is None else rate.mode
        nats = (distortion / self._beta).double()
        return nats, expected.double(), rate.latents.double(), mode_nats.double(), mode.long()

    def _distortions(self, x: Tensor, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Return transform and coding loss of each value, and x_breve: [B, m] both."""
        hidden, steps, weight = self._steps(posterior)
        raw = self._decoder.last(hidden)
        steps = torch.matmul(steps, self._decoder.layers[-1][0])
        closed = self.config.method == "closed"
        judged = self._model.distortion
        expected, coding = decoded(judged, raw, steps, weight=weight, closed=closed)
        return judged.values(x, expected) + coding, expected

    def _steps(self, posterior: Posterior) -> tuple[Tensor, Tensor, float]:
        """Return what enters the decoder's last layer at the mean [B, h], steps [S, B, h], weight.

        The coding loss is ``weight`` times the sum over the steps of |step W|^2: a step is the way
        from the mean to a draw, or, in closed form, sigma_j times the derivative along latent j.
        """
        mean, sigma = posterior.mean, posterior.sigma
        if self.config.method == "closed":
            return *self._decoder.tangents(mean, sigma), 1.0
        return *self._decoder.steps(mean, sigma, self._draws), 1.0 / self.config.samples

    def _metric_root(self) -> Tensor:
        """Return the root [h, r] of the last layer's metric: |d W|^2 = |d root|^2.

        The last layer is linear, and D has the identity for a metric: where the layer widens, the
        triangular factor of W' = QR has fewer columns than W and does the same. Columns that are
        not judged by squared error are left out.
        """
        weight = self._decoder.layers[-1][0]
        if self._categories is not None:
            weight = weight.index_fill(1, self._categories.columns, 0.0)
        if weight.shape[1] <= weight.shape[0]:
            return weight
        _, triangle = torch.linalg.qr(weight.t().double(), mode="r")
        root: Tensor = triangle.t().to(weight.dtype).contiguous()
        return root

    def _chunk_rows(self) -> int:
        """Return how many records are scored at once: on the CPU as many as the cache holds."""
        if self.device.type != "cpu":
            return 65536 if self.config.method == "sampled" else 8192
        copies = self._model.latent_dim if self.config.method == "closed" else self.config.samples
        hidden = max(self._model.shape.hidden, default=self._model.latent_dim)
        widest = max(self._model.width, hidden * (copies + 1))
        return 1 << max(64, _CACHED_BYTES // (4 * widest)).bit_length() - 1


def _padded(x: Floats) -> Floats:
    """Return ``x`` [B, m] with rows of zeros up to one of a few dozen sizes, in float32.

    oneDNN makes ready for each new number of rows, which takes as long as scoring thousands.
    """
    step = max(8, (1 << max(0, len(x) - 1).bit_length()) >> 3)  # an eighth to a quarter of the rows
    beyond = -len(x) % step
    if not beyond or x.dtype != np.float32:
        return x
    return np.concatenate([x, np.zeros((beyond, x.shape[1]), x.dtype)])


def _square_sum(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dim=-1)  # one pass, where a sum takes two
    return norm.square_()
