"""The VAE of the paper: decomposed loss, squared error, N(0, I); its score is Lx (Eq. 3)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vaeiso_monitor.experiments.anomaly.encoding import Encoding
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Trial
from vaeiso_monitor.model import ModelConfig, Progress, Scorer, ScoringConfig, TrainingConfig, fit

SAMPLED, CLOSED = "vae-sampled", "vae-closed"
_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """What the paper's appendix would say of one data set; chosen here."""

    encoding: Encoding
    beta: float
    latents: int
    hidden: tuple[int, ...]
    max_steps: int
    batch_size: int
    learning_rate: float = 3e-3
    annealing: float = 0.4


def vae(trial: Trial, config: VaeConfig) -> dict[str, Outcome]:
    """Train one VAE and score the test records of a trial twice: E_z sampled and in closed form."""
    encoded = trial.encoded(config.encoding)
    begun = time.monotonic()
    trained = fit(
        encoded[trial.train],
        ModelConfig(
            beta=config.beta,
            latent_dim=config.latents,
            hidden=config.hidden,
            prior="normal",
            linear_path=False,
        ),
        _training(config, trial.seed),
        device=trial.device,
        progress=lambda progress: _tell(trial, progress),
    )
    seconds = time.monotonic() - begun
    tested, back = np.unique(trial.test, return_inverse=True)
    outcomes = {}
    scorings = {
        SAMPLED: ScoringConfig("sampled", samples=_SAMPLES),
        CLOSED: ScoringConfig("closed"),
    }
    for name, scoring in scorings.items():
        begun = time.monotonic()
        scorer = Scorer(trained.model, scoring, trial.device)
        scores = scorer.score(encoded[tested])[back]
        scorer.close()
        outcomes[name] = Outcome(scores, seconds, time.monotonic() - begun)
    return outcomes


def _training(config: VaeConfig, seed: int) -> TrainingConfig:
    return TrainingConfig(
        batch_size=config.batch_size,
        max_steps=config.max_steps,
        first_round=config.max_steps,
        weight_decay=0.0,
        worst_share=0.0,
        folds_below=0,
        patience=1.0,
        learning_rate=config.learning_rate,
        annealing=config.annealing,
        seed=seed,
    )


def _tell(trial: Trial, progress: Progress) -> None:
    trial.tell(progress.step, progress.max_steps)
