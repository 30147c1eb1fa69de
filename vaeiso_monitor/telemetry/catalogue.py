"""Every metric of the program as data: the page of the documentation is checked against it.

Names follow Prometheus practice: one prefix, base units, ``_total`` on counters. Labels take few
values: no key, entity, alert or user is ever a label, and of topics only the first hundred are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vaeiso_monitor.types import RejectReason

Kind = Literal["counter", "gauge", "age", "histogram", "info"]

SEVERITIES = ("warning", "critical")
STATES = ("starting", "warming_up", "training", "running", "draining", "failed")
STAGES = ("poll", "decode", "encode", "score", "decide", "deliver", "commit", "train")

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS = (*_SECONDS, 30.0, 60.0, 300.0, 1800.0)
_RECORDS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0)
# Nats have no natural scale: about one value in ten to fifteen steps a decade, on both sides of 0.
_NATS_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
_NATS = (
    *(-(10.0**power) for power in (3, 2, 1)),
    0.0,
    *(step * 10.0**power for power in (0, 1, 2) for step in _NATS_STEPS),
    1e3,
    1e4,
    1e5,
)
_ANOMALY_SCORES = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its exposed name, what kind of number it is, and what it means.

    An ``age`` is a gauge that is set to an instant and read as the seconds since then. ``values``
    are the known values of a metric's only label: they are exported as 0 from the start, so that
    the first event is seen as a rise.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> str:
        """The Prometheus type that a scrape shows."""
        return "gauge" if self.kind in ("age", "info") else self.kind


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
    "vaeiso_alerts_sent_total", "counter", "Alerts handed to a sink (status delivered or failed).",
    ("sink", "status"), "alerts",
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

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
