"""Finished runs on disk: a line of JSON each, so that an interrupted benchmark goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.measures import measured
from benchmarks.detection.methods import Found, System
from benchmarks.detection.problems import Problem

_VERSION = 1  # of what a run measures: raised, it makes stored runs void

Key = tuple[str, str, str, int, str]


@dataclass(frozen=True, slots=True)
class Run:
    """One method on one seed of one set; ``fingerprint`` stands for the ``settings``."""

    protocol: str
    set: str
    method: str
    seed: int
    fingerprint: str
    auroc: float
    aupr: float
    f1: float
    precision: float
    recall: float
    train_records: int
    fitted_records: int
    test_records: int
    scored_records: int
    anomalies: int
    fit_seconds: float
    score_seconds: float
    calibration: dict[str, Any] | None
    notes: dict[str, Any] | None
    settings: dict[str, Any]

    @property
    def key(self) -> Key:
        """Protocol, set, method, seed, and with what recipe."""
        return self.protocol, self.set, self.method, self.seed, self.fingerprint


_FIELDS = {field.name for field in fields(Run)}


def fingerprint(system: System) -> str:
    """Return a short sum of all settings of a system: another recipe, another sum."""
    text = json.dumps([_VERSION, system.settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_of(problem: Problem, system: System, method: str, found: Found, cpu_share: float) -> Run:
    """Judge what a method gave."""
    return Run(
        protocol=problem.protocol,
        set=problem.dataset.name,
        method=method,
        seed=problem.seed,
        fingerprint=fingerprint(system),
        **measured(found.outcome.scores, problem.truth, problem.ratio),
        train_records=len(problem.train),
        fitted_records=found.fitted,
        test_records=len(problem.test),
        scored_records=len(np.unique(problem.test)),
        anomalies=int(problem.truth.sum()),
        fit_seconds=found.outcome.train_seconds,
        score_seconds=found.outcome.score_seconds,
        calibration=found.calibration,
        notes={**(found.notes or {}), "cpu_share": round(cpu_share, 2)},
        settings=system.settings,
    )


class Store:
    """The file of finished runs; several processes may append to it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[Key, Run]:
        """Return the finished runs; a line that is not whole is of one that did not finish."""
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").splitlines()
        runs = [run for line in lines if (run := _parsed(line)) is not None]
        return {run.key: run for run in runs}

    def append(self, runs: Sequence[Run]) -> None:
        """Add finished runs, after what a run that was killed may have left of its line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(asdict(run)) + "\n" for run in runs)
        with self.path.open("ab+") as file:
            if file.seek(0, 2) > 0:
                file.seek(-1, 2)
                lines = lines if file.read(1) == b"\n" else "\n" + lines
            file.write(lines.encode())


def _parsed(line: str) -> Run | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(document, dict) and document.keys() == _FIELDS
    return Run(**document) if whole else None
