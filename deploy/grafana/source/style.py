"""What a panel is said to be, and the small parts of its looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, ORANGE, RED, BLUE, PURPLE, GREY = "green", "orange", "red", "blue", "purple", "#8e8e8e"

Steps = Sequence[tuple[float, str]]  # from this value on, this colour
Words = Mapping[Any, tuple[str, str]]  # what a value is called, and its colour
P = TypeVar("P", bound=Any)


@dataclass(frozen=True, slots=True)
class Text:
    """What is said about a panel: title, description, the place in docs/ that says more."""

    title: str
    description: str
    page: str


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and what its series are called in the legend."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Looks:
    """How a graph differs from the plain one.

    ``log`` is the base of a logarithmic axis; with ``linear_to`` the values up to it, on both
    sides of 0, are linear. ``nothing`` stands there where nothing is to be shown. ``colours`` and
    ``dashed`` name series by their legend. ``steps`` draws lines at fixed values. ``right`` names a
    series with an axis of its own at the right, and its unit.
    """

    unit: str = "short"
    stacked: bool = False
    bars: bool = False
    stairs: bool = False
    log: int = 0
    linear_to: float = 0
    nothing: str = ""
    minimum: float | None = 0
    maximum: float | None = None
    colours: Mapping[str, str] | None = None
    dashed: Sequence[str] = ()
    steps: Steps = ()
    right: tuple[str, str] | None = None


def told(panel: P, text: Text) -> P:
    """Say on a panel what it shows, and which page says more."""
    # `vaeiso-monitor dashboards --docs` makes a link of the last words
    told = f"{text.description} More: docs/{text.page}"
    panel.title(text.title).description(told).datasource(PROMETHEUS)
    return panel


def target(query: Query, number: int = 0) -> prometheus.Dataquery:
    """Return a query as Grafana keeps it; ``number`` gives its letter."""
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    return target.datasource(PROMETHEUS).ref_id(chr(ord("A") + number))


def thresholds(steps: Steps, quiet: str) -> dashboard.ThresholdsConfig:
    """Return colours from values on; ``quiet`` is the colour below the first."""
    listed = [Threshold(None, quiet), *(Threshold(value, colour) for value, colour in steps)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(listed)


def mapping(words: Words) -> ValueMap:
    """Return words in the place of values."""
    return ValueMap(
        {
            str(value): ValueMappingResult(text=said, color=colour, index=place)
            for place, (value, (said, colour)) in enumerate(words.items())
        }
    )


def color(mode: FieldColorModeId) -> dashboard.FieldColor:
    """Return how series get their colours."""
    return dashboard.FieldColor().mode(mode)


def legend() -> common.VizLegendOptions:
    """Return a legend with the last and the largest value of each series."""
    shown = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"])
    shown.display_mode(looks.LegendDisplayMode.TABLE)
    return shown.placement(looks.LegendPlacement.BOTTOM)


def tooltip() -> common.VizTooltipOptions:
    """Return a tooltip with all series, the largest first."""
    shown = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI)
    return shown.sort(looks.SortOrder.DESCENDING)


def interpolation(look: Looks) -> looks.LineInterpolation:
    """Return how points are joined."""
    kind = looks.LineInterpolation
    return kind.STEP_AFTER if look.stairs else kind.LINEAR


def stacking(look: Looks) -> looks.StackingMode:
    """Return whether series stand on each other."""
    return looks.StackingMode.NORMAL if look.stacked else looks.StackingMode.NONE


def scale(look: Looks) -> common.ScaleDistributionConfig:
    """Return the scale of the axis."""
    kind, scale = looks.ScaleDistribution, common.ScaleDistributionConfig()
    if look.linear_to:
        return scale.type(kind.SYMLOG).log(look.log).linear_threshold(look.linear_to)
    return scale.type(kind.LOG).log(look.log) if look.log else scale.type(kind.LINEAR)


def lines(steps: Steps) -> looks.GraphThresholdsStyleMode:
    """Return whether thresholds are drawn."""
    mode = looks.GraphThresholdsStyleMode
    return mode.DASHED if steps else mode.OFF


def fixed(colour: str) -> DynamicConfigValue:
    """Return a colour for one series."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def override(panel: timeseries.Panel, look: Looks) -> None:
    """Give single series their colour, their dashes, their axis."""
    dash = {"fill": "dash", "dash": [8, 6]}
    for name, colour in (look.colours or {}).items():
        changes = [fixed(colour)]
        if name in look.dashed:
            changes.append(DynamicConfigValue("custom.lineStyle", dash))
            changes.append(DynamicConfigValue("custom.fillOpacity", 0))
        panel.override_by_name(name, changes)
    if look.right:
        name, unit = look.right
        placed = DynamicConfigValue("custom.axisPlacement", "right")
        panel.override_by_name(name, [placed, DynamicConfigValue("unit", unit)])
