"""Finished runs on disk: a line of JSON each, so that an interrupted table goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.protocol import Judgement

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """One method on one seed of one data set, and the ``settings`` that it was made with."""

    dataset: str
    method: str
    seed: int
    f1: float
    precision: float
    recall: float
    auroc: float
    flagged: int
    anomalies: int
    train_records: int
    test_records: int
    train_seconds: float
    score_seconds: float
    settings: dict[str, Any]

    @property
    def key(self) -> Key:
        """Data set, method and seed."""
        return self.dataset, self.method, self.seed


_FIELDS = {field.name for field in fields(Run)}
JUDGED = tuple(field.name for field in fields(Judgement))


class RunFile:
    """The file of finished runs; several processes may append to it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[Key, Run]:
        """Return the finished runs; of several with one key the last.

        A line that is not whole was being written when its process ended: that run is not finished.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{self.path} cannot be read: {error}"
            raise ConfigError(msg) from error
        runs = [run for line in text.splitlines() if (run := _parsed(line)) is not None]
        return {run.key: run for run in runs}

    def append(self, runs: Sequence[Run]) -> None:
        """Add finished runs; ConfigError where the file cannot be written."""
        lines = "".join(json.dumps(asdict(run)) + "\n" for run in runs)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                lines = lines if _ends_whole(file) else "\n" + lines
                file.write(lines.encode())
        except OSError as error:
            msg = f"{self.path} cannot be written: {error.strerror or error}"
            raise ConfigError(msg) from error


def _parsed(line: str) -> Run | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(document, dict) and document.keys() == _FIELDS
    return Run(**document) if whole else None


def _ends_whole(file: Any) -> bool:
    if file.seek(0, 2) == 0:
        return True
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")
