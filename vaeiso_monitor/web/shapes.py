"""What the probes and the status answer, as the description of the API has it."""

from __future__ import annotations

from typing import Any

import msgspec

from vaeiso_monitor.web.condition import Drift, Problem


class Health(msgspec.Struct, frozen=True):
    """Whether the process does its work, and where it does not, why."""

    healthy: bool
    reasons: list[str]


class Readiness(msgspec.Struct, frozen=True):
    """Whether records are being scored and alerts can be delivered, and if not, why."""

    ready: bool
    reasons: list[str]


class ShownCounts(msgspec.Struct, frozen=True):
    """Records since the start; received = scored + rejected + waiting."""

    received: int
    scored: int
    rejected: int
    waiting: int
    anomalies: int
    alerts_sent: int
    dead_letters_sent: int


class Peer(msgspec.Struct, frozen=True):
    """A source or a sink, and whether the last exchange with it worked."""

    name: str
    connected: bool


class Drifts(msgspec.Struct, frozen=True):
    """The latest checks of the serving model, null where there was none yet."""

    isometry: Drift | None
    inputs: Drift | None


class ShownStatus(msgspec.Struct, frozen=True):
    """What the daemon is doing right now; instants are in ISO 8601, null for what has not been.

    ``verdict`` is the gate's latest; ``problems`` is empty while all is well.
    """

    ready: bool
    reasons: list[str]
    problems: list[Problem]
    state: str
    version: str
    started_at: str
    now: str
    heartbeat_at: str
    records: ShownCounts
    records_per_second: float
    alert_rate: float | None
    last_alert_at: str | None
    model: dict[str, Any] | None
    warm_up: dict[str, int]
    training_progress: float | None
    sources: list[Peer]
    sinks: list[Peer]
    partitions: list[dict[str, Any]]
    last_error: str | None
    retrain: dict[str, Any]
    regime_shift: dict[str, Any] | None
    drift: Drifts
    verdict: dict[str, Any] | None
