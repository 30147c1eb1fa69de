"""RaDOGAGA: an autoencoder trained as a transform coder (Kato et al., ICML 2020).

Noise of known size is added to the latents; the rate -log p(latents) and two distortions, of the
record against its copy and of the copy against the copy from noisy latents, are minimised. The
second makes the embedding isometric, so that the density of the latents is that of the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
class RadogagaConfig:
    """``h`` of the first distortion, the weights lambda1 and lambda2, and the noise.

    Uniform noise has the width 1 of a quantiser's step; normal noise has the same variance 1/12.
    """

    frame: FrameConfig
    schedule: Schedule
    encoding: Encoding
    h: Literal["d", "log d"]
    lambda1: float
    lambda2: float
    noise: Literal["uniform", "normal"] = "uniform"
    penalty_weight: float = 0.0


def radogaga(trials: Sequence[Trial], config: RadogagaConfig) -> list[Outcome]:
    """Train RaDOGAGA and score the test records of each trial."""

    def make(width: int, dice: Dice) -> Recipe:
        return recipe(config, width, dice)

    return run(trials, config.encoding, config.schedule, make)


def recipe(config: RadogagaConfig, width: int, dice: Dice) -> Recipe:
    """Return the nets and the loss: rate, lambda1 h(D(x, x_hat)), lambda2 D(x_hat, x_breve)."""
    frame = Frame(width, config.frame, dice)

    def compressed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latents = frame.encode(x)
        decoded = frame.decode(latents)
        return latents, decoded, frame.features(x, latents, decoded)

    def loss(x: Tensor) -> Tensor:
        latents, decoded, features = compressed(x)
        noisy = frame.decode(latents + _noise(dice, latents, config.noise))
        mixture = frame.mixture(features)
        lost = squared_error(x, decoded)
        if config.h == "log d":
            lost = (lost + _SMALLEST).log()
        distortion = config.lambda1 * lost + config.lambda2 * squared_error(decoded, noisy)
        rate = mixture.energy(features)
        return (rate + distortion).mean(dim=1) + config.penalty_weight * mixture.penalty()

    return Recipe(frame, loss, lambda x: compressed(x)[2])


_SMALLEST = 1e-6  # squared distance, below which its logarithm does not follow


def _noise(dice: Dice, latents: Tensor, kind: Literal["uniform", "normal"]) -> Tensor:
    shape = latents.shape[1:]
    return dice.uniform(*shape) - 0.5 if kind == "uniform" else dice.normal(*shape) / 12**0.5
