"""For each rule: series of samples under which it fires, and others under which it must not."""

from __future__ import annotations

from dataclasses import dataclass, field

JOB, INSTANCE = "vaeiso-monitor", "monitor:8490"


@dataclass(frozen=True)
class Case:
    """Samples a minute apart; the rule fires ``fires`` minutes in (None: never), not at ``quiet``.

    ``series`` are the values by selector; job and instance are added to each.
    """

    rule: str
    what: str
    series: dict[str, str]
    fires: int | None = None
    quiet: tuple[int, ...] = ()
    alerts: int = 1
    bare: bool = field(default=False)  # no series of the daemon but those given


def s(name: str, **labels: str) -> str:
    """Return a selector with the labels that a scrape adds, unless others are given."""
    labels = {"job": JOB, "instance": INSTANCE, **labels}
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}"


def state(now: str, values: str = "1x2000") -> dict[str, str]:
    """Return the state metric: ``now`` for as long as the values say."""
    names = ("starting", "warming_up", "training", "running", "draining", "failed")
    return {s("vaeiso_state", state=name): values if name == now else "0x2000" for name in names}


RUNNING = state("running")
BUDGET = {s("vaeiso_alert_budget_ratio"): "0.001x2000"}


def scored(per_minute: float, minutes: int = 2000, start: float = 0) -> dict[str, str]:
    return {s("vaeiso_records_scored_total"): f"{start}+{per_minute}x{minutes}"}


def anomalies(per_minute: float, minutes: int = 2000) -> dict[str, str]:
    return {
        s("vaeiso_anomalies_total", severity="warning"): f"0+{per_minute}x{minutes}",
        s("vaeiso_anomalies_total", severity="critical"): f"0x{minutes}",
    }


def received(values: str) -> dict[str, str]:
    return {s("vaeiso_records_received_total", source="kafka", topic="t"): values}


def rejected(values: str) -> dict[str, str]:
    return {
        s("vaeiso_records_rejected_total", reason="not_json"): values,
        s("vaeiso_records_rejected_total", reason="empty"): "0x2000",
    }


def scores(all_: float, low: float) -> dict[str, str]:
    return {
        s("vaeiso_anomaly_score_count"): f"0+{all_}x300",
        s("vaeiso_anomaly_score_bucket", le="0.5"): f"0+{low}x300",
        **scored(all_),
        **BUDGET,
    }


def lag(values: str, partition: str = "0") -> dict[str, str]:
    return {s("vaeiso_consumer_lag_records", topic="t", partition=partition): values}


def progress(values: str) -> dict[str, str]:
    return {s("vaeiso_partition_progress_age_seconds", topic="t", partition="0"): values}


def connected(values: str) -> dict[str, str]:
    return {s("vaeiso_source_connected", source="kafka"): values}


def sink(values: str, name: str = "webhook") -> dict[str, str]:
    return {s("vaeiso_sink_connected", sink=name): values}


def check(kind: str, at: str, loaded: str = "0x2000", judged: str = "0+1x2000") -> dict[str, str]:
    return {
        s("vaeiso_drift_check_timestamp_seconds", kind=kind): at,
        s("vaeiso_model_loaded_timestamp_seconds"): loaded,
        s("vaeiso_drift_checks_total", kind=kind, outcome="quiet"): judged,
        s("vaeiso_drift_checks_total", kind=kind, outcome="not_judged"): "0+1x2000",
    }


def retrains(status: str, values: str, reason: str = "schedule") -> dict[str, str]:
    return {
        s("vaeiso_retrains_total", status="skipped", reason="retry"): "0x2000",
        s("vaeiso_retrains_total", status=status, reason=reason): values,
    }


UP, START = {s("up"): "1x2000"}, {s("vaeiso_start_time_seconds"): "7x2000"}
MEMORY = {s("vaeiso_memory_limit_bytes"): "1000x100"}

