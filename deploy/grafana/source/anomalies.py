"""The dashboard on what was found: how much, how strange, and what came of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, timeseries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.boards import Row, board
from deploy.grafana.source.outcome import outcome
from deploy.grafana.source.panels import bars, cells, graph, stat
from deploy.grafana.source.queries import highest, increase, of, quantile, rate, since, total
from deploy.grafana.source.shared import firing
from deploy.grafana.source.style import BLUE, GREEN, GREY, ORANGE, RED, Looks, Query, Text
from vaeiso_monitor.telemetry import catalogue as metrics

_SHARES = ((0.5, "half below"), (0.99, "99 % below"), (0.999, "99.9 % below"))


def anomalies() -> Dashboard:
    """Return the dashboard."""
    states = (_budget(), _regime(), _flood(), _episodes(), _last(), _precision())
    return board(
        "vaeiso-anomalies",
        "vaeiso_monitor / Anomalies",
        "What was found in the stream: how much of it, how strange it is, and what came of it.",
        [
            Row("What is wrong", [(4, [(4, each) for each in states]), (6, [(24, firing())])]),
            Row("How many", [(9, [(12, _found()), (12, _share())])]),
            Row(
                "How strange",
                [(10, [(15, _over_time()), (9, _here())]), (10, [(15, _nats()), (9, _blamed())])],
            ),
            outcome(),
        ],
    )


def _budget() -> stats.Panel:
    return stat(
        Text(
            "Alert rate against its budget",
            "Share of anomalies among recent records over the share promised. About 1 while all is "
            "well; far above for long, the plant has changed or the model is bad.",
            "alerts.md#the-regime-shift",
        ),
        highest(f"{of(metrics.ALERT_RATE)} / {of(metrics.ALERT_BUDGET)}"),
        unit="suffix: x",
        steps=[(3, ORANGE), (10, RED)],
        nothing="no records",
        decimals=1,
    )


def _regime() -> stats.Panel:
    return stat(
        Text(
            "Normal itself",
            "Shifted: for a while far more records than the budget allows were over the line. "
            "Either something is wrong on a large scale, or there is a new normal to adopt.",
            "alerts.md#the-regime-shift",
        ),
        highest(of(metrics.REGIME_SHIFT)),
        words={0: ("as trained", GREEN), 1: ("shifted", RED)},
        nothing="no daemon",
    )


def _flood() -> stats.Panel:
    return stat(
        Text(
            "Flood",
            "So many entities raise alerts at once that they are told as one.",
            "alerts.md#episodes",
        ),
        highest(of(metrics.ALERT_FLOOD)),
        words={0: ("no", GREEN), 1: ("flood", RED)},
        nothing="no daemon",
    )


def _episodes() -> stats.Panel:
    return stat(
        Text(
            "Episodes going on",
            "Entities that raise one alert after the other now.",
            "alerts.md#episodes",
        ),
        total(of(metrics.EPISODES_OPEN)),
        steps=[(1, ORANGE)],
        nothing="no daemon",
    )


def _last() -> stats.Panel:
    return stat(
        Text(
            "Since the last anomaly",
            "Time since a record was last over the alert line.",
            "alerts.md#the-alert",
        ),
        since(metrics.LAST_ALERT),
        unit="s",
        nothing="none yet",
        quiet=BLUE,
        decimals=0,
    )


def _precision() -> stats.Panel:
    return stat(
        Text(
            "Alerts that people call right",
            "Share of anomalies among the remembered alerts that a person judged.",
            "operations.md#window-and-feedback",
        ),
        f"avg({of(metrics.FEEDBACK_PRECISION)})",
        unit="percentunit",
        nothing="none judged",
        quiet=BLUE,
        decimals=0,
    )


def _found() -> timeseries.Panel:
    return graph(
        Text(
            "Anomalies per second",
            "Records over the alert line, by severity; critical is an anomaly score of at least 2.",
            "alerts.md#severity",
        ),
        [Query(total(rate(metrics.ANOMALIES), "severity"), "{{severity}}")],
        Looks(unit="cps", bars=True, stacked=True, colours={"warning": ORANGE, "critical": RED}),
    )


def _share() -> timeseries.Panel:
    lines = {"budget": GREY, "regime shift above": RED}
    return graph(
        Text(
            "Share of anomalies",
            "Among the last 100,000 records, or those of the last hour. The budget is what was "
            "promised for normal records; the red line is where an interval counts as shifted.",
            "alerts.md#the-regime-shift",
        ),
        [
            Query(highest(of(metrics.ALERT_RATE), "instance"), "{{instance}}"),
            Query(highest(of(metrics.ALERT_BUDGET)), "budget"),
            Query(highest(of(metrics.REGIME_LINE)), "regime shift above"),
        ],
        Looks(unit="percentunit", log=10, colours=lines, dashed=[*lines]),
    )


def _over_time() -> heatmap.Panel:
    buckets = increase(metrics.ANOMALY_SCORE, part="_bucket", over="$__rate_interval")
    return cells(
        Text(
            "Scores over time",
            "How many records fell into which bucket of the anomaly score. 1 is the alert line, "
            "2 is critical; a model that fits has nearly all of its records well below 1.",
            "score.md#the-alert-line",
        ),
        total(buckets, "le"),
        "none",
    )


def _here() -> bargauge.Panel:
    return bars(
        Text(
            "Scores in the shown time",
            "The same records, one bar a bucket; the number is the upper end of the bucket. A heap "
            "just under 1 means that many records are nearly anomalies.",
            "score.md#the-alert-line",
        ),
        Query(total(increase(metrics.ANOMALY_SCORE, part="_bucket"), "le"), "{{le}}"),
        buckets=True,
    )


def _nats() -> timeseries.Panel:
    line = {"alert line": RED}
    return graph(
        Text(
            "Scores in nats against the alert line",
            "Negative log-likelihood. When the half-way line rises towards the alert line, not "
            "single records but all have become stranger.",
            "score.md#the-score",
        ),
        [
            *(Query(quantile(metrics.NATS, share), name) for share, name in _SHARES),
            Query(highest(of(metrics.THRESHOLD_NATS)), "alert line"),
        ],
        Looks(
            unit="suffix: nats", minimum=None, log=10, linear_to=10, colours=line, dashed=[*line]
        ),
    )


def _blamed() -> bargauge.Panel:
    worst = f"topk(10, {total(increase(metrics.BLAMED), 'feature')} > 0)"
    return bars(
        Text(
            "Which columns were to blame",
            "Anomalies in the shown time by the column that added most to the score, the ten most "
            "frequent ones.",
            "alerts.md#fields-of-a-feature",
        ),
        Query(f"sort_desc({worst})", "{{feature}}"),
    )
