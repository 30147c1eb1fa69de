"""What a method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.experiments.anomaly.data import Dataset, Rows
from vaeiso_monitor.experiments.anomaly.encoding import Encoded, Encoding, encode

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One seed of one data set: distinct records to train on (repeated as often) and to score."""

    dataset: Dataset
    train: Rows
    test: Rows
    seed: int
    device: torch.device
    tell: Callable[[int, int], None]  # steps done, of how many

    def encoded(self, encoding: Encoding) -> Encoded:
        """Return all distinct records, encoded by what the training records show."""
        return encode(self.dataset, self.train, encoding)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Scores of the test records of a trial (higher is stranger), and the seconds they took."""

    scores: Scores
    train_seconds: float
    score_seconds: float
