"""How a model is trained, and which records are held out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 10  # runs of neighbours that are held out of a stream


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long and how carefully to train.

    Over the first share ``annealing`` of the steps beta falls from ``first_beta`` to its own value
    (a member with a larger one has it from the start). The latents then wake one after another,
    the largest variance first, and each settles on its own axis; all at once, they share axes in
    mixtures that no later step untangles. ``first_beta`` is best about the largest variance of a
    principal component. Annealing is off by default: of few records (hundreds) early stopping at a
    small beta finds lower held-out nats on its way than annealing arrives at.
    """

    batch_size: int = 256
    max_steps: int = 8000
    patience: float = 0.25  # share of max_steps without a better held-out value
    learning_rate: float = 3e-3
    held_out_share: float = 0.1
    held_out: Literal["random", "blocks"] = "blocks"
    time_budget_seconds: float | None = None
    first_beta: float = 1.0
    annealing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, naming the key."""
        _require("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        _require("max_steps", self.max_steps, self.max_steps >= 1, "at least 1")
        _require("patience", self.patience, self.patience > 0, "positive")
        _require("learning_rate", self.learning_rate, 0 < self.learning_rate < 1, "within (0, 1)")
        share = self.held_out_share
        _require("held_out_share", share, 0 < share < 1, "within (0, 1)")
        known = self.held_out in {"random", "blocks"}
        _require("held_out", self.held_out, known, '"random" or "blocks"')
        _require("first_beta", self.first_beta, 0 < self.first_beta < math.inf, "positive")
        _require("annealing", self.annealing, 0 <= self.annealing < 1, "within [0, 1)")
        budget = self.time_budget_seconds
        _require("time_budget_seconds", budget, budget is None or budget > 0, "positive")


def split(count: int, training: TrainingConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
