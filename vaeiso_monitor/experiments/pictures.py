"""Pictures of the experiments, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.toy import ESTIMATES

if TYPE_CHECKING:
    from vaeiso_monitor.experiments.rate_distortion import CurvePoint
    from vaeiso_monitor.experiments.toy_series import ToyResult

_INK, _SOFT, _ACCENT = "#1f3b57", "#7fa3c7", "#c8553d"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; ConfigError where ``path`` cannot be written."""
    FigureCanvasAgg(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, format="png")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error


def scatter_of_probabilities(results: Sequence[ToyResult], labels: dict[str, str]) -> Figure:
    """Draw Figure 3: p(x) against each estimate, one row for each loss (its first seed)."""
    first = {result.run.loss: result for result in reversed(results)}
    rows = list(reversed(first.values()))
    figure = Figure(figsize=(13, 3.4 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), len(ESTIMATES), squeeze=False)
    for axes_row, result in zip(panels, rows, strict=True):
        for axes, name, y in zip(axes_row, ESTIMATES, result.points[1:], strict=True):
            axes.scatter(result.points[0], y, s=3, alpha=0.35, color=_INK, linewidths=0)
            axes.set_title(f"{labels[name]}\nR = {result.run.correlations[name]:.3f}", fontsize=10)
            axes.set_xlabel("p(x)")
            axes.set_yticks([])
        axes_row[0].set_ylabel(f"{result.run.loss}\nestimate (scaled)")
    return figure


def scree_of_latents(latents: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw Figures 4 and 5: importances in falling order, and the norm of each latent beside them.

    ``latents`` are the rows of an isometry table; those that mean nothing are drawn pale.
    """
    rows = sorted(latents, key=lambda row: -row["importance"])
    places = np.arange(len(rows))
    colors = [_INK if row["meaningful"] else "#c9d3dd" for row in rows]
    figure = Figure(figsize=(max(6.0, 0.4 * len(rows) + 3), 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.bar(places, [row["importance"] for row in rows], color=colors)
    above.set_yscale("log")
    above.set_ylabel("importance\n(beta/2) E[1/sigma²]")
    above.set_title("\n".join(wrap(title, 90)), fontsize=10)
    below.axhline(1.0, color=_ACCENT, linewidth=1)
    below.bar(
        places,
        [row["norm_mean"] for row in rows],
        yerr=[row["norm_sd"] for row in rows],
        color=colors,
        ecolor=_SOFT,
    )
    expected = [row.get("norm_expected", np.nan) for row in rows]
    below.plot(places, expected, "_", color=_ACCENT, markersize=14, label="1 - E[sigma²]")
    below.set_ylabel("norm, mean and SD\n(1 is isometric)")
    below.legend(loc="upper right", fontsize=8, frameon=False)
    below.set_xticks(places, [f"z{row['latent']}" for row in rows], fontsize=8)
    return figure


def curve_of_rates(points: Sequence[CurvePoint]) -> Figure:
    """Draw rate against distortion: the model's points on the curve that PCA allows at best."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [p.best.distortion for p in points],
        [p.best.rate_nats for p in points],
        color=_SOFT,
        label="PCA, reverse water-filling",
    )
    axes.plot(
        [p.found.distortion for p in points],
        [p.found.rate_nats for p in points],
        "o",
        color=_INK,
        label="beta-VAE",
    )
    for p in points:
        axes.annotate(f" {p.beta:g}", (p.found.distortion, p.found.rate_nats), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("distortion E|x - x̂|² (the numbers are beta)")
    axes.set_ylabel("rate in nats per record")
    axes.legend(frameon=False)
    return figure


def curve_of_betas(curve: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw the held-out nats of each beta that was tried, the one that was kept marked."""
    rows = [row for row in curve if row["held_out_nats"] is not None]
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    betas, nats = [row["beta"] for row in rows], [row["held_out_nats"] for row in rows]
    axes.plot(betas, nats, "o-", color=_SOFT, markerfacecolor=_INK, markeredgecolor=_INK)
    for row in rows:
        axes.annotate(f" {row['held_out_nats']:.2f}", (row["beta"], row["held_out_nats"]), size=8)
        if row["winner"]:
            place = (row["beta"], row["held_out_nats"])
            axes.plot(*place, "o", color=_ACCENT, markersize=10, label=f"kept: {row['beta']:g}")
    axes.set_xscale("log")
    axes.set_xlabel("beta, the resolution of the ruler")
    axes.set_ylabel("judged nats per held-out record (lower is better)")
    axes.set_title("\n".join(wrap(title, 70)), fontsize=10)
    if any(row["winner"] for row in rows):
        axes.legend(frameon=False)
    return figure
