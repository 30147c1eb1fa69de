"""The few kinds of panels that the dashboards are made of, each in one manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import bargauge, common, heatmap, statetimeline, timeseries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.dashboard import FieldColorModeId
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.style import (
    BLUE,
    GREEN,
    GREY,
    Looks,
    Query,
    Steps,
    Text,
    Words,
    color,
    fixed,
    interpolation,
    legend,
    lines,
    mapping,
    override,
    scale,
    stacking,
    target,
    thresholds,
    told,
    tooltip,
)


def stat(
    text: Text,
    expr: str,
    *,
    unit: str = "short",
    steps: Steps = (),
    words: Words | None = None,
    nothing: str = "none",
    legend: str = "",
    decimals: int | None = None,
    quiet: str = GREEN,
    colours: Mapping[str, str] | None = None,
) -> stats.Panel:
    """Return one big number or word; ``legend`` shows a label instead of the number.

    ``colours`` are those of the labels. ``quiet`` is the colour below the first step, ``nothing``
    what stands there without data.
    """
    mode = looks.BigValueTextMode.NAME if legend else looks.BigValueTextMode.VALUE
    panel = (
        stats.Panel()
        .unit(unit)
        .thresholds(thresholds(steps, quiet))
        .color_scheme(color(FieldColorModeId.THRESHOLDS))
        .no_value(nothing)
        .mappings([mapping(words)] if words else [])
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(looks.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .text_mode(mode)
        .with_target(target(Query(expr, legend or "__auto")).instant())
    )
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [fixed(colour)])
    return told(panel if decimals is None else panel.decimals(decimals), text)


def graph(text: Text, queries: Sequence[Query], look: Looks | None = None) -> timeseries.Panel:
    """Return a graph over time with a table of the last and the largest values below it."""
    look = look or Looks()
    panel = (
        timeseries.Panel()
        .unit(look.unit)
        .color_scheme(color(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(legend())
        .tooltip(tooltip())
        .draw_style(looks.GraphDrawStyle.BARS if look.bars else looks.GraphDrawStyle.LINE)
        .line_interpolation(interpolation(look))
        .line_width(0 if look.bars else 2)
        .fill_opacity(60 if look.stacked or look.bars else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(stacking(look)).group("A"))
        .scale_distribution(scale(look))
        .thresholds(thresholds(look.steps, "transparent"))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(lines(look.steps)))
    )
    if look.minimum is not None and not look.log:
        panel.min(look.minimum)
    if look.maximum is not None:
        panel.max(look.maximum)
    if look.nothing:
        panel.no_value(look.nothing)
    override(panel, look)
    for number, query in enumerate(queries):
        panel.with_target(target(query, number).range())
    return told(panel, text)


def cells(text: Text, expr: str, unit: str) -> heatmap.Panel:
    """Return a heatmap of a histogram over time: how many values fell into which bucket."""
    colour = (
        heatmap.HeatmapColorOptions()
        .mode(heat.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heat.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.2)  # one anomaly beside a thousand normal records is still seen
        .steps(64)
        .fill("dark-orange")
    )
    panel = (
        heatmap.Panel()
        .unit("short")
        .show_value(looks.VisibilityMode.NEVER)
        .calculate(False)
        .color(colour)
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(looks.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("short"))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.AUTO))
        .show_legend()
        .mode(looks.TooltipDisplayMode.SINGLE)
        .with_target(target(Query(expr, "{{le}}")).range().format(PromQueryFormat.HEATMAP))
    )
    return told(panel, text)


def bars(text: Text, query: Query, *, unit: str = "short", buckets: bool = False) -> bargauge.Panel:
    """Return one horizontal bar for each series, as things stand at the end of the shown time.

    With ``buckets`` the series are those of a histogram, and a bar is what fell into one bucket.
    """
    shape = PromQueryFormat.HEATMAP if buckets else PromQueryFormat.TIME_SERIES
    panel = (
        bargauge.Panel()
        .unit(unit)
        .min(0)
        .thresholds(thresholds((), BLUE))
        .color_scheme(color(FieldColorModeId.THRESHOLDS))
        .no_value("none")
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .value_mode(looks.BarGaugeValueMode.TEXT)
        .show_unfilled(False)
        .sizing(looks.BarGaugeSizing.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(target(query).instant().format(shape))
    )
    return told(panel, text)


def timeline(text: Text, query: Query, words: Words) -> statetimeline.Panel:
    """Return one strip for each series, coloured by its state over time."""
    panel = (
        statetimeline.Panel()
        .color_scheme(color(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds((), GREY))
        .mappings([mapping(words)])
        .show_value(looks.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .legend(common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM))
        .tooltip(tooltip())
        .with_target(target(query).range())
    )
    return told(panel, text)
