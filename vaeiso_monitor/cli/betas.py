"""The curve of held-out nats over beta: in words, as bars, and as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_BAR = 20  # characters of the longest bar
_ENDS = {
    "behind": "given up",
    "no_better": "no better",
    "converged": "converged",
    "max_steps": "out of steps",
    "time_budget": "out of time",
}


def beta_table(curve: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return for each beta its name, and its nats with a bar: how far it is from the best."""
    found = [row["held_out_nats"] for row in curve if row["held_out_nats"] is not None]
    best, worst = min(found, default=0.0), max(found, default=0.0)
    lines = []
    for row in curve:
        nats = row["held_out_nats"]
        if nats is None:
            lines.append((f"beta {row['beta']:g}", "not a number: it diverged"))
            continue
        above = (nats - best) / (worst - best) if worst > best else 0.0
        mark = "<- kept" if row["winner"] else _ENDS.get(row["stopped"], row["stopped"])
        bar = f"{'█' * max(1, math.ceil(_BAR * above)):{_BAR}} " if len(curve) > 1 else ""
        words = f"judged {nats:9.2f} nats  {bar}{mark}"
        lines.append((f"beta {row['beta']:g}", words))
    return lines


def training_in_words(training: dict[str, Any]) -> str:
    """Return how long training took, why it ended, and what it was judged on."""
    ended = {
        "converged": "a further round gained nothing",
        "no_better": "nothing got better any more",
        "max_steps": "max_steps was reached",
        "time_budget": "the time budget was over",
    }.get(training["stopped"], training["stopped"])
    folds = training.get("folds", 1)
    records = f"{training['held_out_rows']:,}"
    judged = (
        f"judged on {records} held-out records"
        if folds == 1
        else f"each of {records} records held out of one of {folds} folds"
    )
    return f"{training['steps']:,} steps in {training['seconds']:.0f} s: {ended}; {judged}"


def draw(curve: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw the curve as PNG; ConfigError where ``path`` cannot be written."""
    from vaeiso_monitor.experiments.pictures import curve_of_betas, save

    save(curve_of_betas(curve, title), path)