PROCESS = [
    Case("ServiceDown", "no answer", {s("up"): "1x5 0x10"}, fires=8, quiet=(5, 7)),
    Case("ServiceDown", "a restart within a minute", {s("up"): "1x5 0 1x10"}, quiet=(6, 7, 10)),
    Case("ServiceDown", "another job", {s("up", job="other"): "0x20"}, quiet=(15,)),
    Case("NoSelfMonitoringMetrics", "no target", {s("up", job="other"): "1x20"}, 6, (4,)),
    Case("NoSelfMonitoringMetrics", "a target without our metrics", UP, 6, (4,)),
    Case("NoSelfMonitoringMetrics", "all is well", UP | START, quiet=(6, 15)),
    Case(
        "NoSelfMonitoringMetrics", "down, which another rule tells", {s("up"): "0x20"}, None, (15,)
    ),
    Case(
        "NoSelfMonitoringMetrics",
        "one of two instances without metrics",
        UP | START | {s("up", instance="b"): "1x20"},
        6,
    ),
    Case(
        "TooManyRestarts",
        "three in half an hour",
        {s("vaeiso_start_time_seconds"): "1x4 300x4 _ 600x4 900x60"},
        17,
        (13, 50),
    ),
    Case(
        "TooManyRestarts", "one", {s("vaeiso_start_time_seconds"): "1x4 _ _ 300x60"}, quiet=(7, 20)
    ),
    Case("LoopStalled", "no turn", {s("vaeiso_heartbeat_age_seconds"): "1x3 0+60x20"}, 9, (5,)),
    Case(
        "LoopStalled",
        "it waits for a sink",
        {s("vaeiso_heartbeat_age_seconds"): "0+60x20"} | sink("0x20"),
        quiet=(9, 15),
    ),
    Case("LoopStalled", "it turns", {s("vaeiso_heartbeat_age_seconds"): "1x20"}, quiet=(15,)),
    Case(
        "TooHighMemoryUsage",
        "daemon and training together",
        MEMORY
        | {
            s("process_resident_memory_bytes"): "500x60",
            s("vaeiso_trainer_memory_bytes"): "400x60",
        },
        11,
        (9,),
    ),
    Case(
        "TooHighMemoryUsage",
        "a training that is over soon",
        MEMORY
        | {
            s("process_resident_memory_bytes"): "500x60",
            s("vaeiso_trainer_memory_bytes"): "0x3 400x5 0x50",
        },
        quiet=(9, 15, 30),
    ),
    Case(
        "TooHighCPUUsage",
        "both cores busy",
        {s("process_cpu_seconds_total"): "0+115x60", s("vaeiso_cpu_limit_cores"): "2x60"} | RUNNING,
        20,
        (10,),
    ),
    Case(
        "TooHighCPUUsage",
        "one of two cores busy",
        {s("process_cpu_seconds_total"): "0+60x60", s("vaeiso_cpu_limit_cores"): "2x60"} | RUNNING,
        quiet=(20, 50),
    ),
    Case(
        "TooHighCPUUsage",
        "the first training",
        {s("process_cpu_seconds_total"): "0+119x60", s("vaeiso_cpu_limit_cores"): "2x60"}
        | state("training"),
        quiet=(20, 50),
    ),
    Case(
        "ProcessNearFDLimits",
        "nearly all",
        {s("process_open_fds"): "900x20", s("process_max_fds"): "1024x20"},
        6,
        (4,),
    ),
    Case(
        "ProcessNearFDLimits",
        "a few",
        {s("process_open_fds"): "30x20", s("process_max_fds"): "1024x20"},
        quiet=(15,),
    ),
    Case(
        "ServiceErrorsDetected",
        "a job broke off, for the first time",
        {s("vaeiso_lifecycle_errors_total", task="tidy"): "0x5 1x100"},
        7,
        (4, 80),
    ),
    Case(
        "ServiceErrorsDetected",
        "the disk is full",
        {
            s("vaeiso_window_write_errors_total"): "0x5 1 2 3 4x100",
            s("vaeiso_history_alerts_skipped_total", reason="error"): "0x5 1x100",
        },
        9,
        (4,),
        alerts=2,
    ),
    Case(
        "ServiceErrorsDetected",
        "a swap failed",
        {s("vaeiso_model_swaps_total", status="failed"): "0x5 1x100"},
        7,
    ),
    Case(
        "ServiceErrorsDetected",
        "a damaged window, counted before the first scrape",
        {
            s("vaeiso_window_segments_set_aside_total", reason="damaged"): "2x200",
            s("vaeiso_start_time_seconds"): "0x200",
        },
        1,
        (70,),
    ),
    Case(
        "ServiceErrorsDetected",
        "floods, foreign files and a restart are no errors",
        {
            s("vaeiso_history_alerts_skipped_total", reason="flood"): "0+5x100",
            s("vaeiso_window_segments_set_aside_total", reason="foreign"): "2x100",
            s("vaeiso_model_swaps_total", status="swapped"): "0 1x100",
            s("vaeiso_lifecycle_errors_total", task="tidy"): "0x20 _ _ 0x20",
            s("vaeiso_start_time_seconds"): "0x20 _ _ 1300x80",
        },
        quiet=(5, 24, 40),
    ),
    Case(
        "SchedulerWorkerDown",
        "the clock stands",
        {s("vaeiso_scheduler_heartbeat_age_seconds"): "2x3 0+60x20"},
        9,
        (4,),
    ),
    Case(
        "SchedulerWorkerDown",
        "the clock runs",
        {s("vaeiso_scheduler_heartbeat_age_seconds"): "4x30"},
        quiet=(20,),
    ),
    Case(
        "SchedulerWorkerDown",
        "it is not started before there is a model",
        state("training"),
        None,
        (20,),
    ),
    Case(
        "LastConfigReloadFailed",
        "refused",
        {s("vaeiso_config_last_reload_successful"): "1x3 0x20"},
        6,
        (3,),
    ),
    Case("LastConfigReloadFailed", "never changed", UP | START, quiet=(10,)),
    Case(
        "ConfigRestartNeeded",
        "forgotten",
        {s("vaeiso_config_restart_needed"): "0x3 1x100"},
        66,
        (30,),
    ),
    Case("ConfigRestartNeeded", "none", {s("vaeiso_config_restart_needed"): "0x100"}, quiet=(90,)),
]

