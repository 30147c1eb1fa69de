"""How extremes of a series cluster: one by one, as independent records, or in runs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def extremal_index(places: NDArray[np.int64]) -> float:
    """Return the extremal index, within (0, 1], of records that exceed a high level.

    ``places`` [n] are their places in the series, in rising order. The index is 1 where they come
    as chance would have them, and else the reciprocal of how many come together. It is the
    intervals estimator, which needs no length of a run to be chosen (Ferro and Segers, Inference
    for clusters of extreme values, J. R. Statist. Soc. B 65, 2003), plus two of its standard errors
    under independence, 1/sqrt(n) of it each: what chance can explain is no run. Fewer than two
    intervals tell nothing: 1.
    """
    gaps = np.diff(places).astype(np.float64)
    if len(gaps) < 2:
        return 1.0
    moments = gaps.sum() ** 2, np.square(gaps).sum()
    if gaps.max() > 2:
        moments = (gaps - 1).sum() ** 2, ((gaps - 1) * (gaps - 2)).sum()
    index = 2 * moments[0] / (len(gaps) * moments[1])
    return float(min(1.0, index * (1 + 2 / math.sqrt(len(gaps)))))
