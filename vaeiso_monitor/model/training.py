"""How a model is trained, and which records are held out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_BLOCKS = 10  # runs of neighbours that are held out of a stream
_STEPS_PER_RECORD, _FEWEST_STEPS, _MOST_STEPS = 10, 6000, 30_000


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long and how carefully to train.

    Training goes on in rounds, the first of ``first_round`` steps and each twice as long as the
    last, while a round still lowers held-out nats; ``max_steps`` bounds all of them together:
    "auto" is ten for each record, 6,000 at least and 30,000 at most (see :meth:`steps`).
    ``patience`` is a share of a round. In a ``race`` members that cannot win any more are given up,
    and a second round is for the two best. ``weight_decay`` "auto" is 1000 over the number of
    records, at most 3: of few records the nets stay near the linear model that they start from.

    Of fewer than ``folds_below`` records none can be spared: every record is held out once, in one
    of :data:`FOLDS` folds. The folds together choose beta and the number of steps, and a model of
    all records is trained for so long (see :mod:`vaeiso_monitor.model.race`).

    Over the first share ``annealing`` of the first round beta falls from ``first_beta`` to its own
    value (a member with a larger one has it from the start). The latents then wake one after
    another, the largest variance first, and each settles on its own axis; all at once, they share
    axes in mixtures that no later step untangles. ``first_beta`` is best about the largest variance
    of a principal component. Annealing is off by default: of few records (hundreds) early stopping
    at a small beta finds lower held-out nats on its way than annealing arrives at.
    """

    batch_size: int = 256
    max_steps: int | Literal["auto"] = "auto"
    first_round: int = 2000
    patience: float = 0.4  # share of a round without a better held-out value
    learning_rate: float = 3e-3
    weight_decay: float | Literal["auto"] = "auto"
    race: bool = True
    held_out_share: float = 0.1
    held_out: Literal["random", "blocks"] = "blocks"
    folds_below: int = 500
    worst_share: float = 0.01  # of the held-out records does not count in the judgement
    time_budget_seconds: float | None = None
    first_beta: float = 1.0
    annealing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, naming the key."""
        _require("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        known = self.max_steps == "auto" or self.max_steps >= 1
        _require("max_steps", self.max_steps, known, '"auto" or at least 1')
        _require("first_round", self.first_round, self.first_round >= 1, "at least 1")
        _require("learning_rate", self.learning_rate, 0 < self.learning_rate < 1, "within (0, 1)")
        decay = self.weight_decay
        decays = decay == "auto" or 0 <= decay * self.learning_rate < 1
        _require("weight_decay", decay, decays, '"auto" or from 0 on and below 1 / learning_rate')
        _require("patience", self.patience, self.patience > 0, "positive")
        share = self.held_out_share
        _require("held_out_share", share, 0 < share < 1, "within (0, 1)")
        known = self.held_out in {"random", "blocks"}
        _require("held_out", self.held_out, known, '"random" or "blocks"')
        worst = self.worst_share
        _require("worst_share", worst, 0 <= worst <= 0.5, "within [0, 0.5]")
        _require("folds_below", self.folds_below, self.folds_below >= 0, "at least 0")
        _require("first_beta", self.first_beta, 0 < self.first_beta < math.inf, "positive")
        _require("annealing", self.annealing, 0 <= self.annealing < 1, "within [0, 1)")
        budget = self.time_budget_seconds
        _require("time_budget_seconds", budget, budget is None or budget > 0, "positive")

    def steps(self, records: int) -> int:
        """Return the most steps of all rounds together, with ``records`` to fit.

        With few records more steps find what is chance: the held-out nats of few do not tell.
        """
        if self.max_steps != "auto":
            return self.max_steps
        return min(max(_STEPS_PER_RECORD * records, _FEWEST_STEPS), _MOST_STEPS)


Rows = NDArray[np.int64]


def partings(count: int, training: TrainingConfig) -> list[tuple[Rows, Rows]]:
    """Return the rows to fit and the rows to hold out: once, or of few records for each fold."""
    if count >= training.folds_below:
        return [split(count, training)]
    folds = min(FOLDS, count)
    if training.held_out == "random":
        fold = np.random.default_rng(training.seed).permutation(count) % folds
    else:
        runs = folds * max(1, min(_BLOCKS, count) // folds)
        fold = np.arange(count) * runs // count % folds
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(folds)]


def split(count: int, training: TrainingConfig) -> tuple[Rows, Rows]:
    """Return the rows to fit and the rows to hold out, both sorted, chosen by the seed.

    Of few records a larger share is held out (a third, up to 20), or stopping would be chance.
    Neighbours in a stream are alike: a record held out alone is known by those around it, and its
    score promises too much. ``held_out = "blocks"`` therefore takes runs of records in a row.
    """
    held_out = max(round(count * training.held_out_share), min(count // 3, 20), 1)
    rng = np.random.default_rng(training.seed)
    if training.held_out == "random":
        order = rng.permutation(count)
        return np.sort(order[held_out:]), np.sort(order[:held_out])
    runs = min(_BLOCKS, held_out)
    held = np.zeros(count, dtype=np.bool_)
    for i in range(runs):
        begin, end = i * count // runs, (i + 1) * count // runs
        length = (i + 1) * held_out // runs - i * held_out // runs
        start = begin + int(rng.integers(end - begin - length + 1))
        held[start : start + length] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _require(key: str, value: object, holds: bool, words: str) -> None:
    if not holds:
        msg = f"{key} must be {words}, not {value!r}"
        raise ValueError(msg)