STREAM = [
    Case("SourceDisconnected", "no broker", connected("1x3 0x20"), 6, (4,)),
    Case("SourceDisconnected", "back within a scrape", connected("1x3 0 1x20"), quiet=(4, 10)),
    Case(
        "HighReadErrorRate",
        "errors go on",
        {s("vaeiso_source_errors_total", source="kafka"): "0+2x60"} | connected("1x60"),
        20,
        (8,),
    ),
    Case(
        "HighReadErrorRate",
        "an outage, which another rule tells, and its end",
        {s("vaeiso_source_errors_total", source="kafka"): "0x5 0+5x5 25x40"}
        | connected("1x5 0x5 1x40"),
        quiet=(9, 13, 30),
    ),
    Case(
        "HighReadErrorRate",
        "a restart resets the counter",
        {s("vaeiso_source_errors_total", source="kafka"): "40x10 _ 0x50"} | connected("1x60"),
        quiet=(10, 12, 30),
    ),
    Case("HighWriteErrorRate", "no answer", sink("1x5 0x20"), 11, (7,)),
    Case(
        "HighWriteErrorRate",
        "no answer, and restarts at the deadline",
        sink("1x5 0 0 _ 1 0 0 _ 0 0 0 _ 1 0 0 0 0"),
        16,
        (6,),
    ),
    Case("HighWriteErrorRate", "back soon", sink("1x5 0 1x20"), quiet=(6, 7, 10)),
    Case("ConsumerStalled", "records wait", progress("0x3 0+60x20") | RUNNING, 12, (7,)),
    Case("ConsumerStalled", "a quiet topic", progress("0x60") | RUNNING, quiet=(30,)),
    Case(
        "ConsumerStalled",
        "the first training does not read",
        progress("0+60x30") | state("training"),
        quiet=(10, 20),
    ),
    Case(
        "ConsumerStalled",
        "no broker, which another rule tells",
        progress("0+60x30") | connected("0x30"),
        quiet=(10, 20),
    ),
    Case(
        "ConsumerLagGrowing",
        "more and more",
        lag("0+1000x100") | lag("5x100", "1") | received("0+600x100") | RUNNING,
        40,
        (20,),
    ),
    Case(
        "ConsumerLagGrowing",
        "a backlog that shrinks",
        lag("100000-1000x90") | received("0+600x100") | RUNNING,
        quiet=(20, 40, 80),
    ),
    Case(
        "ConsumerLagGrowing",
        "a few records wait, as always",
        lag("0 9 4 12 7 3 15 9 4 12 7 3 15 40 40 50 60 60 70 80 80 90 90 100x60")
        | received("0+600x100")
        | RUNNING,
        quiet=(20, 33, 60),
    ),
    Case(
        "ConsumerLagGrowing",
        "the first training does not read",
        lag("0+1000x100") | received("9000x100") | state("training"),
        quiet=(40, 60),
    ),
    Case(
        "RecordsNotScored",
        "all are rejected",
        received("0+60x60") | scored(0) | RUNNING,
        12,
        (4,),
    ),
    Case(
        "RecordsNotScored",
        "warm-up",
        received("0+60x60") | scored(0) | state("warming_up"),
        quiet=(12, 40),
    ),
    Case(
        "RecordsNotScored", "silence", received("90x60") | scored(0, start=9) | RUNNING, None, (40,)
    ),
    Case("RecordsNotScored", "as usual", received("0+60x60") | scored(60) | RUNNING, None, (40,)),
    Case(
        "NoRecordsArriving",
        "silence after traffic",
        received("0+9x60 540x200") | UP,
        145,
        (60, 120),
    ),
    Case("NoRecordsArriving", "never a record", UP, 17, (10,)),
    Case("NoRecordsArriving", "now and then one", received("0+1x300") | UP, quiet=(70, 200)),
    Case("NoRecordsArriving", "down", received("5x3") | {s("up"): "0x200"}, quiet=(100,)),
    Case(
        "NoRecordsArriving",
        "a standby reads nothing",
        received("0+9x200")
        | UP
        | {s("up", instance="b"): "1x200"}
        | {s("vaeiso_records_received_total", instance="b", source="kafka", topic="t"): "0x200"},
        quiet=(150,),
    ),
    Case("DeadLettersArriving", "five in a hundred", rejected("0+5x60") | scored(95), 22, (8,)),
    Case("DeadLettersArriving", "one in a thousand", rejected("0+1x60") | scored(999), quiet=(40,)),
    Case(
        "DeadLettersArriving", "nothing comes", rejected("7x60") | scored(0, start=9), None, (40,)
    ),
    Case("DeadLettersArriving", "all of them", rejected("0+9x60") | scored(0), 22),
]

