"""The neighbours, on z-scores and one-hot categories: scikit-learn's, and PyOD's where it is.

A training set larger than ``cap`` is drawn down to so many records where the cost of a method
grows faster than the records do, or would take minutes with no gain; all test records are scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.problems import Problem
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.classical import ClassicalConfig, classical
from vaeiso_monitor.experiments.anomaly.encoding import Encoding
from vaeiso_monitor.experiments.anomaly.trial import Outcome

Z_SCORE = Encoding("z-score")
_CHUNK = 10_000  # records that are scored at a time, between two looks at the progress bar
_NEIGHBOURS = (5, 1)


@dataclass(frozen=True, slots=True)
class Found:
    """What a method gave: ``outcome``, and what else is to be kept of it."""

    outcome: Outcome
    fitted: int  # records it was fitted to
    calibration: dict[str, Any] | None = None
    notes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class System:
    """One fit, which gives the scores of one method or of several; ``settings`` identify it."""

    methods: tuple[str, ...]
    settings: dict[str, Any]
    run: Callable[[Problem], dict[str, Found]]
    needs: str | None = None  # a package that may be missing


def neighbours() -> list[System]:
    """Return the systems that the detector is compared with, in the order of the tables."""
    forest = ClassicalConfig("isolation-forest", Z_SCORE)
    mahalanobis = ClassicalConfig("mahalanobis", Z_SCORE)
    lof: dict[str, Any] = {"n_neighbors": 20, "cap": 20_000}
    svm: dict[str, Any] = {"kernel": "rbf", "nu": 0.5, "gamma": "scale", "cap": 10_000}
    pyod_vae: dict[str, Any] = {"epoch_num": 30, "batch_size": 32, "cap": 20_000}
    names = tuple(f"k-nn-{k}" for k in _NEIGHBOURS)
    return [
        System(names, {"neighbours": _NEIGHBOURS, "cap": None}, _nearest, "sklearn"),
        System(("lof",), lof, partial(_lof, lof), "sklearn"),
        System(("isolation-forest",), asdict(forest), partial(_classical, forest), "sklearn"),
        System(("oc-svm",), svm, partial(_svm, svm), "sklearn"),
        System(("mahalanobis",), asdict(mahalanobis), partial(_classical, mahalanobis), "sklearn"),
        System(("ecod",), {"cap": None}, _ecod, "pyod"),
        System(("pyod-vae",), pyod_vae, partial(_pyod_vae, pyod_vae), "pyod"),
    ]


def missing(system: System) -> str | None:
    """Say why a system cannot be run here, or None."""
    if system.needs is None or find_spec(system.needs) is not None:
        return None
    package = {"sklearn": "scikit-learn", "pyod": "pyod tqdm"}[system.needs]
    names = " and ".join(system.methods)
    return f"{names} left out: {system.needs} is not installed (pip install {package})"


def asked(systems: list[System], methods: list[str] | None) -> list[System]:
    """Return the systems that ``methods`` need; ConfigError for an unknown method."""
    if methods is None:
        return systems
    known = [method for system in systems for method in system.methods]
    if unknown := [method for method in methods if method not in known]:
        msg = f'there is no method "{unknown[0]}"; there are {", ".join(known)}'
        raise ConfigError(msg)
    return [system for system in systems if set(system.methods) & set(methods)]


def distinct_scores(
    problem: Problem, score: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], float]:
    """Score each distinct test record once, in chunks; return all scores, and the seconds."""
    tested, back = np.unique(problem.test, return_inverse=True)
    begun, parts = time.monotonic(), []
    for start in range(0, len(tested), _CHUNK):
        parts.append(score(tested[start : start + _CHUNK]))
        problem.tell(min(start + _CHUNK, len(tested)), len(tested))
    seconds = time.monotonic() - begun
    return np.concatenate(parts).astype(np.float64)[back], seconds


def _classical(config: ClassicalConfig, problem: Problem) -> dict[str, Found]:
    return {config.detector: Found(classical(problem, config), len(problem.train))}


def _nearest(problem: Problem) -> dict[str, Found]:
    """Give the distances to the fifth and to the first of the training records, in one search.

    Repetitions count: only distinct records are searched, each weighted by how often it occurs.
    """
    from sklearn.neighbors import NearestNeighbors

    x = problem.encoded(Z_SCORE)
    begun = time.monotonic()
    trained, times = np.unique(problem.train, return_counts=True)
    index = NearestNeighbors(n_neighbors=min(max(_NEIGHBOURS), len(trained)), n_jobs=1)
    index.fit(x[trained])
    fit_seconds = time.monotonic() - begun
    nearest: dict[int, list[NDArray[np.float64]]] = {k: [] for k in _NEIGHBOURS}

    def search(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        distances, places = index.kneighbors(x[rows])
        passed = times[places].cumsum(axis=1)
        for k, parts in nearest.items():
            place = (passed >= min(k, passed[0, -1])).argmax(axis=1)
            parts.append(np.take_along_axis(distances, place[:, None], axis=1)[:, 0])
        return np.zeros(len(rows))

    _, score_seconds = distinct_scores(problem, search)
    back = np.unique(problem.test, return_inverse=True)[1]
    return {
        f"k-nn-{k}": Found(
            Outcome(np.concatenate(parts).astype(np.float64)[back], fit_seconds, score_seconds),
            len(problem.train),
        )
        for k, parts in nearest.items()
    }


def _lof(settings: dict[str, Any], problem: Problem) -> dict[str, Found]:
    from sklearn.neighbors import LocalOutlierFactor

    rows = problem.train[: settings["cap"]]
    neighbours = min(settings["n_neighbors"], len(rows) - 1)
    lof = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, n_jobs=1)
    return {"lof": _scikit(problem, lof, rows)}


def _svm(settings: dict[str, Any], problem: Problem) -> dict[str, Found]:
    from sklearn.svm import OneClassSVM

    options = {key: value for key, value in settings.items() if key != "cap"}
    return {"oc-svm": _scikit(problem, OneClassSVM(**options), problem.train[: settings["cap"]])}


def _scikit(problem: Problem, detector: Any, rows: NDArray[np.int64]) -> Found:
    x = problem.encoded(Z_SCORE)
    begun = time.monotonic()
    detector.fit(x[rows])
    fit_seconds = time.monotonic() - begun
    scores, seconds = distinct_scores(problem, lambda rows: -detector.score_samples(x[rows]))
    return Found(Outcome(scores, fit_seconds, seconds), len(rows))


def _ecod(problem: Problem) -> dict[str, Found]:
    """Score all test records at once: PyOD's ECOD ranks them among each other too."""
    from pyod.models.ecod import ECOD

    x = problem.encoded(Z_SCORE)
    _warm(ECOD)
    detector = ECOD(n_jobs=1)
    begun = time.monotonic()
    detector.fit(x[problem.train])
    fitted = time.monotonic()
    scores = np.asarray(detector.decision_function(x[problem.test]), dtype=np.float64)
    outcome = Outcome(scores, fitted - begun, time.monotonic() - fitted)
    return {"ecod": Found(outcome, len(problem.train))}


def _pyod_vae(settings: dict[str, Any], problem: Problem) -> dict[str, Found]:
    from pyod.models.vae import VAE

    x, rows = problem.encoded(Z_SCORE), problem.train[: settings["cap"]]
    options = {key: value for key, value in settings.items() if key != "cap"}
    _warm(VAE, epoch_num=1, device="cpu", verbose=0)
    detector = VAE(**options, device="cpu", random_state=problem.seed, verbose=0)
    begun = time.monotonic()
    detector.fit(x[rows])
    fit_seconds = time.monotonic() - begun
    scores, seconds = distinct_scores(problem, lambda rows: detector.decision_function(x[rows]))
    return {"pyod-vae": Found(Outcome(scores, fit_seconds, seconds), len(rows))}


@cache
def _warm(detector: Any, **options: Any) -> None:
    """Fit a detector of PyOD once to nothing much: what it imports and compiles is not its fit."""
    detector(**options).fit(np.random.default_rng(0).normal(size=(64, 3)))
