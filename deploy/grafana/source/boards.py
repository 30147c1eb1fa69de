"""What all dashboards share: variables, links between them, annotations, rows on the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.source.queries import of
from deploy.grafana.source.style import ORANGE, PROMETHEUS, PURPLE
from vaeiso_monitor.telemetry import catalogue as metrics

TAG = "vaeiso-monitor"
GRID = 24  # columns of Grafana's grid


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the dashboard: panels of one height, each with its width (24 are all there is)."""

    title: str
    lines: Sequence[tuple[int, Sequence[tuple[int, Any]]]]


def board(uid: str, title: str, description: str, rows: Sequence[Row]) -> Dashboard:
    """Return a dashboard."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .links([*_links()])
    )
    for variable in _variables():
        built.with_variable(variable)
    for annotation in _annotations():
        built.annotation(annotation)
    _place(built, rows)
    return built.build()


def _variables() -> list[Any]:
    known = of(metrics.BUILD_INFO).replace(', instance=~"$instance"', "")
    everything = VariableOption(selected=True, text="All", value="$__all")
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    job = _values("job", "Job", f"label_values({metrics.BUILD_INFO.name}, job)")
    instance = _values("instance", "Daemon", f"label_values({known}, instance)")
    for variable in (job, instance):
        variable.multi(True).include_all(True).current(everything)
    return [source, job, instance]


def _values(name: str, label: str, query: str) -> dashboard.QueryVariable:
    asked = {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery", "qryType": 1}
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(asked)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _links() -> list[dashboard.DashboardLink]:
    others = dashboard.DashboardLink("vaeiso_monitor").type(DashboardLinkType.DASHBOARDS)
    others.tags([TAG]).include_vars(True).keep_time(True).as_dropdown(False)
    return [others]


def _annotations() -> list[dashboard.AnnotationQuery]:
    grafana = DataSourceRef(type_val="grafana", uid="-- Grafana --")
    by_hand = dashboard.AnnotationQuery().name("Annotations & Alerts").datasource(grafana)
    by_hand.built_in(1).enable(True).hide(True).type("dashboard").icon_color("rgba(0, 211, 255, 1)")
    swapped = f"changes({of(metrics.MODEL_LOADED)}[$__rate_interval]) > 0"
    return [
        by_hand,
        _event("Another model serves", swapped, PURPLE),
        _event("Regime shift", f"{of(metrics.REGIME_SHIFT)} == 1", ORANGE),
    ]


def _event(name: str, expr: str, colour: str) -> dashboard.AnnotationQuery:
    event = dashboard.AnnotationQuery().name(name).expr(expr).datasource(PROMETHEUS)
    return event.enable(True).icon_color(colour)


def _place(built: dashboard.Dashboard, rows: Sequence[Row]) -> None:
    """Put the panels on the grid, line by line, and number them."""
    y = number = 0
    for row in rows:
        number += 1
        built.with_row(dashboard.Row(row.title).id(number).grid_pos(GridPos(h=1, w=GRID, x=0, y=y)))
        y += 1
        for height, panels in row.lines:
            x = 0
            for width, panel in panels:
                number += 1
                built.with_panel(panel.id(number).grid_pos(GridPos(h=height, w=width, x=x, y=y)))
                x += width
            y += height