ANOMALIES = [
    Case("HighAnomalyRate", "a storm", scored(100) | anomalies(30), 5, (1,)),
    Case("HighAnomalyRate", "as the budget says", scored(1000) | anomalies(1), quiet=(5, 30)),
    Case("HighAnomalyRate", "too few records to tell", scored(2) | anomalies(2), quiet=(5, 30)),
    Case("HighAnomalyRate", "a stream that stands", scored(0, start=9) | anomalies(0), None, (9,)),
    Case("RegimeShift", "shifted", {s("vaeiso_regime_shift"): "0x3 1x10 0x10"}, 6, (2, 20)),
    Case("RegimeShift", "all is well", {s("vaeiso_regime_shift"): "0x30"}, quiet=(20,)),
    Case(
        "AlertRateAboveBudget",
        "ten times",
        scored(100) | anomalies(1) | BUDGET,
        fires=60,
        quiet=(15,),
    ),
    Case(
        "AlertRateAboveBudget",
        "a little above",
        scored(1000) | anomalies(1.5) | BUDGET,
        quiet=(60, 400),
    ),
    Case(
        "AlertRateAboveBudget",
        "too few to tell",
        scored(1) | {s("vaeiso_anomalies_total", severity="warning"): "0x9 3x800"} | BUDGET,
        quiet=(60, 300),
    ),
    Case(
        "AlertRateZeroTooLong",
        "blind",
        scored(100) | {s("vaeiso_anomalies_total", severity="warning"): "0x2000"} | BUDGET,
        600,
        (100,),
    ),
    Case(
        "AlertRateZeroTooLong",
        "one a day",
        scored(100) | {s("vaeiso_anomalies_total", severity="warning"): "0x20 1x2000"} | BUDGET,
        quiet=(600, 1000),
    ),
    Case(
        "AlertRateZeroTooLong",
        "too slow to tell",
        scored(1) | {s("vaeiso_anomalies_total", severity="warning"): "0x2000"} | BUDGET,
        quiet=(600, 1900),
    ),
    Case("ScoreDistributionShift", "a fifth scores high", scores(1000, 800), 130, (30,)),
    Case("ScoreDistributionShift", "hardly any scores high", scores(1000, 999), 130, (30,)),
    Case("ScoreDistributionShift", "as it should be", scores(1000, 968), quiet=(130, 250)),
    Case("ScoreDistributionShift", "too few to tell", scores(1, 0.5), quiet=(130, 250)),
    Case("ScoreDistributionShift", "warm-up", state("warming_up"), quiet=(130,)),
]


def warm_up(rows: str) -> dict[str, str]:
    return {s("vaeiso_warmup_rows"): rows, s("vaeiso_warmup_rows_required"): "5000x100"}


