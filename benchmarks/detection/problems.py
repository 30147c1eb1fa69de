"""The data sets, and the protocols by which they are split."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.data import DATASETS, Dataset, Rows, Truth, load, made_of
from vaeiso_monitor.experiments.anomaly.encoding import Encoded, Encoding, encode
from vaeiso_monitor.experiments.anomaly.protocol import Split, split
from vaeiso_monitor.experiments.anomaly.trial import Trial

PROTOCOLS = ("G", "Z", "C")
TABULAR = (
    "breastw",
    "campaign",
    "Cardiotocography",
    "cover",
    "donors",
    "letter",
    "magic.gamma",
    "optdigits",
    "Pima",
    "satellite",
    "shuttle",
    "vowels",
    "Waveform",
    "Wilt",
)
CLASSES = {"breast-cancer": ("malignant",), "digits": tuple("0123456789")}
CLASSES |= {"iris": ("setosa", "versicolor", "virginica"), "wine": tuple("012")}
BUNDLED = tuple(f"{source}-{name}" for source, names in CLASSES.items() for name in names)
SETS = {"G": TABULAR, "Z": DATASETS, "C": BUNDLED}
_VARIABLE = "VAEISO_DATA"


@dataclass(frozen=True, slots=True, eq=False)
class Problem(Trial):
    """One seed of one set: what every method is given, and the truth that none of them sees.

    ``train`` and ``test`` are in random order, so that the first rows are a random draw.
    """

    protocol: str
    truth: Truth
    ratio: float  # of the test records are flagged
    encodings: dict[Encoding, Encoded] = field(default_factory=dict)

    def encoded(self, encoding: Encoding) -> Encoded:
        """Return all distinct records, encoded by what the training records show; made once."""
        if encoding not in self.encodings:
            self.encodings[encoding] = encode(self.dataset, self.train, encoding)
        return self.encodings[encoding]


def seeds_of(protocol: str, name: str, asked: int | None) -> range:
    """Return the seeds of a set: as many as were asked for, else 3, 5 (KDD) or 20 of Z."""
    usual = 3 if protocol != "Z" else 5 if name.startswith("kddcup99") else 20
    return range(usual if asked is None else asked)


def chosen(protocols: tuple[str, ...], asked: list[str] | None) -> list[tuple[str, str]]:
    """Return (protocol, set) of all sets that are asked for; ConfigError for an unknown one."""
    places = [(protocol, name) for protocol in protocols for name in SETS[protocol]]
    if asked is None:
        return places
    wanted = {name.lower() for name in asked}
    known = {name.lower() for _, name in places}
    if unknown := sorted(wanted - known):
        names = ", ".join(name for _, name in places)
        msg = f'there is no set "{unknown[0]}" in this protocol; there are {names}'
        raise ConfigError(msg)
    return [(protocol, name) for protocol, name in places if name.lower() in wanted]


def read(protocol: str, name: str) -> Dataset:
    """Return a data set; ConfigError where it is not to be had."""
    if protocol == "Z":
        return load(name)
    if protocol == "C":
        return _bundled(name)
    folder = os.environ.get(_VARIABLE)
    path = Path(folder or "") / "adbench" / f"{name}.npz"
    if folder is None or not path.is_file():
        msg = f"protocol G needs {_VARIABLE} to name a folder that holds adbench/{name}.npz"
        raise ConfigError(msg)
    with np.load(path, allow_pickle=False) as arrays:
        x, anomaly = arrays["X"].astype(np.float64), np.asarray(arrays["y"]) == 1
    return made_of(name, x, (), anomaly, float(anomaly.mean()))


def _bundled(name: str) -> Dataset:
    """Return a set that comes with scikit-learn, with one of its classes for the anomalies."""
    source, anomalous = name.rsplit("-", 1)
    sets = {
        "breast-cancer": datasets.load_breast_cancer,
        "digits": datasets.load_digits,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
    }
    found = sets[source]()
    names = [str(each).removeprefix("class_") for each in found.target_names]
    anomaly = np.asarray(found.target) == names.index(anomalous)
    x = np.asarray(found.data, dtype=np.float64)
    return made_of(name, x, (), anomaly, float(anomaly.mean()))


def problem(
    protocol: str, dataset: Dataset, seed: int, tell: Callable[[int, int], None] | None = None
) -> Problem:
    """Return the problem of a seed, the same for every method."""
    parts = split(dataset, seed) if protocol == "Z" else halves(dataset, seed)
    ratio = dataset.ratio if protocol == "Z" else float(parts.truth.mean())
    return Problem(
        dataset=dataset,
        train=parts.train,
        test=parts.test,
        seed=seed,
        device=torch.device("cpu"),
        tell=tell or (lambda _done, _of: None),
        protocol=protocol,
        truth=parts.truth,
        ratio=ratio,
    )


def halves(dataset: Dataset, seed: int) -> Split:
    """Return a random half of the normals to train on, the others and all anomalies to test on."""
    rng = np.random.default_rng(seed)
    normal: Rows = rng.permutation(np.flatnonzero(~dataset.anomaly))
    half = len(normal) // 2
    test = rng.permutation(np.concatenate([normal[half:], np.flatnonzero(dataset.anomaly)]))
    return Split(dataset.rows[normal[:half]], dataset.rows[test], dataset.anomaly[test])
