"""Tables: instant queries joined by a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.style import (
    BLUE,
    GREEN,
    Query,
    Steps,
    Text,
    Words,
    mapping,
    target,
    thresholds,
    told,
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its field, title, unit, and how a cell shows its value.

    ``cell`` is plain, bar (from 0 to ``maximum``), background (coloured by ``steps`` or ``words``)
    or link (to ``url``).
    """

    field: str
    title: str
    unit: str = "short"
    cell: str = "plain"
    maximum: float | None = None
    steps: Steps = ()
    words: Words | None = None
    url: str = ""
    width: int = 0


def sheet(
    text: Text,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    join: str = "",
    order: tuple[str, bool] | None = None,
    nothing: str = "none",
) -> table.Panel:
    """Return a table of instant queries, joined by a label where there are several.

    The columns come in the order given; ``order`` is the title to sort by, and True for downwards.
    """
    panel = table.Panel().no_value(nothing).show_header(True).filterable(False)
    panel.thresholds(thresholds((), "transparent"))
    for number, expr in enumerate(queries):
        panel.with_target(target(Query(expr), number).instant().format(PromQueryFormat.TABLE))
    if len(queries) > 1:
        joined = {"byField": join, "mode": "outer"}
        panel.with_transformation(DataTransformerConfig("joinByField", options=joined))
    kept = {"include": {"names": [column.field for column in columns]}}
    panel.with_transformation(DataTransformerConfig("filterFieldsByName", options=kept))
    places = {column.field: place for place, column in enumerate(columns)}
    titles = {column.field: column.title for column in columns}
    arranged = {"excludeByName": {}, "indexByName": places, "renameByName": titles}
    panel.with_transformation(DataTransformerConfig("organize", options=arranged))
    for column in columns:
        panel.override_by_name(column.title, _cell(column))
    if order:
        panel.sort_by([common.TableSortByFieldState().display_name(order[0]).desc(order[1])])
    return told(panel, text)


def _cell(column: Column) -> list[DynamicConfigValue]:
    changes = [DynamicConfigValue("unit", column.unit)]
    if column.width:
        changes.append(DynamicConfigValue("custom.width", column.width))
    match column.cell:
        case "bar":
            gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
            changes += [
                DynamicConfigValue("custom.cellOptions", gauge),
                DynamicConfigValue("min", 0),
            ]
            changes.append(DynamicConfigValue("thresholds", thresholds((), BLUE).build()))
        case "background":
            shown = {"type": "color-background", "mode": "basic"}
            changes.append(DynamicConfigValue("custom.cellOptions", shown))
            quiet = GREEN if column.steps else "transparent"
            steps = thresholds(column.steps, quiet).build()
            changes.append(DynamicConfigValue("thresholds", steps))
        case "link":
            there = {"title": "Open", "url": column.url, "targetBlank": True}
            changes.append(DynamicConfigValue("links", [there]))
        case _:
            pass
    if column.maximum is not None:
        changes.append(DynamicConfigValue("max", column.maximum))
    if column.words:
        changes.append(DynamicConfigValue("mappings", [mapping(column.words)]))
    return changes
