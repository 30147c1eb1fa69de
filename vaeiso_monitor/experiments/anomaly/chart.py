"""The table as a picture: F1 of every method, a panel for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaeiso_monitor.experiments.anomaly.table import Row

_INK, _SOFT, _ACCENT = "#1f3b57", "#7fa3c7", "#c8553d"
_ROW_INCHES = 0.34


def chart(table: Sequence[Row]) -> Figure:
    """Draw mean and SD of F1 as bars, and the published figure as a mark on each."""
    datasets = list(dict.fromkeys(row.dataset for row in table))
    tallest = max((len(_of(table, name)) for name in datasets), default=1)
    size = (4.2 * max(len(datasets), 1) + 1.5, _ROW_INCHES * tallest + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, max(len(datasets), 1), squeeze=False)[0]
    for axes, name in zip(panels, datasets, strict=False):
        _panel(axes, name, _of(table, name))
    return figure


def _of(table: Sequence[Row], dataset: str) -> list[Row]:
    return [row for row in table if row.dataset == dataset]


def _panel(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    means, sds = [row.f1 for row in rows], [row.f1_sd or 0.0 for row in rows]
    colors = [_INK if row.method.startswith("vae") else _SOFT for row in rows]
    axes.barh(places, means, xerr=sds, color=colors, ecolor="#44505c", height=0.7)
    published = [(row.published, place) for place, row in enumerate(rows) if row.published]
    axes.plot(
        *zip(*published, strict=True) if published else ((), ()),
        "|",
        color=_ACCENT,
        ms=14,
        mew=2,
        label="published",
    )
    lowest = min(
        [*(f1 - sd for f1, sd in zip(means, sds, strict=True)), *(p for p, _ in published)]
    )
    axes.set_xlim(max(0.0, lowest - 0.05), min(1.0, max(means) + 0.1))
    axes.set_yticks(places, [row.method for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("F1, mean and SD")
    axes.set_title(f"{name} ({max(row.seeds for row in rows)} seeds)", fontsize=10)
    if published:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
