"""The table as a picture: F1 of every method, a panel for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaeiso_monitor.experiments.anomaly.table import Row

_INK, _SOFT, _ACCENT = "#1f3b57", "#7fa3c7", "#c8553d"
_ROW_INCHES = 0.34


def chart(table: Sequence[Row]) -> Figure:
    """Draw mean and SD of F1 as dots with bars, and the published figure as a mark beside them."""
    datasets = list(dict.fromkeys(row.dataset for row in table))
    count = max(len(datasets), 1)
    tallest = max((len(_of(table, name)) for name in datasets), default=1)
    figure = Figure(figsize=(4.2 * count + 1.5, _ROW_INCHES * tallest + 1.6), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, name in zip(panels, datasets, strict=False):
        _panel(axes, name, _of(table, name))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _of(table: Sequence[Row], dataset: str) -> list[Row]:
    return [row for row in table if row.dataset == dataset]


def _panel(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    places = {row.method: place for place, row in enumerate(rows)}
    vae = [row for row in rows if row.method.startswith("vae")]
    for shown, color, label in ((vae, _INK, "VAE"), (rows[len(vae) :], _SOFT, "other methods")):
        axes.errorbar(
            [row.f1 for row in shown],
            [places[row.method] for row in shown],
            xerr=[row.f1_sd or 0.0 for row in shown],
            fmt="o",
            color=color,
            label=f"{label}, mean and SD",
        )
    published = {row.method: row.published for row in rows if row.published is not None}
    at = [places[method] for method in published]
    axes.plot(list(published.values()), at, "|", color=_ACCENT, ms=15, mew=2, label="published")
    axes.set_yticks(list(places.values()), list(places), fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e3e8ed")
    axes.set_axisbelow(True)
    axes.set_xlabel("F1")
    axes.set_title(f"{name} ({max(row.seeds for row in rows)} seeds)", fontsize=10)
