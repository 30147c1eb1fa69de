"""How well the alert budgets hold on unseen normal records: the figures, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.detection.measures import (
    BUDGETS,
    ENOUGH,
    FACTOR,
    chance_outside,
    measurable,
    within,
)
from benchmarks.detection.results import Run


def calibrated(runs: Sequence[Run]) -> list[str]:
    """Return the methods whose calibration was measured."""
    return sorted({run.method for run in runs if run.calibration is not None})


def calibration(runs: Sequence[Run], method: str) -> list[dict[str, Any]]:
    """Return the calibration of each run of a method, a line for each."""
    lines = []
    for run in runs:
        if run.method != method or run.calibration is None:
            continue
        found = run.calibration
        budgets = [
            {
                "budget": budget,
                "rate": found["rates"][f"{budget:g}"],
                "ratio": found["rates"][f"{budget:g}"] / budget,
                "enough_held_out": measurable(budget, found["held_out"]),
                "outside_by_chance": chance_outside(budget, found["held_out"], found["unseen"]),
            }
            for budget in BUDGETS
        ]
        place = {"protocol": run.protocol, "set": run.set, "seed": run.seed}
        rest = {key: value for key, value in found.items() if key != "rates"}
        lines.append({**place, **rest, "budgets": budgets})
    return lines


def calibration_markdown(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is to be said of :func:`calibration`, and its table."""
    judged = [budget for line in lines for budget in line["budgets"] if budget["enough_held_out"]]
    good = sum(within(budget["ratio"]) for budget in judged)
    chance = sum(budget["outside_by_chance"] for budget in judged)
    passed = sum(line["ks_p"] >= 0.05 for line in lines)
    finite = sum(line["ks_p_finite"] >= 0.05 for line in lines)
    words = (
        f"Alert rate on unseen normal records over the budget, mean (lowest to highest) over the "
        f"seeds; in italics where fewer than {ENOUGH} held-out records are expected above the "
        f"line. Of the {len(judged)} others, each a seed, {good} lie within a factor of {FACTOR}; "
        f"of a perfect detector {len(judged) - chance:.0f} would. KS: how many seeds have p of "
        f"at least 0.05 for a uniform tail probability ({passed} of {len(lines)}), and beside it "
        f"with the chance in the held-out records allowed for ({finite}). Tied: unseen normal "
        "records whose score occurs more than once, where the law cannot be uniform."
    )
    places = dict.fromkeys((line["protocol"], line["set"]) for line in lines)
    rows = [
        _calibration_row(f"{protocol}: {name}", [line for line in lines if _at(line) == place])
        for place in places
        for protocol, name in [place]
    ]
    head = ["set", "held out", "unseen", *(f"{budget:g}" for budget in BUDGETS)]
    return [words, grid([*head, "KS", "KS, finite", "tied"], rows)]


def _at(line: Mapping[str, Any]) -> tuple[str, str]:
    return line["protocol"], line["set"]


def _calibration_row(title: str, lines: Sequence[dict[str, Any]]) -> list[str]:
    cells = [title, f"{lines[0]['held_out']:,}", f"{lines[0]['unseen']:,}"]
    for place in range(len(BUDGETS)):
        budgets = [line["budgets"][place] for line in lines]
        ratios = [budget["ratio"] for budget in budgets]
        mark = "" if all(budget["enough_held_out"] for budget in budgets) else "*"
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        cells.append(f"{mark}{np.mean(ratios):.2f}{mark}{spread}")
    passed = [sum(line[key] >= 0.05 for line in lines) for key in ("ks_p", "ks_p_finite")]
    cells += [f"{count} of {len(lines)}" for count in passed]
    return [*cells, f"{100 * np.mean([line['tied'] for line in lines]):.0f} %"]


def grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    every = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)
