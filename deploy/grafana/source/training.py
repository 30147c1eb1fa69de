"""Rows on what the model learns from: inputs, trainings, the gate, the window."""

from __future__ import annotations

from grafana_foundation_sdk.builders import statetimeline, table, timeseries

from deploy.grafana.source.boards import Row
from deploy.grafana.source.panels import graph, timeline
from deploy.grafana.source.queries import highest, of, since, total
from deploy.grafana.source.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Looks, Query, Text
from deploy.grafana.source.tables import Column, sheet
from vaeiso_monitor.telemetry import catalogue as metrics

_OF_COLUMNS = (
    metrics.INPUT_PSI,
    metrics.INPUT_MISSING,
    metrics.INPUT_UNSEEN,
    metrics.INPUT_OUT_OF_RANGE,
    metrics.INPUT_DRIFTED,
)


def inputs() -> Row:
    """Return the row that compares recent records with training, column by column."""
    return Row("Are the inputs as in training", [(10, [(11, _psi()), (13, _columns())])])


def trainings() -> Row:
    """Return the row on trainings beside the scoring, and on the gate."""
    return Row(
        "Training and the gate",
        [(9, [(12, _served()), (12, _checks())]), (9, [(12, _ends()), (12, _figures())])],
    )


def past() -> Row:
    """Return the row on what is kept to train from, and how long training takes."""
    return Row("What it learns from", [(8, [(8, _progress()), (8, _rows()), (8, _times())])])


def _psi() -> timeseries.Panel:
    largest = highest(f"avg_over_time({of(metrics.INPUT_PSI)}[$__range] @ end())", "feature")
    psi = highest(of(metrics.INPUT_PSI), "feature")
    return graph(
        Text(
            "Population stability index, the ten largest",
            "Each column of recent records against training, the ten that are the farthest off in "
            "the shown time. By custom under 0.1 is nothing, and over 0.25 (dashed; the default of "
            "`drift.inputs.psi`) a shift, if it is more than chance.",
            "drift.md#the-inputs",
        ),
        [Query(f"{psi} and topk(10, {largest})", "{{feature}}")],
        Looks(unit="none", steps=[(0.25, ORANGE)], nothing="not checked yet"),
    )


def _columns() -> table.Panel:
    verdict = {0: ("no", "transparent"), 1: ("drifted", RED)}
    listed = [
        Column("feature", "Column"),
        Column("Value #E", "Drifted", cell="background", words=verdict, width=90),
        Column("Value #A", "PSI", "none", "bar"),
        Column("Value #B", "Missing", "percentunit", width=90),
        Column("Value #C", "Unseen", "percentunit", width=90),
        Column("Value #D", "Out of range", "percentunit", width=110),
    ]
    return sheet(
        Text(
            "Columns of recent records against training",
            "Distance of the distribution, and the shares of missing values, of categories that "
            "training did not show, and of numbers outside of its range.",
            "drift.md#the-inputs",
        ),
        [highest(of(part), "feature") for part in _OF_COLUMNS],
        listed,
        join="feature",
        order=("PSI", True),
        nothing="not checked yet",
    )


def _served() -> statetimeline.Panel:
    return timeline(
        Text(
            "Which model served",
            "One strip for each version; its name is the time of its training and a hash.",
            "operations.md#retraining",
        ),
        Query(highest(of(metrics.MODEL_INFO), "version"), "{{version}}"),
        {1: ("serving", PURPLE)},
    )


def _checks() -> statetimeline.Panel:
    return timeline(
        Text(
            "What the gate checked",
            "Each check of the last candidate. One that fails rejects it.",
            "operations.md#the-gate",
        ),
        Query(f"min by (check) ({of(metrics.GATE_CHECK)})", "{{check}}"),
        {0: ("failed", RED), 1: ("passed", GREEN)},
    )


def _ends() -> timeseries.Panel:
    ended = total(of(metrics.RETRAINS), "status", "reason")
    return graph(
        Text(
            "Trainings since the start",
            "What came of them and why they were asked for. Rejected or failed again and again is "
            "for a person to look at.",
            "operations.md#retraining",
        ),
        [Query(f"{ended} > 0", "{{status}}: {{reason}}")],
        Looks(unit="none", stairs=True, nothing="none yet"),
    )


def _figures() -> table.Panel:
    return sheet(
        Text(
            "What the gate measured",
            "Figures of the last candidate against the serving model.",
            "operations.md#the-gate",
        ),
        [highest(of(metrics.GATE_FIGURE), "figure")],
        [Column("figure", "Figure"), Column("Value", "Value", "none", width=160)],
        order=("Figure", False),
        nothing="no candidate yet",
    )


def _progress() -> timeseries.Panel:
    return graph(
        Text(
            "Warm-up and training",
            "Share of the records for the first training that are there, and of the running "
            "training that is done.",
            "operations.md#start",
        ),
        [
            Query(f"min({of(metrics.WARMUP_ROWS)} / {of(metrics.WARMUP_REQUIRED)})", "warm-up"),
            Query(highest(of(metrics.TRAINING_PROGRESS)), "training"),
            Query(highest(of(metrics.RETRAIN_IN_PROGRESS)), "a training runs"),
        ],
        Looks(
            unit="percentunit",
            maximum=1,
            stairs=True,
            colours={"warm-up": GREEN, "training": BLUE, "a training runs": GREY},
        ),
    )


def _rows() -> timeseries.Panel:
    return graph(
        Text(
            "Records kept for training",
            "Normal ones, a sample of all, and those that a person called normal.",
            "operations.md#window-and-feedback",
        ),
        [Query(total(of(metrics.WINDOW_ROWS), "kind"), "{{kind}}")],
    )


def _times() -> timeseries.Panel:
    checked = f"time() - min by (kind) ({of(metrics.DRIFT_CHECKED)})"
    return graph(
        Text(
            "How long it takes, and how long ago it was",
            "Duration of the last training with its judgement, and time since a model was promoted "
            "and since the model and its inputs were measured.",
            "operations.md#retraining",
        ),
        [
            Query(highest(of(metrics.RETRAIN_DURATION)), "last training took"),
            Query(since(metrics.LAST_RETRAIN_SUCCESS), "since a model was promoted"),
            Query(checked, "since {{kind}} was checked"),
        ],
        Looks(unit="s", log=10),
    )
