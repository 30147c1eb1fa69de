"""What the daemon is doing right now, as one immutable value that any thread may read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.telemetry import catalogue as metrics
from vaeiso_monitor.telemetry.lifecycle import RetrainFacts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vaeiso_monitor.telemetry.series import Series


class State(StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    WARMING_UP = "warming_up"
    TRAINING = "training"
    RUNNING = "running"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Counts:
    """Records since the start; received = scored + rejected + waiting."""

    received: int = 0
    scored: int = 0
    rejected: int = 0
    waiting: int = 0
    anomalies: int = 0
    alerts_sent: int = 0
    dead_letters_sent: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The serving model and its alert line; ``trained_at`` is Unix time."""

    version: str
    trained_at: float
    beta: float
    latent_dim: int
    device: str
    threshold_nats: float
    alert_budget: float
    threshold_note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One batch with its scores: float64 [B] nats and anomaly scores, and the anomalies found."""

    nats: ArrayLike
    anomaly_scores: ArrayLike
    records: int
    warnings: int
    criticals: int


@dataclass(frozen=True, slots=True)
class Partition:
    """How far one partition is read."""

    topic: str
    partition: int
    lag_records: int | None
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the daemon. Times are Unix time, None for what has not happened."""

    state: State
    version: str
    started_at: float
    now: float
    heartbeat_at: float
    records: Counts = Counts()
    records_per_second: float = 0.0
    alert_rate: float | None = None
    last_alert_at: float | None = None
    model: ModelFacts | None = None
    warm_up_rows: int = 0
    warm_up_rows_required: int = 0
    training_progress: float | None = None
    sources: tuple[tuple[str, bool], ...] = ()
    sinks: tuple[tuple[str, bool], ...] = ()
    partitions: tuple[Partition, ...] = ()
    last_error: str | None = None
    retrain: RetrainFacts = field(default_factory=RetrainFacts)

    @property
    def ready(self) -> bool:
        """Whether records are being scored and alerts can be delivered."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the daemon is not ready, one sentence each; empty if it is."""
        found = []
        if self.state is not State.RUNNING:
            found.append(self._state_in_words())
        if self.model is None and self.state is State.RUNNING:
            found.append("no model is loaded")
        found += [f"source {name} is not connected" for name, up in self.sources if not up]
        found += [f"sink {name} is not connected" for name, up in self.sinks if not up]
        return tuple(found)

    @property
    def heartbeat_age_seconds(self) -> float:
        """Seconds since the loop last made a turn."""
        return max(self.now - self.heartbeat_at, 0.0)

    def _state_in_words(self) -> str:
        match self.state:
            case State.STARTING:
                return "starting"
            case State.WARMING_UP:
                rows, required = self.warm_up_rows, self.warm_up_rows_required
                return f"warming up: {rows:,} of {required:,} records collected"
            case State.TRAINING:
                return f"training the first model: {100 * (self.training_progress or 0):.0f} % done"
            case State.RUNNING:
                return "running"
            case State.DRAINING:
                return "stopping: finishing what was read"
            case State.FAILED:
                return f"failed: {self.last_error or 'no reason was given'}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict: instants in ISO 8601, peers and partitions as objects."""
        shown = asdict(self)
        for key in ("started_at", "now", "heartbeat_at", "last_alert_at"):
            shown[key] = _iso(shown[key])
        if self.model is not None:
            shown["model"]["trained_at"] = _iso(self.model.trained_at)
            shown["model"]["age_seconds"] = max(self.now - self.model.trained_at, 0.0)
        for key in ("sources", "sinks"):
            shown[key] = [{"name": name, "connected": up} for name, up in shown[key]]
        shown["partitions"] = list(shown["partitions"])
        shown["retrain"]["next_at"] = _iso(self.retrain.next_at)
        if self.retrain.last is not None:
            shown["retrain"]["last"] = {**self.retrain.last, "at": _iso(self.retrain.last["at"])}
        shown["warm_up"] = {
            "rows": shown.pop("warm_up_rows"),
            "rows_required": shown.pop("warm_up_rows_required"),
        }
        return {"ready": self.ready, "reasons": list(self.reasons)} | shown


def _iso(instant: float | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")


def counts(series: Series) -> Counts:
    """Read the counts of a status from the metrics, all at one instant."""
    sums = series.sums(
        metrics.RECORDS_RECEIVED,
        metrics.RECORDS_SCORED,
        metrics.RECORDS_REJECTED,
        metrics.RECORDS_WAITING,
        metrics.ANOMALIES,
        metrics.ALERTS_SENT,
        metrics.DEAD_LETTERS_SENT,
    )
    return Counts(*map(int, sums))
