"""The dashboard on the daemon itself: does it run, keep up, deliver, and with what means."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.boards import Row, board
from deploy.grafana.source.machine import PEERS, daemons, means, peers, times
from deploy.grafana.source.panels import graph, stat
from deploy.grafana.source.queries import highest, increase, of, rate, total
from deploy.grafana.source.shared import firing
from deploy.grafana.source.style import BLUE, GREEN, GREY, ORANGE, RED, Looks, Query, Text
from vaeiso_monitor.telemetry import catalogue as metrics

_STATES = {
    "running": GREEN,
    "warming_up": ORANGE,
    "training": ORANGE,
    "failed": RED,
}


def service() -> Dashboard:
    """Return the dashboard."""
    return board(
        "vaeiso-service",
        "vaeiso_monitor / Service",
        "The daemon itself: whether it runs and keeps up, whether what it finds arrives, where the "
        "time goes, and what it needs.",
        [_wrong(), _flow(), _refused(), times(), peers(), means(), daemons()],
    )


def _wrong() -> Row:
    panels = (_scraped(), _ready(), _stalled(), _behind(), _links(), _errors())
    return Row("What is wrong", [(4, [(4, each) for each in panels]), (6, [(24, firing())])])


def _scraped() -> stats.Panel:
    return stat(
        Text(
            "Daemons that answer",
            "Share of the daemons known to Prometheus that its last scrape reached.",
            "runbooks.md",
        ),
        'avg(up{job=~"$job", instance=~"$instance"})',
        unit="percentunit",
        steps=[(1, GREEN)],
        quiet=RED,
        nothing="none is known",
        decimals=0,
    )


def _ready() -> stats.Panel:
    return stat(
        Text(
            "State",
            "What the daemons are doing. All is well while they run; a daemon that is warming up "
            "has no model yet and scores nothing.",
            "operations.md#start",
        ),
        f"{total(of(metrics.STATE), 'state')} > 0",
        legend="{{state}}",
        colours=_STATES,
        nothing="no daemon",
        quiet=BLUE,
    )


def _stalled() -> stats.Panel:
    return stat(
        Text(
            "Longest stall",
            "Time since the slowest partition moved on or was known to be fully read.",
            "operations.md#kafka",
        ),
        highest(of(metrics.PROGRESS_AGE)),
        unit="s",
        steps=[(60, ORANGE), (300, RED)],
        nothing="no partition",
        decimals=0,
    )


def _behind() -> stats.Panel:
    return stat(
        Text(
            "Behind by",
            "How long the records that are still to be read take at the present rate.",
            "operations.md#kafka",
        ),
        f"{total(of(metrics.CONSUMER_LAG))} / {total(rate(metrics.RECORDS_RECEIVED))}",
        unit="s",
        steps=[(60, ORANGE), (600, RED)],
        nothing="unknown",
        decimals=1,
    )


def _links() -> stats.Panel:
    return stat(
        Text(
            "Source and sinks",
            "Down: the last exchange with one of them failed. Nothing is lost meanwhile: what was "
            "not delivered is not committed.",
            "alerts.md#delivery",
        ),
        f"min({PEERS})",
        words={0: ("one is down", RED), 1: ("all are up", GREEN)},
        nothing="no daemon",
    )


def _errors() -> stats.Panel:
    parts = (metrics.SOURCE_ERRORS, metrics.WINDOW_ERRORS, metrics.LIFECYCLE_ERRORS)
    errors = " or ".join(increase(part, over="1h") for part in parts)
    failed = increase(metrics.ALERTS_SENT, 'status="failed"', over="1h")
    return stat(
        Text(
            "Errors in the last hour",
            "Exchanges with the source that failed, alerts that could not be delivered, writes of "
            "the window that failed, and tasks of the clock that broke off.",
            "operations.md#troubleshooting",
        ),
        f"sum({errors} or {failed})",
        steps=[(1, ORANGE), (10, RED)],
        nothing="no daemon",
        decimals=0,
    )


def _flow() -> Row:
    return Row(
        "Does it keep up",
        [(8, [(12, _records()), (12, _lag())]), (8, [(12, _stall()), (12, _late())])],
    )


def _records() -> timeseries.Panel:
    return graph(
        Text(
            "Records per second",
            "Received = scored + rejected + waiting, always.",
            "metrics.md#catalogue",
        ),
        [
            Query(total(rate(metrics.RECORDS_RECEIVED)), "received"),
            Query(total(rate(metrics.RECORDS_SCORED)), "scored"),
            Query(total(rate(metrics.RECORDS_REJECTED)), "rejected"),
        ],
        Looks(unit="cps", colours={"received": GREY, "scored": GREEN, "rejected": RED}),
    )


def _lag() -> timeseries.Panel:
    return graph(
        Text(
            "Records still to be read",
            "Of each partition, where the source knows. A lag that only grows needs another member "
            "of the group.",
            "operations.md#kafka",
        ),
        [
            Query(total(of(metrics.CONSUMER_LAG), "topic", "partition"), "{{topic}}/{{partition}}"),
            Query(total(of(metrics.RECORDS_WAITING)), "read, not scored"),
        ],
    )


def _stall() -> timeseries.Panel:
    partition = highest(of(metrics.PROGRESS_AGE), "topic", "partition")
    return graph(
        Text(
            "Time since a partition moved on",
            "A saw-tooth near 0 is good. A straight line upwards is a stall: records wait and none "
            "is read. The loop of a daemon turns about once a second.",
            "operations.md#kafka",
        ),
        [
            Query(partition, "{{topic}}/{{partition}}"),
            Query(highest(of(metrics.HEARTBEAT_AGE), "instance"), "loop of {{instance}}"),
        ],
        Looks(unit="s"),
    )


def _late() -> timeseries.Panel:
    return graph(
        Text(
            "Age of the latest record",
            "Between the time in the latest record and now: how late an alert comes. Only where "
            "the schema names a time.",
            "metrics.md#catalogue",
        ),
        [Query(highest(of(metrics.EVENT_TIME_LAG), "source"), "{{source}}")],
        Looks(unit="s", minimum=None, nothing="no time in the records"),
    )


def _refused() -> Row:
    return Row("What does not fit", [(8, [(8, _reasons()), (8, _dead()), (8, _constants())])])


def _reasons() -> timeseries.Panel:
    of_all = f"on () group_left () ({total(rate(metrics.RECORDS_RECEIVED))} > 0)"
    refused = f"({total(rate(metrics.RECORDS_REJECTED), 'reason')} > 0)"
    return graph(
        Text(
            "Share of records that do not fit",
            "By reason. They go to the dead letters with it.",
            "records.md#what-is-rejected",
        ),
        [
            Query(f"{refused} / {of_all}", "{{reason}}"),
        ],
        Looks(unit="percentunit", stacked=True, nothing="all records fit"),
    )


def _dead() -> timeseries.Panel:
    return graph(
        Text("Dead letters delivered", "Per second, by sink.", "alerts.md#the-dead-letter"),
        [Query(total(rate(metrics.DEAD_LETTERS_SENT), "sink", "status"), "{{sink}} {{status}}")],
        Looks(unit="cps"),
    )


def _constants() -> timeseries.Panel:
    return graph(
        Text(
            "Constants that changed",
            "Records per second in which a column differs that was constant in training, and so is "
            "not scored.",
            "records.md#constants",
        ),
        [Query(total(rate(metrics.DEPARTED)), "records")],
        Looks(unit="cps"),
    )
