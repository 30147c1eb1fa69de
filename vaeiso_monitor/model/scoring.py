"""The score of records under one model: launched on the device, awaited when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.coding import decoded
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.network import Linear, Network
from vaeiso_monitor.model.vae import VAE, bounded
from vaeiso_monitor.model.workers import Workers, one_thread

Floats = NDArray[np.floating]

_CACHED_BYTES = 2_000_000  # of the largest activation; fewer, and starting each layer costs more


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


class Pending(Protocol):
    """A batch on its way: ``result`` waits for it."""

    def result(self) -> NDArray[np.float64]:
        """Return the nats of each record of the batch [B]."""


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
        self._dtype = dtype
        self._beta = model.betas[0]
        self._constant = float(objective.log_normaliser(model.to(torch.device("cpu"))).item())
        self._encoder, self._decoder = Network(self._model.encoder), Network(self._model.decoder)
        draws = sign_draws(config.samples, model.latent_dim, config.seed)
        with_mean = torch.cat([torch.zeros_like(draws[:1]), draws])[:, None, :]
        self._draws = with_mean.to(device=device, dtype=dtype)  # [1 + K, 1, n]
        self._root = Linear(self._metric_root())
        self._chunk = self._chunk_rows()
        self._workers = Workers() if device.type == "cpu" else None

    def launch(self, x: Floats) -> Pending:
        """Start to score records [B, m] and return at once; the array must not change meanwhile."""
        x = self._checked(x)
        if self._workers is None:
            return _OnDevice(self._nats, x, self.device)
        return self._workers.launch(self._on_host, x, self._chunk)

    def score(self, x: Floats) -> NDArray[np.float64]:
        """Return the nats of records [B, m]: [B]."""
        return self.launch(x).result()

    def explain(self, x: Floats) -> Parts:
        """Return what the score of each record [B, m] is made of."""
        records = torch.from_numpy(self._checked(x))
        with torch.inference_mode(), one_thread():
            pieces = [self._parts(piece) for piece in self._pieces(records)]
        distortion, expected, rate, mode_nats, mode = (
            torch.cat(part).cpu().numpy() for part in zip(*pieces, strict=True)
        )
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
            torch.from_numpy(nats).copy_(self._score(torch.from_numpy(x)))

    def _pieces(self, x: Tensor) -> Iterator[Tensor]:
        return (piece.to(self.device) for piece in torch.split(x, self._chunk))

    def _nats(self, x: Tensor) -> Tensor:
        out = torch.empty(len(x), dtype=torch.float64, device=x.device)
        for start in range(0, len(x), self._chunk):
            piece = x[start : start + self._chunk]
            out[start : start + len(piece)] = self._score(piece)
        return out

    def _score(self, x: Tensor) -> Tensor:
        mean, sigma, log_variance = self._posterior(x)
        rate = self._prior.total(mean, sigma, log_variance)
        if self._model.distortion.constant_metric:
            hidden, steps, weight = self._steps(mean, sigma)
            coding = _square_sum(self._root(steps)).sum(0) * weight
            distortion = _square_sum(self._decoder.last(hidden).sub_(x)) + coding
        else:
            distortion = self._distortions(x, mean, sigma)[0].double().sum(1)
        return distortion.double() / self._beta + rate.double() + self._constant

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the distortion [B, m] in nats, x_breve [B, m], and the rate: latents, mode."""
        mean, sigma, log_variance = self._posterior(x)
        distortion, expected = self._distortions(x, mean, sigma)
        rate = self._prior.split(mean, sigma, log_variance)
        mode_nats = x.new_zeros(len(x)) if rate.mode_nats is None else rate.mode_nats
        mode = torch.zeros_like(mode_nats) if rate.mode is None else rate.mode
        nats = (distortion / self._beta).double()
        return nats, expected.double(), rate.latents.double(), mode_nats.double(), mode.long()

    def _distortions(self, x: Tensor, mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return transform and coding loss of each value, and x_breve: [B, m] both."""
        hidden, steps, weight = self._steps(mean, sigma)
        raw = self._decoder.last(hidden)
        steps = torch.matmul(steps, self._decoder.layers[-1][0])
        closed = self.config.method == "closed"
        judged = self._model.distortion
        expected, coding = decoded(judged, raw, steps, weight=weight, closed=closed)
        return judged.values(x, expected) + coding, expected

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, raw = torch.chunk(self._encoder.run(x), 2, dim=1)
        log_variance = bounded(raw)
        return mean, (0.5 * log_variance).exp_(), log_variance

    def _steps(self, mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return what enters the decoder's last layer at the mean [B, h], steps [S, B, h], weight.

        The coding loss is ``weight`` times the sum over the steps of |step W|^2: a step is the way
        from the mean to a draw, or, in closed form, sigma_j times the derivative along latent j.
        """
        if self.config.method == "closed":
            return *self._decoder.tangents(mean, sigma), 1.0
        hidden = self._decoder.hidden(torch.addcmul(mean, sigma, self._draws))
        return hidden[0], hidden[1:].sub_(hidden[0]), 1.0 / self.config.samples

    def _metric_root(self) -> Tensor:
        """Return the root [h, r] of the last layer's metric: |d W|^2 = |d root|^2.

        The last layer is linear, and D has the identity for a metric: where the layer widens, the
        triangular factor of W' = QR has fewer columns than W and does the same.
        """
        weight = self._decoder.layers[-1][0]
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
        return max(64, _CACHED_BYTES // (4 * widest))


def _square_sum(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dim=-1)  # one pass, where a sum takes two
    return norm.square_()


class _OnDevice:
    """A batch on a GPU: its copies and kernels are queued, and an event says when it is done."""

    def __init__(self, nats: Callable[[Tensor], Tensor], x: Floats, device: torch.device) -> None:
        with torch.inference_mode(), torch.cuda.device(device):
            self._source = torch.from_numpy(x).pin_memory()
            on_device = nats(self._source.to(device, non_blocking=True))
            self._nats = torch.empty(len(x), dtype=torch.float64, pin_memory=True)
            self._nats.copy_(on_device, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def result(self) -> NDArray[np.float64]:
        """Wait for the event and return the nats [B]."""
        self._done.synchronize()
        return self._nats.numpy()
