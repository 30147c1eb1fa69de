"""Means, paired differences, seconds and calibration of the finished runs, as JSON and Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmarks.detection.calibrations import calibrated, calibration, calibration_markdown, grid
from benchmarks.detection.measures import (
    MEASURES,
    Gap,
    paired,
    pooled,
)
from benchmarks.detection.methods import neighbours
from benchmarks.detection.ours import OURS, ours
from benchmarks.detection.problems import PROTOCOLS, SETS
from benchmarks.detection.results import Run, fingerprint
from vaeiso_monitor.errors import ConfigError

TITLES = {
    OURS: "ours",
    "k-nn-5": "k-NN (5)",
    "k-nn-1": "k-NN (1)",
    "lof": "LOF",
    "isolation-forest": "IForest",
    "oc-svm": "OC-SVM",
    "mahalanobis": "Mahalanobis",
    "ecod": "ECOD",
    "pyod-vae": "PyOD VAE",
}
SHOWN = {"G": MEASURES, "Z": ("f1",), "C": MEASURES}
_NAMES = {"auroc": "AUROC", "aupr": "AUPR", "f1": "F1"}
_RULES = {
    "G": "A random half of the normal records trains, the others and all anomalies are the test; "
    "F1 flags as many records as there are anomalies. Percent: mean (SD) over the seeds.",
    "Z": "A random half of everything trains, without its anomalies; the other half is the test; "
    "F1 flags 20, 20, 2.5 and 15 % of it. Percent: mean (SD) over the seeds.",
    "C": "One class of a set is the anomalies, and the others are normal. The rest is as in G.",
}

_WHOLE_CORE = 0.9  # of the time; what a run that was not disturbed has
_NOTABLE_SECONDS = 0.1
_PLACES = {"G": 1, "Z": 2, "C": 1}

Place = tuple[str, str]  # set, method


def current(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that were made with the recipes of today."""
    today = {name: fingerprint(s) for s in (ours(), *neighbours()) for name in s.methods}
    changed = cache(_fingerprint_of)
    return [
        run
        for run in runs
        if run.fingerprint
        == (today.get(run.method) or changed(tuple(run.settings.get("changes", ()))))
    ]


def _fingerprint_of(changes: tuple[str, ...]) -> str | None:
    try:
        return fingerprint(ours(changes))
    except ConfigError:
        return None


class Table:
    """The runs of one protocol, by set and method."""

    def __init__(self, protocol: str, runs: Sequence[Run]) -> None:
        self.protocol = protocol
        self.runs: dict[Place, dict[int, Run]] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            if run.protocol == protocol:
                self.runs.setdefault((run.set, run.method), {})[run.seed] = run
        present = {method for _, method in self.runs}
        changed = sorted(method for method in present if method not in TITLES)
        self.methods = [name for name in (OURS, *changed, *list(TITLES)[1:]) if name in present]
        self.sets = [s for s in SETS[protocol] if any(s == name for name, _ in self.runs)]

    def values(self, place: Place, key: str) -> dict[int, float]:
        """Return seed and value of one method on one set."""
        return {seed: getattr(run, key) for seed, run in self.runs.get(place, {}).items()}

    def mean(self, place: Place, key: str) -> float | None:
        """Return the mean over the seeds."""
        values = list(self.values(place, key).values())
        return float(np.mean(values)) if values else None

    def gaps(self, method: str, key: str) -> dict[str, Gap]:
        """Return ours less a method on each set that both have."""
        found = {
            name: paired(self.values((name, OURS), key), self.values((name, method), key))
            for name in self.sets
        }
        return {name: gap for name, gap in found.items() if gap is not None}


