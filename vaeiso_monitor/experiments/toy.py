"""The toy experiment of section 5.1: Tables 1 and 2 and Figure 3, for one loss and one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeiso_monitor.experiments.paper import LossName
from vaeiso_monitor.experiments.records import plain
from vaeiso_monitor.experiments.toy_data import ToyData, toy_data
from vaeiso_monitor.model import (
    VAE,
    ModelConfig,
    Progress,
    TrainingConfig,
    fit,
    isometry,
    resolve_device,
)
from vaeiso_monitor.model.distortion import Distortion, DownwardConvex, SquaredError
from vaeiso_monitor.model.embedding import Embedding, posterior
from vaeiso_monitor.model.isometry import finite_difference_norms
from vaeiso_monitor.model.likelihood import likelihood

ESTIMATES = ("prior", "objective", "corrected_prior", "corrected_objective")
_MEASURED = 10_000  # records that norms are taken over
_POINTS = 3000  # records in the scatter plots


@dataclass(frozen=True, slots=True)
class ToyConfig:
    """Size of the data, the nets and their training; the paper's text gives only beta."""

    records: int = 50_000
    beta: float = 0.01
    hidden: tuple[int, ...] = (64, 64)
    batch_size: int = 256
    max_steps: int = 12_000
    learning_rate: float = 3e-3
    annealing: float = 0.4


@dataclass(frozen=True, slots=True)
class ToyLatent:
    """One column of the table: z1 to z3 in the order of their importance, least first.

    ``norm`` is (2/beta) sigma^2 D' by the finite difference of Eq. 23; ``importance`` is
    (beta/2) E[sigma^-2]; ``source`` is |correlation| of y_j with the source s_j.
    """

    norm_mean: float
    norm_sd: float
    slope_mean: float
    slope_sd: float
    precision: float
    ratio: float
    importance: float
    orthogonality_error: float
    source: float


@dataclass(frozen=True, slots=True)
class ToyRun:
    """What one loss and one seed gave; JSON-able through ``dataclasses.asdict``.

    ``correlations`` (R) with the true p(x): "prior" is p(mu), "objective" exp(-Lx/beta), and
    "corrected" are a_x^(3/2) p(mu) prod sigma and a_x^(3/2) exp(-Lx/beta).
    """

    loss: LossName
    seed: int
    config: dict[str, Any]
    latents: list[ToyLatent]
    correlations: dict[str, float]
    transform_coding_ratio: float
    seconds: float

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> ToyRun:
        """Return the run that ``asdict`` wrote."""
        return cls(**{**table, "latents": [ToyLatent(**row) for row in table["latents"]]})


Points = NDArray[np.float64]  # [5, P]: p(x), then each of ESTIMATES up to a factor


def run_toy(
    loss: LossName,
    seed: int,
    config: ToyConfig,
    *,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> tuple[ToyRun, Points]:
    """Draw the data, train on it, and measure; the seed decides both."""
    data = toy_data(config.records, seed)
    distortion: Distortion = SquaredError() if loss == "squared-error" else DownwardConvex()
    fitted = fit(
        data.x,
        ModelConfig(
            beta=config.beta,
            latent_dim=3,
            hidden=config.hidden,
            prior="normal",
            linear_path=False,
        ),
        _training(config, seed),
        device=resolve_device(device),
        distortion=distortion,
        progress=progress,
    )
    estimates = _estimates(fitted.model, data)
    run = ToyRun(
        loss,
        seed,
        plain(asdict(config)),
        _latents(fitted.model, data),
        {name: _correlation(data.density, estimates[name]) for name in ESTIMATES},
        isometry(fitted.model, data.x, max_records=_MEASURED).transform_coding_ratio,
        fitted.report.seconds,
    )
    columns = [data.density, *(estimates[name] for name in ESTIMATES)]
    return run, np.stack([column[:_POINTS] for column in columns])


def _training(config: ToyConfig, seed: int) -> TrainingConfig:
    return TrainingConfig(
        batch_size=config.batch_size,
        max_steps=config.max_steps,
        first_round=config.max_steps,
        weight_decay=0.0,
        worst_share=0.0,
        folds_below=0,
        learning_rate=config.learning_rate,
        patience=1.0,
        annealing=config.annealing,
        seed=seed,
    )


def _estimates(model: VAE, data: ToyData) -> dict[str, NDArray[np.float64]]:
    found = likelihood(model, data.x)
    by_prior = found.input_space(found.prior + found.sigma)
    logarithms = (found.prior, found.objective, by_prior, found.input_space(found.objective))
    return {
        name: np.exp(value - value.max()) for name, value in zip(ESTIMATES, logarithms, strict=True)
    }


def _latents(model: VAE, data: ToyData) -> list[ToyLatent]:
    x = data.x[:_MEASURED]
    norms = finite_difference_norms(model, x)
    mean, sigma = posterior(model, x)
    y = Embedding.fit(model, x).of(mean)
    table = isometry(model, x, max_records=_MEASURED).latents
    order = np.argsort([latent.importance for latent in table])
    found = []
    for source, j in enumerate(order):
        slopes = norms[:, j] * model.betas[0] / 2 / sigma[:, j] ** 2
        found.append(
            ToyLatent(
                norm_mean=float(norms[:, j].mean()),
                norm_sd=float(norms[:, j].std()),
                slope_mean=float(slopes.mean()),
                slope_sd=float(slopes.std()),
                precision=float((sigma[:, j] ** -2).mean()),
                ratio=1.0,
                importance=table[j].importance,
                orthogonality_error=table[j].orthogonality_error,
                source=abs(_correlation(y[:, j], data.sources[: len(x), source])),
            )
        )
    return [replace(row, ratio=row.precision / found[0].precision) for row in found]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1])
