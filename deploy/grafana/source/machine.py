"""Rows on the daemon as a machine: where time goes, peers, processor and memory, versions."""

from __future__ import annotations

from grafana_foundation_sdk.builders import statetimeline, table, timeseries

from deploy.grafana.source.boards import Row
from deploy.grafana.source.panels import graph, timeline
from deploy.grafana.source.queries import highest, of, quantile, rate, total
from deploy.grafana.source.style import GREEN, ORANGE, RED, Looks, Query, Text
from deploy.grafana.source.tables import Column, sheet
from vaeiso_monitor.telemetry import catalogue as metrics

PEERS = f"{of(metrics.SOURCE_CONNECTED)} or {of(metrics.SINK_CONNECTED)}"
_YES = {0: ("no", RED), 1: ("yes", GREEN)}


def times() -> Row:
    """Return the row on what the loop does all the time."""
    return Row("Where the time goes", [(9, [(8, _stages()), (8, _slowest()), (8, _sizes())])])


def peers() -> Row:
    """Return the row on the source and the sinks."""
    return Row("Connections and failures", [(8, [(12, _connections()), (12, _failures())])])


def means() -> Row:
    """Return the row on processor and memory, and on how near they are to their limits."""
    return Row("What it needs", [(8, [(8, _processor()), (8, _memory()), (8, _limits())])])


def daemons() -> Row:
    """Return the row that lists the daemons."""
    return Row("Daemons", [(7, [(24, _list())])])


def _stages() -> timeseries.Panel:
    spent = total(rate(metrics.STAGE_DURATION, part="_sum"), "stage")
    return graph(
        Text(
            "Share of the time by stage",
            "Seconds per second that the loop spends in each stage. Poll, in grey, is mostly the "
            "wait for records: little of it means that the loop has no time to spare. Score is "
            "the wait for the device.",
            "metrics.md#catalogue",
        ),
        [Query(f"{spent} > 0", "{{stage}}")],
        Looks(unit="percentunit", stacked=True, colours={"poll": "#d0d0d0"}),
    )


def _slowest() -> timeseries.Panel:
    return graph(
        Text(
            "The slowest hundredth of batches",
            "99th percentile of the time that a batch spends in a stage.",
            "metrics.md#catalogue",
        ),
        [Query(quantile(metrics.STAGE_DURATION, 0.99, "stage"), "{{stage}}")],
        Looks(unit="s", log=10),
    )


def _sizes() -> timeseries.Panel:
    return graph(
        Text(
            "Records in a batch",
            "Full batches (`pipeline.batch_records`) mean that it catches up with a backlog.",
            "metrics.md#catalogue",
        ),
        [
            Query(quantile(metrics.BATCH_SIZE, 0.5), "half below"),
            Query(quantile(metrics.BATCH_SIZE, 0.99), "99 % below"),
        ],
    )


def _connections() -> statetimeline.Panel:
    return timeline(
        Text(
            "Connections",
            "Whether the last exchange with the source and with each sink worked.",
            "alerts.md#delivery",
        ),
        Query(f"min by (source, sink) ({PEERS})", "{{source}}{{sink}}"),
        {0: ("down", RED), 1: ("up", GREEN)},
    )


def _failures() -> timeseries.Panel:
    failed = total(rate(metrics.ALERTS_SENT, 'status="failed"'), "sink")
    return graph(
        Text(
            "Failures per second",
            "Exchanges with the source that failed; deliveries that failed; writes of the window "
            "that failed; tasks of the clock that broke off.",
            "operations.md#troubleshooting",
        ),
        [
            Query(total(rate(metrics.SOURCE_ERRORS), "source"), "source {{source}}"),
            Query(total(rate(metrics.WINDOW_ERRORS)), "window"),
            Query(total(rate(metrics.LIFECYCLE_ERRORS)), "tasks of the clock"),
            Query(failed, "alerts to {{sink}}"),
        ],
        Looks(unit="cps"),
    )


def _processor() -> timeseries.Panel:
    return graph(
        Text(
            "Processor",
            "Cores that the daemon keeps busy; the training process is not among them.",
            "operations.md#memory-and-speed",
        ),
        [Query(highest(rate("process_cpu_seconds_total"), "instance"), "{{instance}}")],
        Looks(unit="none"),
    )


def _memory() -> timeseries.Panel:
    parts = (
        ("process_resident_memory_bytes", "{{instance}}"),
        (metrics.TRAINER_MEMORY, "training of {{instance}}"),
        (metrics.GPU_MEMORY, "GPU of {{instance}}"),
    )
    return graph(
        Text(
            "Memory",
            "Resident memory of the daemon and of its training, and what is held on the GPU.",
            "operations.md#memory-and-speed",
        ),
        [Query(highest(of(part), "instance"), name) for part, name in parts],
        Looks(unit="bytes"),
    )


def _limits() -> timeseries.Panel:
    resident, training = of("process_resident_memory_bytes"), of(metrics.TRAINER_MEMORY)
    both = f"{resident} + ({training} or 0 * {resident})"
    shares = (
        (f"({both}) / {of(metrics.MEMORY_LIMIT)}", "memory of {{instance}}"),
        (f"{rate('process_cpu_seconds_total')} / {of(metrics.CPU_LIMIT)}", "cores of {{instance}}"),
        (f"{of('process_open_fds')} / {of('process_max_fds')}", "files of {{instance}}"),
    )
    return graph(
        Text(
            "How near to the limits",
            "Memory of daemon and training, cores, and open files, as shares of what they may use: "
            "of the control group, or of the machine.",
            "operations.md#memory-and-speed",
        ),
        [Query(share, name) for share, name in shares],
        Looks(unit="percentunit", maximum=1, steps=[(0.85, RED)]),
    )


def _list() -> table.Panel:
    valid, alarm = (
        {0: ("refused", RED), 1: ("valid", GREEN)},
        {0: ("no", GREEN), 1: ("yes", ORANGE)},
    )
    columns = [
        Column("instance", "Daemon (opens its page)", cell="link", url="http://${__value.raw}/"),
        Column("Value #A", "Ready", cell="background", words=_YES, width=80),
        Column("Value #B", "Running for", "s", width=130),
        Column("version", "Version", width=100),
        Column("python", "Python", width=100),
        Column("torch", "torch", width=130),
        Column("Value #D", "Changed config", cell="background", words=valid, width=140),
        Column("Value #E", "Restart needed", cell="background", words=alarm, width=140),
        Column("Value #F", "Clock alive", cell="background", words=_YES, width=110),
        Column("Value #G", "Models kept", "none", width=120),
    ]
    build = highest(of(metrics.BUILD_INFO), "instance", "version", "python", "torch")
    return sheet(
        Text(
            "What runs where",
            "Changed config: whether the last change of the file was valid, empty "
            "where there was none. Restart needed: whether a change waits for one. Clock: whether "
            "the thread lives that trains and measures on schedule.",
            "operations.md#changing-the-config",
        ),
        [
            highest(of(metrics.READY), "instance"),
            f"time() - {highest(of(metrics.START_TIME), 'instance')}",
            build,
            f"min by (instance) ({of(metrics.CONFIG_RELOAD_SUCCESSFUL)})",
            highest(of(metrics.CONFIG_RESTART_NEEDED), "instance"),
            f"min by (instance) ({of(metrics.SCHEDULER_ALIVE)})",
            highest(of(metrics.MODELS_STORED), "instance"),
        ],
        columns,
        join="instance",
        order=("Ready", False),
        nothing="no daemon",
    )
