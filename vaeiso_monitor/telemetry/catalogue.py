"""Every metric of the program as data: the page of the documentation is checked against it.

Names follow Prometheus practice: one prefix, base units, ``_total`` on counters. Labels take few
values: no key, entity, alert or user is ever a label, and of topics only the first hundred are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from vaeiso_monitor.types import RejectReason

Kind = Literal["counter", "gauge", "age", "histogram", "info"]

SEVERITIES = ("warning", "critical")
STATES = ("starting", "warming_up", "training", "running", "draining", "failed")
OUTCOMES = ("quiet", "departed", "drifted", "not_judged")
RETRAIN_STATUSES = ("promoted", "rejected", "skipped", "failed")
RETRAIN_REASONS = ("schedule", "retry", "drift", "regime_shift", "request")
TASKS = (
    *("requests", "window", "regime", "tidy", "isometry", "inputs", "retrain", "retrain_now"),
    *("config", "sinks", "refresh", "heartbeat"),
)
STAGES = ("poll", "decode", "encode", "score", "decide", "deliver", "commit", "keep", "train")

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS = (*_SECONDS, 30.0, 60.0, 300.0, 1800.0)
_RECORDS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0)
# Nats have no natural scale, and normal records mostly score below 0: seven steps a decade, on both
# sides of 0. OpenMetrics allows no _sum and no _count beside a bucket below 0.
_NATS_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
_NATS_HALF = tuple(step * 10.0**power for power in (0, 1, 2) for step in _NATS_STEPS)
_NATS = (-1e3, *(-bound for bound in reversed(_NATS_HALF)), 0.0, *_NATS_HALF, 1e3, 1e4, 1e5)
_ANOMALY_SCORES = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its exposed name, what kind of number it is, and what it means.

    An ``age`` is a gauge that is set to an instant and read as the seconds since then. ``values``
    are the known values of a metric's only label, or of all its labels together: they are exported
    as 0 from the start, so that the first event is seen as a rise. So is a counter without labels.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    values: tuple[str, ...] | tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> str:
        """The Prometheus type that a scrape shows."""
        return "gauge" if self.kind in ("age", "info") else self.kind

    @property
    def at_first(self) -> tuple[tuple[str, ...], ...]:
        """The values of the labels of every series that is there from the start."""
        if self.values:
            return tuple((each,) if isinstance(each, str) else each for each in self.values)
        return ((),) if self.kind in ("counter", "histogram") and not self.labels else ()


BUILD_INFO = Metric(
    "vaeiso_build_info", "info", "Version of the program and of what it runs on.",
    ("version", "python", "torch"),
)  # fmt: skip
START_TIME = Metric(
    "vaeiso_start_time_seconds", "gauge", "When the daemon started (Unix time).", unit="seconds"
)
STATE = Metric(
    "vaeiso_state", "gauge", "1 for the state the daemon is in, 0 for the others.",
    ("state",), values=STATES,
)  # fmt: skip
READY = Metric("vaeiso_ready", "gauge", "1 while /readyz answers 200.")
HEARTBEAT_AGE = Metric(
    "vaeiso_heartbeat_age_seconds", "age", "Seconds since the loop last made a turn.",
    unit="seconds",
)  # fmt: skip

RECORDS_RECEIVED = Metric(
    "vaeiso_records_received_total", "counter", "Records read from a source, fit or not.",
    ("source", "topic"), "records",
)  # fmt: skip
RECEIVED_BYTES = Metric(
    "vaeiso_received_bytes_total", "counter", "Bytes of the records read from a source.",
    ("source", "topic"), "bytes",
)  # fmt: skip
RECORDS_SCORED = Metric(
    "vaeiso_records_scored_total", "counter", "Records that got a score.", unit="records"
)
RECORDS_REJECTED = Metric(
    "vaeiso_records_rejected_total", "counter", "Records that do not fit the schema, by reason.",
    ("reason",), "records", tuple(RejectReason),
)  # fmt: skip
RECORDS_WAITING = Metric(
    "vaeiso_records_waiting", "gauge",
    "Records read and not yet scored or rejected; received = scored + rejected + waiting.",
    unit="records",
)  # fmt: skip

NATS = Metric(
    "vaeiso_nats", "histogram",
    "Scores: negative log-likelihood of each record; higher is stranger.",
    unit="nats", buckets=_NATS,
)  # fmt: skip
ANOMALY_SCORE = Metric(
    "vaeiso_anomaly_score", "histogram",
    "Scores on the scale where 1 is the alert line: ln(tail probability) / ln(alert budget).",
    buckets=_ANOMALY_SCORES,
)  # fmt: skip
THRESHOLD_NATS = Metric(
    "vaeiso_threshold_nats", "gauge", "The alert line of the serving model.", unit="nats"
)
ALERT_BUDGET = Metric(
    "vaeiso_alert_budget_ratio", "gauge", "Share of normal records that may alert.", unit="ratio"
)
ALERT_RATE = Metric(
    "vaeiso_alert_rate_ratio", "gauge",
    "Share of anomalies among recent records (the last 100,000 or the last hour).", unit="ratio",
)  # fmt: skip
ANOMALIES = Metric(
    "vaeiso_anomalies_total", "counter", "Records over the alert line, by severity.",
    ("severity",), "records", SEVERITIES,
)  # fmt: skip
BLAMED = Metric(
    "vaeiso_blamed_anomalies_total", "counter",
    "Records over the alert line, by the column that added most to the score.",
    ("feature",), "records",
)  # fmt: skip
DEPARTED = Metric(
    "vaeiso_constant_departures_total", "counter",
    "Records in which a column differed that was constant in training and so is not scored.",
    unit="records",
)  # fmt: skip
LAST_ALERT = Metric(
    "vaeiso_last_alert_timestamp_seconds", "gauge", "When the last anomaly was found (Unix time).",
    unit="seconds",
)  # fmt: skip

ALERTS_SENT = Metric(
    "vaeiso_alerts_sent_total", "counter",
    "Alerts and summaries handed to a sink (status delivered or failed).",
    ("sink", "status"), "alerts",
)  # fmt: skip
EPISODES_BEGUN = Metric(
    "vaeiso_episodes_begun_total", "counter", "Episodes (alerts of one entity in a row) that began."
)
EPISODES_OPEN = Metric("vaeiso_episodes_open", "gauge", "Episodes that go on.")
ALERTS_SUPPRESSED = Metric(
    "vaeiso_alerts_suppressed_total", "counter",
    "Alerts that a summary tells of, for sinks that want episodes (reason cooldown or flood).",
    ("reason",), "alerts", ("cooldown", "flood"),
)  # fmt: skip
ALERT_FLOOD = Metric(
    "vaeiso_alert_flood", "gauge", "1 while so many entities raise alerts that they are one flood."
)
REGIME_SHIFT = Metric(
    "vaeiso_regime_shift", "gauge", "1 while normal itself seems to have changed."
)
REGIME_SHIFTS = Metric("vaeiso_regime_shifts_total", "counter", "Regime shifts that started.")
REGIME_LINE = Metric(
    "vaeiso_regime_line_ratio", "gauge", "Alert rate above which an interval counts as shifted.",
    unit="ratio",
)  # fmt: skip
DEAD_LETTERS_SENT = Metric(
    "vaeiso_dead_letters_sent_total", "counter",
    "Dead letters handed to a sink (status delivered or failed).", ("sink", "status"), "records",
)  # fmt: skip
BATCH_SIZE = Metric(
    "vaeiso_batch_size_records", "histogram", "Records in one batch of the loop.",
    unit="records", buckets=_RECORDS,
)  # fmt: skip
STAGE_DURATION = Metric(
    "vaeiso_stage_duration_seconds", "histogram", "Time the loop spent with one batch in a stage.",
    ("stage",), "seconds", STAGES, _LONG_SECONDS,
)  # fmt: skip

SOURCE_CONNECTED = Metric(
    "vaeiso_source_connected", "gauge", "1 if the last exchange with the source worked.",
    ("source",),
)  # fmt: skip
SOURCE_ERRORS = Metric(
    "vaeiso_source_errors_total", "counter", "Exchanges with the source that failed.",
    ("source",), "errors",
)  # fmt: skip
SINK_CONNECTED = Metric(
    "vaeiso_sink_connected", "gauge", "1 if the last delivery to the sink worked.", ("sink",)
)
CONSUMER_LAG = Metric(
    "vaeiso_consumer_lag_records", "gauge", "Records of a partition that are still to be read.",
    ("topic", "partition"), "records",
)  # fmt: skip
PROGRESS_AGE = Metric(
    "vaeiso_partition_progress_age_seconds", "age",
    "Seconds since a partition moved on or was known to be fully read.",
    ("topic", "partition"), "seconds",
)  # fmt: skip
EVENT_TIME_LAG = Metric(
    "vaeiso_event_time_lag_seconds", "age",
    "Seconds between the time in the latest record and now.", ("source",), "seconds",
)  # fmt: skip

MODEL_INFO = Metric(
    "vaeiso_model_info", "info", "The serving model; one series, replaced at each swap.",
    ("version", "beta", "latent_dim", "device"),
)  # fmt: skip
MODEL_AGE = Metric(
    "vaeiso_model_age_seconds", "age", "Seconds since the serving model was trained.",
    unit="seconds",
)  # fmt: skip
MODEL_LOADED = Metric(
    "vaeiso_model_loaded_timestamp_seconds", "gauge",
    "When the serving model began to serve (Unix time).", unit="seconds",
)  # fmt: skip
WARMUP_ROWS = Metric(
    "vaeiso_warmup_rows", "gauge", "Records collected for the first training.", unit="rows"
)
WARMUP_REQUIRED = Metric(
    "vaeiso_warmup_rows_required", "gauge", "Records that the first training needs."
)
TRAINING_PROGRESS = Metric(
    "vaeiso_training_progress_ratio", "gauge", "Share of the running training that is done.",
    unit="ratio",
)  # fmt: skip
GPU_MEMORY = Metric(
    "vaeiso_gpu_memory_bytes", "gauge", "GPU memory held by the daemon.", unit="bytes"
)
MEMORY_LIMIT = Metric(
    "vaeiso_memory_limit_bytes", "gauge",
    "Memory that the daemon and its training may use: of its control group, or of the machine.",
    unit="bytes",
)  # fmt: skip
CPU_LIMIT = Metric(
    "vaeiso_cpu_limit_cores", "gauge",
    "Processor cores that the daemon and its training may use.", unit="cores",
)  # fmt: skip

WINDOW_ROWS = Metric(
    "vaeiso_window_rows", "gauge", "Records kept on disk for training, by kind.",
    ("kind",), "rows", ("normal", "unfiltered", "admitted"),
)  # fmt: skip
WINDOW_BYTES = Metric(
    "vaeiso_window_bytes", "gauge", "Size of the records kept on disk for training.", unit="bytes"
)
WINDOW_OLDEST = Metric(
    "vaeiso_window_oldest_age_seconds", "age",
    "Seconds since the oldest record kept for training was scored.", unit="seconds",
)  # fmt: skip
WINDOW_SET_ASIDE = Metric(
    "vaeiso_window_segments_set_aside_total", "counter",
    "Files of the window that could not be used: damaged, or of a foreign schema.",
    ("reason",), "segments", ("damaged", "foreign"),
)  # fmt: skip
WINDOW_ERRORS = Metric(
    "vaeiso_window_write_errors_total", "counter", "Times the window could not be written.",
    unit="errors",
)  # fmt: skip
HISTORY_ALERTS = Metric(
    "vaeiso_history_alerts", "gauge", "Alerts remembered for feedback.", unit="alerts"
)
HISTORY_SKIPPED = Metric(
    "vaeiso_history_alerts_skipped_total", "counter",
    "Alerts sent but not remembered: too many at once (flood), or the disk refused (error).",
    ("reason",), "alerts", ("flood", "error"),
)  # fmt: skip
FEEDBACK_VERDICTS = Metric(
    "vaeiso_feedback_verdicts", "gauge", "Remembered alerts that a person judged, by verdict.",
    ("verdict",), "verdicts", ("normal", "anomaly"),
)  # fmt: skip
FEEDBACK_PRECISION = Metric(
    "vaeiso_feedback_precision_ratio", "gauge",
    "Share of anomalies among the remembered alerts that a person judged.", unit="ratio",
)  # fmt: skip

ISOMETRY_NORM_ERROR = Metric(
    "vaeiso_isometry_norm_error_ratio", "gauge",
    "How far the norms of the meaningful latents are off, on average.", ("set",), "ratio",
)  # fmt: skip
ISOMETRY_ORTHOGONALITY_ERROR = Metric(
    "vaeiso_isometry_orthogonality_error_ratio", "gauge",
    "Off-diagonals of the isometry matrix of the meaningful latents, on average.",
    ("set",), "ratio",
)  # fmt: skip
ISOMETRY_TRANSFORM_CODING = Metric(
    "vaeiso_isometry_transform_coding_ratio", "gauge", "Transform loss over coding loss.",
    ("set",), "ratio",
)  # fmt: skip
ISOMETRY_NATS = Metric(
    "vaeiso_isometry_nats", "gauge", "Mean score of normal records, cut at the alert line.",
    ("set",), "nats",
)  # fmt: skip
ISOMETRY_MEANINGFUL = Metric(
    "vaeiso_isometry_meaningful_latents", "gauge", "Latents that carry something.", ("set",)
)
LATENT_NORM = Metric(
    "vaeiso_latent_norm_ratio", "gauge", "Norm of a latent on recent normal records.",
    ("latent",), "ratio",
)  # fmt: skip
LATENT_ORTHOGONALITY = Metric(
    "vaeiso_latent_orthogonality_error_ratio", "gauge",
    "Largest off-diagonal of a latent on recent normal records.", ("latent",), "ratio",
)  # fmt: skip
LATENT_KL = Metric(
    "vaeiso_latent_kl_nats", "gauge", "What a latent carries of a recent normal record.",
    ("latent",), "nats",
)  # fmt: skip
MODEL_ALTERED = Metric(
    "vaeiso_model_altered", "gauge",
    "1 if the model measures otherwise than at training on its own reference records.",
)  # fmt: skip
INPUT_PSI = Metric(
    "vaeiso_input_psi", "gauge",
    "Population stability index of a feature against the training records.", ("feature",),
)  # fmt: skip
INPUT_MISSING = Metric(
    "vaeiso_input_missing_ratio", "gauge", "Share of recent records in which a feature is missing.",
    ("feature",), "ratio",
)  # fmt: skip
INPUT_UNSEEN = Metric(
    "vaeiso_input_unseen_ratio", "gauge",
    "Share of recent records with a category that training did not show.", ("feature",), "ratio",
)  # fmt: skip
INPUT_OUT_OF_RANGE = Metric(
    "vaeiso_input_out_of_range_ratio", "gauge",
    "Share of recent records with a number outside of the range of training.",
    ("feature",), "ratio",
)  # fmt: skip
INPUT_DRIFTED = Metric(
    "vaeiso_input_drifted", "gauge", "1 for a feature that drifted.", ("feature",)
)
DRIFTED = Metric(
    "vaeiso_drifted", "gauge", "1 while the isometry, or the inputs, have drifted.", ("kind",)
)
DRIFT_CHECKS = Metric(
    "vaeiso_drift_checks_total", "counter", "Checks of a kind, by what they found.",
    ("kind", "outcome"), "checks", tuple(product(("isometry", "inputs"), OUTCOMES)),
)  # fmt: skip
DRIFT_CHECKED = Metric(
    "vaeiso_drift_check_timestamp_seconds", "gauge", "When a kind was last checked (Unix time).",
    ("kind",), "seconds",
)  # fmt: skip

RETRAINS = Metric(
    "vaeiso_retrains_total", "counter",
    "Trainings beside the scoring, by what came of them and why they were asked for.",
    ("status", "reason"), values=tuple(product(RETRAIN_STATUSES, RETRAIN_REASONS)),
)  # fmt: skip
RETRAIN_STREAK = Metric(
    "vaeiso_retrain_streak", "gauge",
    "Trainings in a row that failed, or whose model the gate rejected; a better end makes it 0.",
    ("status",), values=("rejected", "failed"),
)  # fmt: skip
RETRAIN_IN_PROGRESS = Metric(
    "vaeiso_retrain_in_progress", "gauge", "1 while a training runs beside the scoring."
)
LAST_RETRAIN_SUCCESS = Metric(
    "vaeiso_last_retrain_success_timestamp_seconds", "gauge",
    "When a retrained model was last promoted (Unix time).", unit="seconds",
)  # fmt: skip
NEXT_RETRAIN = Metric(
    "vaeiso_next_retrain_timestamp_seconds", "gauge",
    "When the next training is due (Unix time).", unit="seconds",
)  # fmt: skip
RETRAIN_DURATION = Metric(
    "vaeiso_last_retrain_duration_seconds", "gauge",
    "How long the last training and its judgement took.", unit="seconds",
)  # fmt: skip
TRAINER_MEMORY = Metric(
    "vaeiso_trainer_memory_bytes", "gauge", "Memory that the training process holds.", unit="bytes"
)
GATE_ACCEPTED = Metric(
    "vaeiso_gate_accepted", "gauge", "1 if the gate accepted the last candidate, 0 if not."
)
GATE_CHECK = Metric(
    "vaeiso_gate_check_passed", "gauge", "1 for each check that the last candidate passed.",
    ("check",),
)  # fmt: skip
GATE_FIGURE = Metric(
    "vaeiso_gate_figure", "gauge", "What the gate measured of the last candidate.", ("figure",)
)
MODEL_SWAPS = Metric(
    "vaeiso_model_swaps_total", "counter",
    "Changes of the serving model while the daemon ran (status swapped or failed).",
    ("status",), values=("swapped", "failed"),
)  # fmt: skip
MODELS_STORED = Metric("vaeiso_models_stored", "gauge", "Bundles in the store.")
LIFECYCLE_ERRORS = Metric(
    "vaeiso_lifecycle_errors_total", "counter",
    "Times that something that runs by the clock broke off, by its name.", ("task",), "errors",
    TASKS,
)  # fmt: skip
SCHEDULER_ALIVE = Metric(
    "vaeiso_scheduler_alive", "gauge", "1 while the thread that watches the clock runs."
)
SCHEDULER_HEARTBEAT_AGE = Metric(
    "vaeiso_scheduler_heartbeat_age_seconds", "age",
    "Seconds since something last ran by the clock.", unit="seconds",
)  # fmt: skip

CONFIG_RELOADS = Metric(
    "vaeiso_config_reloads_total", "counter",
    "Changes of the config file that were taken up (status applied) or not (refused).",
    ("status",), values=("applied", "refused"),
)  # fmt: skip
CONFIG_RELOAD_SUCCESSFUL = Metric(
    "vaeiso_config_last_reload_successful", "gauge",
    "1 if the last change of the config file was valid, 0 if it was refused.",
)  # fmt: skip
CONFIG_RELOAD_SUCCESS = Metric(
    "vaeiso_config_last_reload_success_timestamp_seconds", "gauge",
    "When a changed config was last taken up (Unix time).", unit="seconds",
)  # fmt: skip
CONFIG_RESTART_NEEDED = Metric(
    "vaeiso_config_restart_needed", "gauge",
    "1 while the config file holds changes that wait for a restart.",
)  # fmt: skip

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
