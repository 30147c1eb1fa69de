"""The row on what came of the anomalies: episodes, deliveries, summaries, verdicts."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from deploy.grafana.source.boards import Row
from deploy.grafana.source.panels import graph
from deploy.grafana.source.queries import increase, of, rate, total
from deploy.grafana.source.style import GREEN, GREY, RED, Looks, Query, Text
from vaeiso_monitor.telemetry import catalogue as metrics


def outcome() -> Row:
    """Return the row."""
    lines = [(8, [(12, _begun()), (12, _sent())]), (8, [(12, _spared()), (12, _judged())])]
    return Row("What came of them", lines)


def _begun() -> timeseries.Panel:
    return graph(
        Text(
            "Episodes",
            "Alerts of one entity in a row: how many go on, and how many began.",
            "alerts.md#episodes",
        ),
        [
            Query(total(of(metrics.EPISODES_OPEN)), "going on"),
            Query(total(increase(metrics.EPISODES_BEGUN, over="$__rate_interval")), "began"),
        ],
        Looks(stairs=True),
    )


def _sent() -> timeseries.Panel:
    return graph(
        Text(
            "Alerts delivered",
            "Alerts and summaries per second handed to each sink. Failed ones are tried again "
            "until the deadline of the sink; then the daemon ends rather than lose them.",
            "alerts.md#delivery",
        ),
        [Query(total(rate(metrics.ALERTS_SENT), "sink", "status"), "{{sink}} {{status}}")],
        Looks(unit="cps"),
    )


def _spared() -> timeseries.Panel:
    return graph(
        Text(
            "Told in a summary instead",
            "Alerts per second that were counted in a summary, for sinks that want episodes: "
            "within an episode that was told already (cooldown), or in a flood.",
            "alerts.md#episodes",
        ),
        [Query(total(rate(metrics.ALERTS_SUPPRESSED), "reason"), "{{reason}}")],
        Looks(unit="cps", stacked=True),
    )


def _judged() -> timeseries.Panel:
    return graph(
        Text(
            "What people said of them",
            "How many of the remembered alerts a person called normal or an anomaly.",
            "operations.md#window-and-feedback",
        ),
        [
            Query(total(of(metrics.FEEDBACK_VERDICTS), "verdict"), "{{verdict}}"),
            Query(total(of(metrics.HISTORY_ALERTS)), "remembered (right)"),
        ],
        Looks(
            stairs=True,
            colours={"normal": GREEN, "anomaly": RED, "remembered (right)": GREY},
            right=("remembered (right)", "short"),
        ),
    )
