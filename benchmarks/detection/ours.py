"""The detector with its defaults, or with parts of its recipe changed by name."""

from __future__ import annotations

import hashlib
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import vaeiso_monitor
from benchmarks.detection.measures import calibration
from benchmarks.detection.methods import Found, System
from benchmarks.detection.problems import Problem
from vaeiso_monitor import Detector
from vaeiso_monitor.detector import Recipe
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.data import Dataset
from vaeiso_monitor.experiments.anomaly.trial import Outcome

OURS = "ours"
_SOURCES = ("detector.py", "bundle", "detect", "model", "records")


def ours(changes: Sequence[str] = ()) -> System:
    """Return the detector as it comes, or with ``changes``, each "part.key=value"."""
    recipe = changed(Detector().recipe, changes)
    name = f"{OURS}[{', '.join(changes)}]" if changes else OURS
    settings = {"recipe": asdict(recipe), "changes": list(changes)}
    return System((name,), settings, partial(_run, name, list(changes), source()))


def changed(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Return ``recipe`` with changes such as "training.max_steps=500"; ConfigError if unknown."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            msg = f'"{change}" is not a change of the recipe: write part.key=value'
            raise ConfigError(msg)
        recipe = _replaced(recipe, key.split("."), _value(text), key)
    return recipe


def as_given(dataset: Dataset) -> Any:
    """Return the distinct records as a user has them: a matrix, or a table with texts and truths.

    Categories with no more codes than 0 and 1 are truths, the others texts.
    """
    if dataset.categories.shape[1] == 0:
        return dataset.numbers
    columns: dict[str, Any] = {f"number{j}": pa.array(x) for j, x in enumerate(dataset.numbers.T)}
    for j, codes in enumerate(dataset.categories.T):
        two = codes.max() <= 1
        columns[f"truth{j}" if two else f"text{j}"] = (
            pa.array(codes == 1) if two else pa.array([f"v{code}" for code in codes.tolist()])
        )
    return pa.table(columns)


@cache
def source() -> str:
    """Return a short sum over the source that a detector is made of, to tell its states apart."""
    root = Path(vaeiso_monitor.__file__).parent
    places = [root / name for name in _SOURCES]
    files = [
        file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))
    ]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _run(name: str, changes: list[str], state: str, problem: Problem) -> dict[str, Found]:
    detector = Detector()
    detector.recipe = changed(detector.recipe, changes)
    tested, back = np.unique(problem.test, return_inverse=True)
    records = as_given(problem.dataset)
    train, test = _taken(records, problem.train), _taken(records, tested)
    begun = time.monotonic()
    detector.fit(train, progress=lambda so_far: problem.tell(so_far.step, so_far.max_steps))
    fitted = time.monotonic()
    nats = detector.nats(test)
    outcome = Outcome(nats[back], fitted - begun, time.monotonic() - fitted)
    held = calibration(detector.bundle.threshold, outcome.scores[~problem.truth])
    notes = {**_notes(detector.bundle.summary), "source": state}
    return {name: Found(outcome, len(problem.train), held, notes)}


def _taken(records: Any, rows: Any) -> Any:
    return records.take(pa.array(rows)) if isinstance(records, pa.Table) else records[rows]


def _notes(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the training report says of the winner, as far as it says it."""
    training = summary.get("training", {})
    members, winner = training.get("members", []), training.get("winner", 0)
    beta = members[winner].get("beta") if winner < len(members) else None
    keep = {key: training.get(key) for key in ("steps", "stopped")}
    return {"held_out_nats": summary.get("held_out_nats"), "beta": beta, **keep}


def _replaced(part: Any, path: list[str], value: Any, key: str) -> Any:
    first, rest = path[0], path[1:]
    known = [field.name for field in fields(part)] if is_dataclass(part) else []
    if first not in known:
        msg = f'the recipe has no "{key}": "{first}" is not one of {", ".join(known) or "none"}'
        raise ConfigError(msg)
    inner = _replaced(getattr(part, first), rest, value, key) if rest else value
    if isinstance(getattr(part, first), bool) and not isinstance(inner, bool):
        msg = f"{key} is true or false, not {inner!r}"
        raise ConfigError(msg)
    try:
        return replace(part, **{first: inner})
    except (TypeError, ValueError) as error:
        msg = f"{key}: {error}"
        raise ConfigError(msg) from error


def _value(text: str) -> Any:
    """Return a value as a config has it; a text that is none stands for itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value
