"""How the records of an experiment become numbers, fitted on the training half alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaeiso_monitor.experiments.anomaly.data import Dataset, Rows
from vaeiso_monitor.records.quantile import Quantile
from vaeiso_monitor.records.transforms import YeoJohnson, ZScore

Matrix = NDArray[np.float64]
Encoded = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """``numbers``: the transform; ``log_first``: of sign(x) log(1 + \\|x\\|) instead of x.

    Values beyond ``clip`` are moved there. A column that is constant in training is 0 in it, and
    elsewhere how far it is from that, in its own unit.
    """

    numbers: Literal["min-max", "z-score", "yeo-johnson", "quantile"] = "z-score"
    clip: float | None = None
    log_first: bool = False


def encode(dataset: Dataset, train: Rows, encoding: Encoding) -> Encoded:
    """Return all distinct records [U, m]: numbers transformed, categories one-hot."""
    raw = dataset.numbers
    if encoding.log_first:
        raw = np.copysign(np.log1p(np.abs(raw)), raw)
    seen = raw[train]
    varied = np.ptp(seen, axis=0) > 0
    numbers = raw - seen[0]
    numbers[:, varied] = _transformed(seen[:, varied], raw[:, varied], encoding.numbers)
    if encoding.clip is not None:
        numbers = np.clip(numbers, -encoding.clip, encoding.clip)
    parts = [numbers.astype(np.float32), *(_one_hot(column) for column in dataset.categories.T)]
    return np.concatenate(parts, axis=1)


def _transformed(seen: Matrix, x: Matrix, name: str) -> Matrix:
    if name == "min-max":
        low = seen.min(axis=0)
        return np.asarray((x - low) / np.ptp(seen, axis=0))
    match name:
        case "yeo-johnson":
            return YeoJohnson.fit(seen).forward(x)
        case "quantile":
            return Quantile.fit(seen).forward(x)
        case _:
            return ZScore.fit(seen).forward(x)


def _one_hot(codes: NDArray[np.int64]) -> Encoded:
    return np.asarray(codes[:, None] == np.unique(codes), dtype=np.float32)
