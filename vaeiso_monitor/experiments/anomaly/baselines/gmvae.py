"""GMVAE: a VAE, an estimation net and a mixture trained together (Liao et al., VCIP 2018).

The latents have a standard normal prior as in a plain VAE; the density that scores a record is that
of a mixture over the latents and what was lost in reconstruction, as in DAGMM.
"""

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
class GmvaeConfig:
    """Its nets, how they are trained, and the weights of rate, energy and penalty."""

    frame: FrameConfig
    schedule: Schedule
    encoding: Encoding
    beta: float = 0.1
    energy_weight: float = 0.1
    penalty_weight: float = 0.005


def gmvae(trials: Sequence[Trial], config: GmvaeConfig) -> list[Outcome]:
    """Train GMVAE and score the test records of each trial."""

    def make(width: int, dice: Dice) -> Recipe:
        return recipe(config, width, dice)

    return run(trials, config.encoding, config.schedule, make)


def recipe(config: GmvaeConfig, width: int, dice: Dice) -> Recipe:
    """Return the nets and the loss: distortion, beta times rate, energy, and the penalty."""
    frame = Frame(width, config.frame, dice, outputs=2)

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = frame.encode(x).chunk(2, dim=-1)
        return mean, log_variance.clamp(-12.0, 6.0)

    def loss(x: Tensor) -> Tensor:
        mean, log_variance = posterior(x)
        z = mean + (0.5 * log_variance).exp() * dice.normal(*mean.shape[1:])
        decoded = frame.decode(z)
        rate = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=-1)
        features = frame.features(x, z, decoded)
        mixture = frame.mixture(features)
        bound = squared_error(x, decoded) + config.beta * rate
        joint = bound + config.energy_weight * mixture.energy(features)
        return joint.mean(dim=1) + config.penalty_weight * mixture.penalty()

    def features_of(x: Tensor) -> Tensor:
        mean, _ = posterior(x)
        return frame.features(x, mean, frame.decode(mean))

    return Recipe(frame, loss, features_of)