MODEL = [
    Case("WarmupStuck", "no records", state("warming_up") | warm_up("7x100"), 17, (10,)),
    Case(
        "WarmupStuck", "slow, but it goes on", state("warming_up") | warm_up("0+1x100"), None, (60,)
    ),
    Case(
        "WarmupStuck", "a training that hangs before its first step", state("training"), 17, (10,)
    ),
    Case(
        "WarmupStuck",
        "a training",
        state("training")
        | warm_up("5000x100")
        | {s("vaeiso_training_progress_ratio"): "0+0.01x100"},
        quiet=(17, 60),
    ),
    Case("WarmupStuck", "a start that hangs", state("starting"), 17, (10,)),
    Case(
        "WarmupStuck",
        "long over",
        RUNNING | warm_up("5000x100") | {s("vaeiso_training_progress_ratio"): "1x100"},
        quiet=(60,),
    ),
    Case("ModelStale", "four days", {s("vaeiso_model_age_seconds"): "262000+60x30"}, 22, (10,)),
    Case("ModelStale", "a day", {s("vaeiso_model_age_seconds"): "86400+60x30"}, quiet=(20,)),
    Case("ModelStale", "no model yet", state("warming_up"), quiet=(20,)),
    Case(
        "RetrainFailing",
        "twice, then it works",
        {s("vaeiso_retrain_streak", status="failed"): "0x3 1x5 2x5 0x20"},
        12,
        (5, 20),
    ),
    Case(
        "RetrainFailing",
        "rejected ones did not fail",
        {
            s("vaeiso_retrain_streak", status="failed"): "0x60",
            s("vaeiso_retrain_streak", status="rejected"): "3x60",
        },
        quiet=(30,),
    ),
    Case(
        "RetrainRejected",
        "twice",
        {s("vaeiso_retrain_streak", status="rejected"): "0x3 1x5 2x5 0x20"},
        12,
        (5, 20),
    ),
    Case(
        "RetrainRejected",
        "once",
        {s("vaeiso_retrain_streak", status="rejected"): "1x60"},
        None,
        (30,),
    ),
    Case(
        "SkippedModelRunsDetected",
        "every five minutes",
        retrains("skipped", "0x3 0+0.2x200"),
        90,
        (30,),
    ),
    Case(
        "SkippedModelRunsDetected",
        "once, and then it ran",
        retrains("skipped", "0x3 1x200") | retrains("promoted", "0x20 1x200"),
        quiet=(20, 90, 150),
    ),
    Case(
        "SkippedModelRunsDetected",
        "asked for again and again by hand",
        retrains("skipped", "0+1x200", "request"),
        quiet=(90, 150),
    ),
    Case("ModelAltered", "altered", {s("vaeiso_model_altered"): "0x3 1x10"}, 6, (2,)),
    Case("ModelAltered", "as trained", {s("vaeiso_model_altered"): "0x10"}, quiet=(6,)),
    Case("IsometryDegraded", "bent", {s("vaeiso_drifted", kind="isometry"): "0x3 1x10"}, 6, (2,)),
    Case(
        "IsometryDegraded",
        "the inputs moved",
        {s("vaeiso_drifted", kind="inputs"): "1x10"},
        None,
        (6,),
    ),
    Case("InputsDrifted", "moved", {s("vaeiso_drifted", kind="inputs"): "0x3 1x10"}, 6, (2,)),
    Case(
        "InputsDrifted",
        "the ruler bent",
        {s("vaeiso_drifted", kind="isometry"): "1x10"},
        None,
        (6,),
    ),
]
for name, kind in (("IsometryCheckStale", "isometry"), ("InputCheckStale", "inputs")):
    MODEL += [
        Case(name, "none any more", check(kind, "0+60x10 600x200"), 65, (30, 55)),
        Case(name, "never one", {s("vaeiso_model_loaded_timestamp_seconds"): "0x200"}, 60, (40,)),
        Case(name, "every quarter of an hour", check(kind, "0+60x2000"), quiet=(60, 1500)),
        Case(
            name,
            "for a day nothing to go by",
            check(kind, "0+60x2000", judged="5x2000"),
            1460,
            (60, 1400),
        ),
        Case(
            name,
            "a model that serves for an hour",
            check(kind, "0+60x2000", loaded="0x1400 84000x600", judged="5x2000"),
            quiet=(1460,),
        ),
        Case(name, "no model yet", state("warming_up") | START, quiet=(60,)),
    ]

CASES = [*PROCESS, *STREAM, *ANOMALIES, *MODEL]
