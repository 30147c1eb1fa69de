"""Table 3: means, SDs, and differences from the VAE on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vaeiso_monitor.experiments.anomaly.data import DATASETS
from vaeiso_monitor.experiments.anomaly.published import PUBLISHED
from vaeiso_monitor.experiments.anomaly.results import Run
from vaeiso_monitor.experiments.anomaly.systems import METHODS, REFERENCE

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """F1 less the VAE's on the same seeds: mean, and its 95 % interval (t), if there are two."""

    seeds: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one data set; figures are means over ``seeds`` seeds."""

    dataset: str
    method: str
    seeds: int
    f1: float
    f1_sd: float | None
    precision: float
    recall: float
    auroc: float
    auroc_sd: float | None
    train_seconds: float
    score_seconds: float
    published: float | None
    published_sd: float | None
    difference: Difference | None


def rows(runs: Sequence[Run]) -> list[Row]:
    """Return the table of ``runs``, in the order of the paper's."""
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        grouped.setdefault((run.dataset, run.method), []).append(run)
    places = [(dataset, method) for dataset in DATASETS for method in METHODS]
    return [
        _row(grouped[place], grouped.get((place[0], REFERENCE), []))
        for place in places
        if place in grouped
    ]


def _row(runs: list[Run], reference: list[Run]) -> Row:
    first = runs[0]
    published = PUBLISHED.get(first.method, {}).get(first.dataset, (None, None))
    return Row(
        dataset=first.dataset,
        method=first.method,
        seeds=len(runs),
        f1=_mean(runs, "f1"),
        f1_sd=_sd(runs, "f1"),
        precision=_mean(runs, "precision"),
        recall=_mean(runs, "recall"),
        auroc=_mean(runs, "auroc"),
        auroc_sd=_sd(runs, "auroc"),
        train_seconds=_mean(runs, "train_seconds"),
        score_seconds=_mean(runs, "score_seconds"),
        published=published[0],
        published_sd=published[1],
        difference=None if first.method == REFERENCE else difference(runs, reference),
    )


def difference(runs: Sequence[Run], reference: Sequence[Run]) -> Difference | None:
    """Return how F1 differs on the seeds that both have; None if there are none."""
    theirs = {run.seed: run.f1 for run in reference}
    gaps = np.array([run.f1 - theirs[run.seed] for run in runs if run.seed in theirs])
    if not len(gaps):
        return None
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(len(gaps), mean, None, None)
    error = float(gaps.std(ddof=1)) / len(gaps) ** 0.5
    reach = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, len(gaps) - 1)) * error
    return Difference(len(gaps), mean, mean - reach, mean + reach)


def _values(runs: Sequence[Run], name: str) -> NDArray[np.float64]:
    return np.array([getattr(run, name) for run in runs], dtype=np.float64)


def _mean(runs: Sequence[Run], name: str) -> float:
    return float(_values(runs, name).mean())


def _sd(runs: Sequence[Run], name: str) -> float | None:
    return float(_values(runs, name).std(ddof=1)) if len(runs) > 1 else None


COLUMNS = (
    "method",
    "F1",
    "published",
    "precision",
    "recall",
    "AUROC",
    "F1 less the VAE's",
    "seconds",
    "seeds",
)


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of a row, for COLUMNS."""
    return (
        row.method,
        _with_sd(row.f1, row.f1_sd),
        "" if row.published is None else _with_sd(row.published, row.published_sd),
        f"{row.precision:.4f}",
        f"{row.recall:.4f}",
        _with_sd(row.auroc, row.auroc_sd),
        _difference_text(row.difference),
        f"{row.train_seconds:.1f} + {row.score_seconds:.1f}",
        str(row.seeds),
    )


def _with_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ({sd:.4f})"


def _difference_text(found: Difference | None) -> str:
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{found.mean:+.4f}"
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def markdown(table: Sequence[Row]) -> str:
    """Return the table as Markdown, a section for each data set."""
    lines: list[str] = []
    for dataset in dict.fromkeys(row.dataset for row in table):
        lines += [f"### {dataset}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        lines += [_line(cells(row)) for row in table if row.dataset == dataset]
        lines.append("")
    return "\n".join(lines)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def document(table: Sequence[Row], runs: Sequence[Run]) -> dict[str, Any]:
    """Return table and runs for JSON."""
    return {
        "protocol": "Z",
        "confidence": _CONFIDENCE,
        "reference": REFERENCE,
        "table": [asdict(row) for row in table],
        "runs": [asdict(run) for run in runs],
    }
