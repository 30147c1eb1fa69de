"""DAGMM: an autoencoder and a mixture trained together (Zong et al., ICLR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vaeiso_monitor.experiments.anomaly.baselines.descent import Recipe, Schedule, run
from vaeiso_monitor.experiments.anomaly.baselines.frame import (
    Dice,
    Frame,
    FrameConfig,
    squared_error,
)
from vaeiso_monitor.experiments.anomaly.encoding import Encoding
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Trial


@dataclass(frozen=True, slots=True)
class DagmmConfig:
    """Its nets, how they are trained, and the weights of Eq. 7 (the paper's are the defaults)."""

    frame: FrameConfig
    schedule: Schedule
    encoding: Encoding
    energy_weight: float = 0.1
    penalty_weight: float = 0.005


def dagmm(trials: Sequence[Trial], config: DagmmConfig) -> list[Outcome]:
    """Train DAGMM and score the test records of each trial."""

    def make(width: int, dice: Dice) -> Recipe:
        return recipe(config, width, dice)

    return run(trials, config.encoding, config.schedule, make)


def recipe(config: DagmmConfig, width: int, dice: Dice) -> Recipe:
    """Return the nets and the loss: reconstruction, energy, and the penalty on variances."""
    frame = Frame(width, config.frame, dice)

    def compressed(x: Tensor) -> tuple[Tensor, Tensor]:
        latents = frame.encode(x)
        decoded = frame.decode(latents)
        return decoded, frame.features(x, latents, decoded)

    def loss(x: Tensor) -> Tensor:
        decoded, features = compressed(x)
        mixture = frame.mixture(features)
        fit = squared_error(x, decoded).mean(dim=1) + config.energy_weight * mixture.energy(
            features
        ).mean(dim=1)
        return fit + config.penalty_weight * mixture.penalty()

    return Recipe(frame, loss, lambda x: compressed(x)[1])
