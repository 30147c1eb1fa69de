"""What happened, said once: each call is one fact, kept for the metrics and for the status."""

from __future__ import annotations

import platform
import time
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from vaeiso_monitor.telemetry import catalogue as metrics
from vaeiso_monitor.telemetry.drift import DriftTelemetry
from vaeiso_monitor.telemetry.episodes import EpisodesTelemetry
from vaeiso_monitor.telemetry.feedback import FeedbackTelemetry
from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry
from vaeiso_monitor.telemetry.overview import OverviewTelemetry
from vaeiso_monitor.telemetry.recent import Recent
from vaeiso_monitor.telemetry.regime import RegimeTelemetry
from vaeiso_monitor.telemetry.series import Labels, LabelValues, Series
from vaeiso_monitor.telemetry.status import ModelFacts, Partition, Scored, State, Status, counts
from vaeiso_monitor.telemetry.window import WindowTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from vaeiso_monitor.types import PartitionProgress

Delivery = Literal["delivered", "failed"]

_MAX_TOPICS = 100
_MAX_PARTITIONS = 1000
_MAX_FEATURES = 100


class Telemetry:
    """The one place that the program's facts are told to; safe to call from any thread.

    ``registry`` is what the web thread scrapes. ``gpu_memory`` returns the bytes held on the GPU;
    it is asked at each heartbeat, never in a scrape. ``clock`` gives Unix time.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str = "",
        torch_version: str = "",
        gpu_memory: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = registry
        self._clock = clock
        self._gpu_memory = gpu_memory
        self._series = Series(metrics.METRICS, clock)
        self.drift = DriftTelemetry(self._series)
        self.episodes = EpisodesTelemetry(self._series)
        self.regime = RegimeTelemetry(self._series)
        self.lifecycle = LifecycleTelemetry(self._series, clock)
        self.window = WindowTelemetry(self._series)
        self.feedback = FeedbackTelemetry(self._series)
        self.overview = OverviewTelemetry(clock)
        self._lock = RLock()
        self._alerts = Recent(records=100_000, seconds=3600)
        self._throughput = Recent(records=1 << 62, seconds=15)
        self._topics = LabelValues(_MAX_TOPICS)
        self._features = LabelValues(_MAX_FEATURES)
        self._source_errors: dict[str, int] = {}
        now = clock()
        self._status = Status(State.STARTING, version, now, now, now)
        registry.register(self._series)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._series.set(metrics.START_TIME, now)
        self._series.set(metrics.HEARTBEAT_AGE, now)
        build = (version, platform.python_version(), torch_version)
        self._series.replace(metrics.BUILD_INFO, {build: 1.0})
        self._tell(state=State.STARTING)

    # The life of the daemon

    def state_changed(self, state: State) -> None:
        """Say that the daemon entered a state."""
        self._tell(state=state)

    def limits(self, memory_bytes: int, cores: float) -> None:
        """Say how much memory and how many cores the process and its training may use."""
        self._series.set(metrics.MEMORY_LIMIT, memory_bytes)
        self._series.set(metrics.CPU_LIMIT, cores)

    def heartbeat(self) -> None:
        """Say that the loop made a turn (about once a second is enough)."""
        now = self._clock()
        self._series.set(metrics.HEARTBEAT_AGE, now)
        if self._gpu_memory is not None:
            self._series.set(metrics.GPU_MEMORY, self._gpu_memory())
        with self._lock:
            self._alerts.forget(now)
            self._throughput.forget(now)
            self._publish_rate()
            self._tell(heartbeat_at=now)

    def failed(self, words: str) -> None:
        """Remember the last error, in words for a person; the daemon may go on."""
        self._tell(last_error=words)

    def status(self) -> Status:
        """Return one consistent look at everything."""
        now = self._clock()
        with self._lock:
            return replace(
                self._status,
                now=now,
                records=counts(self._series),
                records_per_second=self._throughput.per_second(now),
                alert_rate=self._alerts.ratio(),
                retrain=self.lifecycle.retrain,
            )

    # Records

    def records_received(self, source: str, stream: str, count: int, size_bytes: int) -> None:
        """Say that records were read from a source: from now on they wait."""
        labels = (source, self._topics.bounded(stream))
        self._series.together(
            [
                (metrics.RECORDS_RECEIVED, labels, count),
                (metrics.RECEIVED_BYTES, labels, size_bytes),
                (metrics.RECORDS_WAITING, (), count),
            ]
        )
        self.overview.received(count)

    def records_rejected(self, reasons: Mapping[str, int]) -> None:
        """Say how many waiting records were set aside, by reason."""
        rises: list[tuple[metrics.Metric, Labels, float]] = [
            (metrics.RECORDS_REJECTED, (str(reason),), count) for reason, count in reasons.items()
        ]
        rises.append((metrics.RECORDS_WAITING, (), -sum(reasons.values())))
        self._series.together(rises)

    def batch_scored(self, batch: Scored) -> None:
        """Say that waiting records got their scores, and how many are anomalies."""
        now = self._clock()
        found = batch.warnings + batch.criticals
        self._series.together(
            [
                (metrics.RECORDS_SCORED, (), batch.records),
                (metrics.RECORDS_WAITING, (), -batch.records),
                (metrics.ANOMALIES, ("warning",), batch.warnings),
                (metrics.ANOMALIES, ("critical",), batch.criticals),
            ]
        )
        self._series.observe(metrics.NATS, batch.nats)
        self._series.observe(metrics.ANOMALY_SCORE, batch.anomaly_scores)
        self._series.observe_one(metrics.BATCH_SIZE, batch.records)
        self.overview.scored(batch.records, batch.warnings, batch.criticals, batch.anomaly_scores)
        with self._lock:
            self._alerts.add(now, batch.records, found)
            self._throughput.add(now, batch.records)
            self._publish_rate()
        if found:
            self._series.set(metrics.LAST_ALERT, now)
            self._tell(last_alert_at=now)

    def columns(self, names: Iterable[str]) -> None:
        """Say which columns there are, so that the first anomaly of each is seen as a rise."""
        self.anomalies_blamed(dict.fromkeys(names, 0))

    def anomalies_blamed(self, columns: Mapping[str, int]) -> None:
        """Say which columns added most to the scores of anomalies, and to how many."""
        self._series.together(
            [(metrics.BLAMED, (self._features.bounded(name),), n) for name, n in columns.items()]
        )

    def constants_departed(self, count: int) -> None:
        """Say in how many records a column differed that was constant in training."""
        self._series.add(metrics.DEPARTED, count)

    def event_time(self, source: str, instant: float) -> None:
        """Say what time (Unix time) the latest record of a source carries."""
        self._series.set(metrics.EVENT_TIME_LAG, instant, source)

    def stage_finished(self, stage: str, seconds: float) -> None:
        """Say how long one batch spent in a stage."""
        self._series.observe_one(metrics.STAGE_DURATION, seconds, stage)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage of one batch."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stage_finished(name, time.perf_counter() - began)

    # Peers

    def alerts_sent(self, sink: str, count: int, status: Delivery = "delivered") -> None:
        """Say how many alerts were handed to a sink."""
        self._series.add(metrics.ALERTS_SENT, count, sink, status)

    def dead_letters_sent(self, sink: str, count: int, status: Delivery = "delivered") -> None:
        """Say how many dead letters were handed to a sink."""
        self._series.add(metrics.DEAD_LETTERS_SENT, count, sink, status)

    def source_connected(self, source: str, connected: bool) -> None:
        """Say whether the last exchange with a source worked."""
        self._peer("sources", metrics.SOURCE_CONNECTED, source, connected)

    def source_failures(self, source: str, total: int) -> None:
        """Say how many exchanges with a source have failed since the start."""
        with self._lock:
            rise = total - self._source_errors.get(source, 0)
            self._source_errors[source] = total
        self._series.add(metrics.SOURCE_ERRORS, rise, source)

    def sink_connected(self, sink: str, connected: bool) -> None:
        """Say whether the last delivery to a sink worked."""
        self._peer("sinks", metrics.SINK_CONNECTED, sink, connected)

    def partitions(self, progress: Sequence[PartitionProgress]) -> None:
        """Say how every partition stands; those that are no longer ours vanish."""
        now = self._clock()
        shown = progress[:_MAX_PARTITIONS]
        lag: dict[Labels, float] = {
            (part.stream, str(part.partition)): float(part.lag_records)
            for part in shown
            if part.lag_records is not None
        }
        moved: dict[Labels, float] = {
            (part.stream, str(part.partition)): now - part.idle_seconds for part in shown
        }
        self._series.replace(metrics.CONSUMER_LAG, lag)
        self._series.replace(metrics.PROGRESS_AGE, moved)
        known = [part.lag_records for part in progress if part.lag_records is not None]
        self.overview.lagging(sum(known) if known else None)
        self._tell(
            partitions=tuple(
                Partition(part.stream, part.partition, part.lag_records, part.idle_seconds)
                for part in shown
            )
        )

    # The model

    def warming_up(self, rows: int, required: int) -> None:
        """Say how many of the records for the first training are there."""
        self._series.set(metrics.WARMUP_ROWS, rows)
        self._series.set(metrics.WARMUP_REQUIRED, required)
        self._tell(warm_up_rows=rows, warm_up_rows_required=required)

    def training(self, progress: float) -> None:
        """Say what share of the running training is done, 0 to 1."""
        self._series.set(metrics.TRAINING_PROGRESS, progress)
        self._tell(training_progress=progress)

    def model_serving(self, model: ModelFacts) -> None:
        """Say which model serves from now on; what was measured of another says nothing of it."""
        before = self.status().model
        if before is not None and before.version != model.version:
            self.drift.model_changed()
        labels = (model.version, f"{model.beta:g}", str(model.latent_dim), model.device)
        self._series.replace(metrics.MODEL_INFO, {labels: 1.0})
        self._series.set(metrics.MODEL_AGE, model.trained_at)
        self._series.set(metrics.MODEL_LOADED, self._clock())
        self._series.set(metrics.THRESHOLD_NATS, model.threshold_nats)
        self._series.set(metrics.ALERT_BUDGET, model.alert_budget)
        self._tell(model=model, training_progress=None)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)
            status = self._status
            states: dict[Labels, float] = {
                (state,): float(state == status.state) for state in metrics.STATES
            }
            self._series.replace(metrics.STATE, states)
            self._series.set(metrics.READY, float(status.ready))

    def _peer(self, field: str, metric: metrics.Metric, name: str, connected: bool) -> None:
        self._series.set(metric, float(connected), name)
        with self._lock:
            peers = dict(getattr(self._status, field)) | {name: connected}
            self._tell(**{field: tuple(sorted(peers.items()))})

    def _publish_rate(self) -> None:
        """Export the alert rate of the window, or no rate if the window is empty."""
        with self._lock:
            rate = self._alerts.ratio()
            self._series.replace(metrics.ALERT_RATE, {} if rate is None else {(): rate})
