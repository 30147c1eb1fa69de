"""The four data sets of Table 3, from a folder of arrays or from the public archives."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.archives import (
    ARRHYTHMIA,
    KDDCUP99,
    THYROID,
    Archive,
    obtain,
)

Truth = NDArray[np.bool_]
Rows = NDArray[np.int64]

DATASETS = ("kddcup99", "kddcup99-rev", "thyroid", "arrhythmia")
DEFAULT_CACHE = Path("~/.cache/vaeiso-monitor")
_VARIABLE = "VAEISO_DATA"
_TEXTS = (1, 2, 3)  # of KDD's 41 columns: protocol_type, service, flag
_SYMBOLIC = (*_TEXTS, 6, 11, 20, 21)  # and land, logged_in, is_host_login, is_guest_login
_REV_SHARE = 0.2  # of KDDCUP-Rev are attacks


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled records; each distinct one is stored once, as most of KDD's are repetitions.

    ``numbers`` [U, k] and ``categories`` [U, c] (codes from 0) hold the distinct records, ``rows``
    [N] says which of them each record is, and ``anomaly`` [N] is the truth. ``ratio`` is the share
    of the test records that protocol Z flags; ``drawn_share``, where given, the share of anomalies
    that each seed draws anew beside all the normal records.
    """

    name: str
    numbers: NDArray[np.float64]
    categories: NDArray[np.int64]
    rows: Rows
    anomaly: Truth
    ratio: float
    drawn_share: float | None = None


def load(name: str, cache: Path = DEFAULT_CACHE) -> Dataset:
    """Return a data set of Table 3 by its name.

    It is read from the folder in the environment variable VAEISO_DATA, else from the archives in
    ``cache``, where they are fetched to. Raises ConfigError for another name, or where neither is
    to be had.
    """
    readers: dict[str, Callable[[Path], Dataset]] = {
        "kddcup99": _kddcup99,
        "kddcup99-rev": _kddcup99_rev,
        "thyroid": lambda cache: _small("thyroid", 0.025, THYROID, cache),
        "arrhythmia": lambda cache: _small("arrhythmia", 0.15, ARRHYTHMIA, cache),
    }
    if name not in readers:
        msg = f'there is no data set "{name}"; there are {", ".join(DATASETS)}'
        raise ConfigError(msg)
    return readers[name](cache.expanduser())


def made_of(
    name: str, x: NDArray[np.float64], symbolic: tuple[int, ...], anomaly: Truth, ratio: float
) -> Dataset:
    """Return a data set of records ``x`` [N, m], whose columns ``symbolic`` hold category codes."""
    distinct, rows = np.unique(x, axis=0, return_inverse=True)
    numbers = np.delete(distinct, symbolic, axis=1)
    codes = distinct[:, symbolic].astype(np.int64)
    return Dataset(name, numbers, codes, rows.reshape(-1).astype(np.int64), anomaly, ratio)


def _small(name: str, ratio: float, archive: Archive, cache: Path) -> Dataset:
    arrays = _arrays(f"{name}.npz")
    if arrays is None:
        arrays = loadmat(obtain(archive, cache))
    # the archives hold doubles, the arrays singles: the same records whichever they come from
    x = np.asarray(arrays["X"], dtype=np.float32).astype(np.float64)
    return made_of(name, x, (), np.asarray(arrays["y"]).reshape(-1) == 1, ratio)


def _kddcup99(cache: Path) -> Dataset:
    """Return the 10 % file; ``normal.``, a fifth of it, is the anomaly (as in DAGMM)."""
    arrays = _arrays("kddcup99_10pct_raw.npz")
    x, normal = _kdd_text(obtain(KDDCUP99, cache)) if arrays is None else _kdd_arrays(arrays)
    return made_of("kddcup99", x, _SYMBOLIC, normal, 0.2)


def _kddcup99_rev(cache: Path) -> Dataset:
    """Return the same with attacks as the anomalies, of which each seed draws 24,319."""
    direct = _kddcup99(cache)
    return replace(direct, name="kddcup99-rev", anomaly=~direct.anomaly, drawn_share=_REV_SHARE)


def _arrays(file: str) -> dict[str, NDArray[np.generic]] | None:
    folder = os.environ.get(_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / file
    if not path.is_file():
        msg = f"{_VARIABLE} names the folder {folder}, which does not hold {file}"
        raise ConfigError(msg)
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def _kdd_arrays(arrays: dict[str, NDArray[np.generic]]) -> tuple[NDArray[np.float64], Truth]:
    x = np.asarray(arrays["X"], dtype=np.float64).round(2)  # rates are written with two places
    names = arrays["feature_names"].tolist()
    for exact in ("src_bytes", "dst_bytes"):
        x[:, names.index(exact)] = arrays[f"{exact}_exact"]
    return x, np.asarray(arrays["y"] == 1)


def _kdd_text(path: Path) -> tuple[NDArray[np.float64], Truth]:
    with gzip.open(path, "rt", encoding="ascii") as lines:
        columns = list(zip(*(line.rstrip("\n").split(",") for line in lines), strict=True))
    x = np.empty((len(columns[0]), len(columns) - 1))
    for j, column in enumerate(columns[:-1]):
        values = np.array(column)
        x[:, j] = np.unique(values, return_inverse=True)[1] if j in _TEXTS else values.astype(float)
    return x, np.array(columns[-1]) == "normal."
