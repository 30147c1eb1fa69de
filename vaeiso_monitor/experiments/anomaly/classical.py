"""Detectors that need no training to speak of, from scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.encoding import Encoded, Encoding
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Scores, Trial

try:
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors
except ImportError:  # they are for this experiment alone
    EmpiricalCovariance = IsolationForest = NearestNeighbors = None


@dataclass(frozen=True, slots=True)
class ClassicalConfig:
    """Which detector on which encoding; ``trees`` and ``neighbours`` are theirs."""

    detector: Literal["isolation-forest", "k-nn", "mahalanobis"]
    encoding: Encoding
    trees: int = 200
    neighbours: int = 1


def classical(trial: Trial, config: ClassicalConfig) -> Outcome:
    """Fit a classical detector and score the test records of a trial."""
    if IsolationForest is None:
        msg = f"{config.detector} needs scikit-learn: install vaeiso-monitor[reproduce]"
        raise ConfigError(msg)
    encoded = trial.encoded(config.encoding)
    tested, back = np.unique(trial.test, return_inverse=True)
    begun = time.monotonic()
    score = _DETECTORS[config.detector](trial, encoded, config)
    trained = time.monotonic()
    scores = score(encoded[tested])[back]
    return Outcome(scores, trained - begun, time.monotonic() - trained)


def _forest(trial: Trial, encoded: Encoded, config: ClassicalConfig) -> Callable[[Encoded], Scores]:
    forest: Any = IsolationForest(n_estimators=config.trees, random_state=trial.seed)
    forest.fit(encoded[trial.train])
    return lambda x: -np.asarray(forest.score_samples(x), dtype=np.float64)


def _neighbours(
    trial: Trial, encoded: Encoded, config: ClassicalConfig
) -> Callable[[Encoded], Scores]:
    """Return the distance to the k-th of the distinct training records."""
    index: Any = NearestNeighbors(n_neighbors=config.neighbours, algorithm="auto")
    index.fit(encoded[np.unique(trial.train)])
    return lambda x: np.asarray(index.kneighbors(x)[0][:, -1], dtype=np.float64)


def _mahalanobis(
    trial: Trial, encoded: Encoded, config: ClassicalConfig
) -> Callable[[Encoded], Scores]:
    covariance: Any = EmpiricalCovariance(store_precision=True)
    covariance.fit(encoded[trial.train].astype(np.float64))
    return lambda x: np.asarray(covariance.mahalanobis(x.astype(np.float64)))


_DETECTORS = {"isolation-forest": _forest, "k-nn": _neighbours, "mahalanobis": _mahalanobis}
