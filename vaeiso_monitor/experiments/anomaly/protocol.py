"""Protocol Z (Zong et al., 2018): the splits, and how scores are judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vaeiso_monitor.experiments.anomaly.data import Dataset, Rows, Truth


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which of the distinct records train (normal ones only) and test, repetitions included."""

    train: Rows
    test: Rows
    truth: Truth


@dataclass(frozen=True, slots=True)
class Judgement:
    """How scores did, the anomaly being the positive class."""

    f1: float
    precision: float
    recall: float
    auroc: float
    flagged: int
    anomalies: int


def split(dataset: Dataset, seed: int, max_train_records: int | None = None) -> Split:
    """Return a random half, without its anomalies, to train on and the other half to test on.

    All methods see the same split of a seed. ``max_train_records`` takes fewer to train on.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(_taken(dataset, rng))
    half = len(order) // 2
    train, test = order[:half], order[half:]
    normal = train[~dataset.anomaly[train]][:max_train_records]
    return Split(dataset.rows[normal], dataset.rows[test], dataset.anomaly[test])


def _taken(dataset: Dataset, rng: np.random.Generator) -> Rows:
    if dataset.drawn_share is None:
        return np.arange(len(dataset.rows))
    normal, anomalies = np.flatnonzero(~dataset.anomaly), np.flatnonzero(dataset.anomaly)
    count = int(len(normal) * dataset.drawn_share / (1 - dataset.drawn_share))
    return np.concatenate([normal, rng.choice(anomalies, count, replace=False)])


def judge(scores: NDArray[np.float64], truth: Truth, ratio: float) -> Judgement:
    """Judge scores [t] whose top ``ratio`` is flagged; what has no score is flagged first.

    Equal scores at the line are flagged in the order of the test records, which is random.
    """
    scores = np.where(np.isnan(scores), np.inf, scores)
    flagged, anomalies = round(ratio * len(scores)), int(truth.sum())
    found = int(truth[np.argsort(-scores, kind="stable")[:flagged]].sum())
    return Judgement(
        f1=2 * found / (flagged + anomalies),
        precision=found / flagged,
        recall=found / anomalies,
        auroc=auroc(scores, truth),
        flagged=flagged,
        anomalies=anomalies,
    )


def auroc(scores: NDArray[np.float64], truth: Truth) -> float:
    """Return the probability that an anomaly scores above a normal record, ties counting half."""
    positive = int(truth.sum())
    ranks = rankdata(scores)[truth].sum() - positive * (positive + 1) / 2
    return float(ranks / (positive * (len(truth) - positive)))
