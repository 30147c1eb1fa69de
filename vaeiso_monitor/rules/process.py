"""Rules about the process: is it there, does it turn, does it have what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaeiso_monitor.rules.rule import LeftOut, Rule
from vaeiso_monitor.rules.terms import ONE
from vaeiso_monitor.sources import FileSourceConfig, PlantConfig
from vaeiso_monitor.telemetry import catalogue as m

if TYPE_CHECKING:
    from vaeiso_monitor.rules.terms import Terms

_ENDS = "the source ends, and the daemon with it"


def ends(t: Terms) -> bool:
    """Say whether the daemon reads to an end, as fast as it can, instead of watching a stream."""
    source = t.settings.source
    if isinstance(source, PlantConfig):
        return source.records > 0 or source.rate_per_second == 0
    return isinstance(source, FileSourceConfig) and not source.follow


def rules(t: Terms) -> Sequence[Rule | LeftOut]:
    """Return the rules of this group."""
    return (
        _service_down(t),
        _no_self_monitoring(t),
        _too_many_restarts(t),
        _loop_stalled(t),
        _memory(t),
        _cpu(t),
        _files(t),
        _errors(t),
        _scheduler(t),
        _reload(t),
        _restart_needed(t),
    )


def _service_down(t: Terms) -> Rule | LeftOut:
    if ends(t):
        return LeftOut("ServiceDown", _ENDS)
    return Rule(
        "ServiceDown",
        "critical",
        f"{t.of('up')} == 0",
        t.wait(120),
        "{{ $labels.instance }} does not answer",
        "Prometheus has not been able to scrape {{ $labels.instance }} for two minutes: nobody "
        "watches the stream. Records wait in the source and are read when it is back.",
    )


def _no_self_monitoring(t: Terms) -> Rule | LeftOut:
    if ends(t):
        return LeftOut("NoSelfMonitoringMetrics", _ENDS)
    up = t.of("up")
    return Rule(
        "NoSelfMonitoringMetrics",
        "critical",
        f"absent({up})\nor ({up} == 1 unless {ONE} {t.of(m.START_TIME)})",
        t.wait(300),
        f"No metrics of the job {t.options.job}",
        f"Prometheus has no target with the job label {t.options.job}, or one that answers "
        "without metrics of vaeiso_monitor: none of the other rules can fire.",
    )


def _too_many_restarts(t: Terms) -> Rule:
    return Rule(
        "TooManyRestarts",
        "critical",
        f"changes({t.of(m.START_TIME)}[{t.window(1800)}]) > 2",
        0,
        "{{ $labels.instance }} restarts again and again",
        "It was started {{ $value }} times anew within half an hour. The last lines of its log "
        "say why it ended: most often a source or sink that does not answer.",
    )


def _loop_stalled(t: Terms) -> Rule:
    stall = t.settings.server.stall_seconds
    return Rule(
        "LoopStalled",
        "critical",
        f"{t.of(m.HEARTBEAT_AGE)} > {stall:g}\nunless {ONE} ({t.of(m.SINK_CONNECTED)} == 0)",
        t.wait(120),
        "The loop of {{ $labels.instance }} stands still",
        "It made its last turn {{ $value | humanizeDuration }} ago, and no sink explains it. "
        "Nothing is scored. /healthz answers 503, so a supervisor that asks it restarts it.",
    )


def _memory(t: Terms) -> Rule:
    used = f"({t.of('process_resident_memory_bytes')} + {t.of(m.TRAINER_MEMORY)})"
    return Rule(
        "TooHighMemoryUsage",
        "critical",
        f"{used} / {t.of(m.MEMORY_LIMIT)} > 0.85",
        t.wait(600),
        "{{ $labels.instance }} is running out of memory",
        "The daemon and its training hold {{ $value | humanizePercentage }} of the memory they "
        "may use. Beyond it the kernel ends one of them.",
    )


def _cpu(t: Terms) -> Rule | LeftOut:
    if ends(t):
        return LeftOut("TooHighCPUUsage", "it is meant to read as fast as it can")
    rate = f"rate({t.of('process_cpu_seconds_total')}[{t.window(300)}])"
    busy = f"{rate} / {t.of(m.CPU_LIMIT)} > 0.9"
    return Rule(
        "TooHighCPUUsage",
        "warning",
        f"{busy}\nunless {ONE} ({t.when('training')})",
        t.wait(900),
        "{{ $labels.instance }} uses all its processor time",
        "It has used {{ $value | humanizePercentage }} of its cores for a quarter of an hour: "
        "with a little more to do it will fall behind.",
    )


def _files(t: Terms) -> Rule:
    return Rule(
        "ProcessNearFDLimits",
        "warning",
        f"{t.of('process_open_fds')} / {t.of('process_max_fds')} > 0.8",
        t.wait(300),
        "{{ $labels.instance }} has nearly all file descriptors open that it may",
        "{{ $value | humanizePercentage }} of them are in use. At the limit it can neither write "
        "nor connect, and ends.",
    )


def _errors(t: Terms) -> Rule:
    hour, young = 3600, f"{ONE} (time() - {t.of(m.START_TIME)} < {t.wait(3600):g})"
    # counted while it starts, so most often before the first scrape: a rise would not be seen
    damaged = f"{t.of(m.WINDOW_SET_ASIDE, reason='damaged')} and {young}"
    found = {
        "a job of the lifecycle broke off": t.rise(m.LIFECYCLE_ERRORS, hour),
        "the training window could not be written": t.rise(m.WINDOW_ERRORS, hour),
        "alerts could not be remembered": t.rise(m.HISTORY_SKIPPED, hour, reason="error"),
        "a model could not be swapped in": t.rise(m.MODEL_SWAPS, hour, status="failed"),
        "files of the training window were damaged": f"sum by (job, instance) ({damaged})",
    }
    parts = [_told(f"{expr} > 0", what) for what, expr in found.items()]
    return Rule(
        "ServiceErrorsDetected",
        "warning",
        "\nor ".join(parts),
        0,
        "{{ $labels.instance }}: {{ $labels.what }}",
        'Within the last hour, {{ printf "%.0f" $value }} times: {{ $labels.what }}. The daemon '
        "goes on, but something is wrong with it or with its disk. The log has the error.",
    )


def _told(expr: str, what: str) -> str:
    return f'label_replace({expr}, "what", "{what}", "", "")'


def _scheduler(t: Terms) -> Rule:
    return Rule(
        "SchedulerWorkerDown",
        "warning",
        f"{t.of(m.SCHEDULER_HEARTBEAT_AGE)} > 60",
        t.wait(120),
        "Nothing runs by the clock in {{ $labels.instance }}",
        "For {{ $value | humanizeDuration }} no job of the lifecycle has run: no training, no "
        "drift check, no writing of the window. Scoring goes on with the model that there is.",
    )


def _reload(t: Terms) -> Rule | LeftOut:
    if not t.settings.reload.enabled:
        return LeftOut("LastConfigReloadFailed", "reload.enabled = false")
    return Rule(
        "LastConfigReloadFailed",
        "warning",
        f"{t.of(m.CONFIG_RELOAD_SUCCESSFUL)} == 0",
        t.wait(60),
        "{{ $labels.instance }} refused its changed config",
        "The config file was changed and is not valid. The daemon goes on with the one it had; "
        "a restart would fail. `vaeiso-monitor check` names every wrong key.",
    )


def _restart_needed(t: Terms) -> Rule | LeftOut:
    if not t.settings.reload.enabled:
        return LeftOut("ConfigRestartNeeded", "reload.enabled = false")
    return Rule(
        "ConfigRestartNeeded",
        "warning",
        f"{t.of(m.CONFIG_RESTART_NEEDED)} == 1",
        t.wait(3600),
        "{{ $labels.instance }} waits for a restart to take up its config",
        "The config file holds changes that only a restart takes up: for an hour the daemon has "
        "been doing something else than its config says.",
    )
