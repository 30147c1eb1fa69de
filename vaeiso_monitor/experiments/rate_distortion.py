"""Rate and distortion over a sweep of beta on Gaussian data, against PCA (Eq. 25)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaeiso_monitor.experiments.records import store, stored, write_json
from vaeiso_monitor.model import ModelConfig, Progress, TrainingConfig, fit, resolve_device
from vaeiso_monitor.model.rate import RateDistortion, rate_distortion, water_filling

TOLERANCE = 0.03
_FRESH = 10_000  # records that a model is measured on
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """Gaussian data of these variances on random axes, the betas tried, and the nets.

    The plain objective E_z D(x, x_hat) + beta KL is the one whose minimum is the curve. Decomposed,
    it leaves the curve where beta/2 is no longer small against the variances: by 0.1 to 2 % in rate
    up to beta 0.1 here, by 5 to 14 % beyond.
    """

    variances: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
    betas: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    records: int = 50_000
    hidden: tuple[int, ...] = (64, 64)
    max_steps: int = 12_000
    learning_rate: float = 3e-3
    objective: Literal["decomposed", "plain"] = "plain"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One beta: what the model reached on fresh records, and what PCA could do at best there.

    ``off`` is the gap in rate between the model and the best curve at the model's distortion, as a
    share of the rate.
    """

    beta: float
    found: RateDistortion
    best: RateDistortion
    off: float

    @property
    def met(self) -> bool:
        """Whether the model lies on the curve within the tolerance."""
        return abs(self.off) <= TOLERANCE


def sweep(
    folder: Path,
    config: SweepConfig,
    seed: int,
    *,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> list[CurvePoint]:
    """Train one member for each beta side by side, measure them, and write rate-distortion.json."""
    path = folder / f"rate-distortion-{seed}.json"
    settings = {"version": _VERSION, "seed": seed, **asdict(config)}
    kept = stored(path, settings)
    if kept is None:
        found = _trained(config, seed, device, progress)
        kept = {"points": [point.to_dict() for point in found]}
        store(path, settings, kept)
    measured = [RateDistortion(**row) for row in kept["points"]]
    points = [_point(np.array(config.variances), row) for row in measured]
    write_json(folder / "rate-distortion.json", _document(points))
    return points


def gaussian(config: SweepConfig, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return records to train on and as many fresh ones: [N, m] each."""
    rng = np.random.default_rng(seed)
    width = len(config.variances)
    axes = np.linalg.qr(rng.normal(size=(width, width)))[0]
    draws = rng.normal(size=(2 * config.records, width)) * np.sqrt(config.variances)
    x = (draws @ axes.T).astype(np.float32)
    return x[: config.records], x[config.records :]


def least_rate(variances: NDArray[np.float64], distortion: float) -> float:
    """Return the rate of reverse water-filling at a total ``distortion``, in nats."""
    low, high = 0.0, 2 * float(variances.max())
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = water_filling(variances, middle).distortion < distortion
        low, high = (middle, high) if below else (low, middle)
    return water_filling(variances, low).rate_nats


def _trained(
    config: SweepConfig, seed: int, device: str, progress: Callable[[Progress], None] | None
) -> list[RateDistortion]:
    x, fresh = gaussian(config, seed)
    model = ModelConfig(
        betas=config.betas,
        latent_dim=len(config.variances),
        hidden=config.hidden,
        objective=config.objective,
        prior="normal",
        linear_path=False,
    )
    training = TrainingConfig(
        max_steps=config.max_steps,
        first_round=config.max_steps,
        weight_decay=0.0,
        worst_share=0.0,
        folds_below=0,
        race=False,
        learning_rate=config.learning_rate,
        patience=1.0,
        annealing=0.4,
        seed=seed,
    )
    fitted = fit(x, model, training, device=resolve_device(device), progress=progress)
    members = [fitted.members.member(i) for i in range(len(config.betas))]
    return [rate_distortion(member, fresh[:_FRESH]) for member in members]


def _point(variances: NDArray[np.float64], found: RateDistortion) -> CurvePoint:
    least = least_rate(variances, found.distortion)
    best = water_filling(variances, found.beta)
    return CurvePoint(found.beta, found, best, found.rate_nats / least - 1)


def _document(points: list[CurvePoint]) -> dict[str, Any]:
    return {
        "tolerance": TOLERANCE,
        "points": [asdict(point) for point in points],
        "met": all(point.met for point in points),
    }