def document(runs: Sequence[Run], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures for JSON."""
    tables = [Table(protocol, runs) for protocol in PROTOCOLS]
    return {
        "about": dict(about),
        "means": [line for table in tables for line in _mean_lines(table)],
        "ours_less_theirs": [line for table in tables for line in _gap_lines(table)],
        "calibration": {method: calibration(runs, method) for method in calibrated(runs)},
        "settings": {run.method: run.settings for run in runs},
    }


def about(threads: int) -> dict[str, Any]:
    """Return where the seconds were measured."""
    import sklearn
    import torch

    return {
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "machine": platform.machine(),
    }


def _mean_lines(table: Table) -> list[dict[str, Any]]:
    lines = []
    for (name, method), runs in table.runs.items():
        line: dict[str, Any] = {"protocol": table.protocol, "set": name, "method": method}
        line["seeds"] = len(runs)
        for key in (*MEASURES, "fit_seconds", "score_seconds"):
            values = [getattr(run, key) for run in runs.values()]
            line[key] = float(np.mean(values))
            line[f"{key}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        first = next(iter(runs.values()))
        for key in ("train_records", "fitted_records", "test_records", "scored_records"):
            line[key] = getattr(first, key)
        lines.append(line)
    return lines


def _gap_lines(table: Table) -> list[dict[str, Any]]:
    lines = []
    for method in (name for name in table.methods if name != OURS):
        for key in MEASURES:
            gaps = table.gaps(method, key)
            if gaps:
                gaps["mean over sets"] = pooled(list(gaps.values()))
            for name, gap in gaps.items():
                place = {"protocol": table.protocol, "set": name, "method": method}
                interval = {"mean": gap.mean, "low": gap.low, "high": gap.high}
                lines.append({**place, "measure": key, "seeds": gap.seeds, **interval})
    return lines


def markdown(runs: Sequence[Run], about: Mapping[str, Any]) -> str:
    """Return all tables, ready to be put into a document."""
    parts: list[str] = []
    for protocol in PROTOCOLS:
        table = Table(protocol, runs)
        if table.sets:
            parts += [f"## Protocol {protocol}", _RULES[protocol]]
            for key in SHOWN[protocol]:
                parts += [f"### {_NAMES[key]}, protocol {protocol}", _means(table, key)]
                parts += _gaps(table, key)
            parts += [
                f"### Seconds, protocol {protocol}",
                _seconds_words(table, about),
                _seconds(table),
            ]
    for method in calibrated(runs):
        parts += [f"## Calibration, {method}", *calibration_markdown(calibration(runs, method))]
    parts += _states(runs)
    return "\n\n".join(parts) + "\n"


def _means(table: Table, key: str) -> str:
    lines, places = [], _PLACES[table.protocol]
    for name in table.sets:
        means = {method: table.mean((name, method), key) for method in table.methods}
        best = max(round(100 * mean, places) for mean in means.values() if mean is not None)
        cells = [name]
        for method, mean in means.items():
            values = list(table.values((name, method), key).values())
            spread = f" ({100 * np.std(values, ddof=1):.{places}f})" if len(values) > 1 else ""
            strong = "**" if mean is not None and round(100 * mean, places) == best else ""
            text = "" if mean is None else f"{strong}{100 * mean:.{places}f}{strong}{spread}"
            cells.append(text)
        lines.append(cells)
    return grid(["set", *_titles(table.methods)], [*lines, _mean_row(table, key)])


def _mean_row(table: Table, key: str) -> list[str]:
    cells = ["mean over sets"]
    for method in table.methods:
        means = [table.mean((name, method), key) for name in table.sets]
        known = [mean for mean in means if mean is not None]
        short = f" ({len(known)} sets)" if len(known) < len(means) else ""
        cells.append(f"{100 * float(np.mean(known)):.{_PLACES[table.protocol]}f}{short}")
    return cells


def _gaps(table: Table, key: str) -> list[str]:
    others = [method for method in table.methods if method != OURS]
    found = {method: table.gaps(method, key) for method in others}
    others, places = [method for method in others if found[method]], _PLACES[table.protocol]
    if not others:
        return []
    lines = [
        [name, *(_interval(found[method].get(name), places) for method in others)]
        for name in table.sets
        if any(name in found[method] for method in others)
    ]
    means = [_interval(pooled(list(found[method].values())), places) for method in others]
    words = (
        f"Ours less each, points of {_NAMES[key]} on the same splits, with 95 % intervals (t); "
        "that of the mean is about other splits of these sets, not about other sets."
    )
    return [words, grid(["set", *_titles(others)], [*lines, ["mean over sets", *means]])]


def _interval(gap: Gap | None, places: int) -> str:
    if gap is None:
        return ""
    mean = f"{100 * gap.mean:+.{places}f}"
    if gap.low is None or gap.high is None:
        return mean
    return f"{mean} [{100 * gap.low:+.{places}f}, {100 * gap.high:+.{places}f}]"


def _seconds_words(table: Table, about: Mapping[str, Any]) -> str:
    words = (
        f"Fit + score by the clock, means over the seeds, {about['threads']} thread(s); each "
        "distinct test record is scored once (ECOD: all of them). The two k-NN share one search. "
        "Encoding is in ours and not in the others'. In brackets: the records that a method was "
        "fitted to, where they were drawn from more."
    )
    runs = [run for place in table.runs.values() for run in place.values()]
    busy = sum(_disturbed(run) for run in runs)
    if busy:
        words += (
            f" {busy} of {len(runs)} runs had less than a whole core, as far as is known: their "
            "seconds may be too many."
        )
    return words


def _disturbed(run: Run) -> bool:
    lasted = run.fit_seconds + run.score_seconds >= _NOTABLE_SECONDS
    return lasted and (run.notes or {}).get("cpu_share", 0.0) < _WHOLE_CORE


def _seconds(table: Table) -> str:
    lines = []
    for name in table.sets:
        runs = {method: table.runs.get((name, method)) for method in table.methods}
        first = next(iter(next(found for found in runs.values() if found).values()))
        cells = [name, f"{first.train_records:,}", f"{first.scored_records:,}"]
        for method, found in runs.items():
            if not found:
                cells.append("")
                continue
            one = next(iter(found.values()))
            fit, score = (table.mean((name, method), f"{what}_seconds") for what in _STEPS)
            drawn = f" [{one.fitted_records:,}]" if one.fitted_records < one.train_records else ""
            cells.append(f"{fit:.1f} + {score:.1f}{drawn}")
        lines.append(cells)
    return grid(["set", "train", "distinct test", *_titles(table.methods)], lines)


_STEPS = ("fit", "score")


def _states(runs: Sequence[Run]) -> list[str]:
    """Say so where the runs of a detector were made by different states of its source."""
    states: dict[str, set[str]] = {}
    for run in runs:
        if run.notes and "source" in run.notes:
            states.setdefault(run.method, set()).add(run.notes["source"])
    return [
        f"The runs of {method} were made by {len(found)} states of the source: their settings "
        "agree, their code does not. Run them anew into another folder."
        for method, found in states.items()
        if len(found) > 1
    ]


def _titles(methods: Sequence[str]) -> list[str]:
    return [TITLES.get(method, method) for method in methods]
