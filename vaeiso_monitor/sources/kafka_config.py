"""The keys of a Kafka source, and what kafka-python calls them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, MinLen
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from vaeiso_monitor.peers.security import KafkaSecurity, client_settings

_ASSIGNORS: Final = {
    "cooperative-sticky": CooperativeStickyAssignor,
    "range": RangePartitionAssignor,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSourceConfig:
    """Topics of JSON records, read as a member of a consumer group.

    ``auto_offset_reset`` says where a group starts that has no position yet. All members of a
    group must use the same ``assignment``; with "cooperative-sticky" those that keep a partition
    do not pause while the group changes. ``poll_interval_limit_seconds`` is the longest time
    between two polls before the group gives the partitions away; ``outage_deadline_seconds`` is
    how long the cluster may be silent, or a commit may wait, before the daemon ends.
    """

    bootstrap_servers: Annotated[tuple[str, ...], MinLen(1)]
    topics: Annotated[tuple[str, ...], MinLen(1)]
    group_id: Annotated[str, MinLen(1)]
    type: Literal["kafka"] = "kafka"
    auto_offset_reset: Literal["latest", "earliest", "none"] = "latest"
    isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    security: KafkaSecurity = field(default_factory=KafkaSecurity)
    client_id: str = "vaeiso-monitor"
    assignment: Literal["cooperative-sticky", "range"] = "cooperative-sticky"
    max_poll_records: Annotated[int, Gt(0)] = 8192
    commit_interval_seconds: Annotated[float, Ge(0)] = 1.0
    session_timeout_seconds: Annotated[float, Gt(0)] = 45.0
    heartbeat_interval_seconds: Annotated[float, Gt(0)] = 3.0
    poll_interval_limit_seconds: Annotated[float, Gt(0)] = 300.0
    connect_timeout_seconds: Annotated[float, Gt(0)] = 10.0
    outage_deadline_seconds: Annotated[float, Gt(0)] = 300.0
    fetch_max_wait_seconds: Annotated[float, Gt(0)] = 0.5
    fetch_min_bytes: Annotated[int, Gt(0)] = 1
    fetch_max_bytes: Annotated[int, Gt(0)] = 52_428_800
    max_partition_fetch_bytes: Annotated[int, Gt(0)] = 4_194_304

    def __post_init__(self) -> None:
        if self.heartbeat_interval_seconds * 2 > self.session_timeout_seconds:
            msg = "heartbeat_interval_seconds must be at most half of session_timeout_seconds"
            raise ValueError(msg)

    @property
    def quiet_limit_seconds(self) -> float:
        """Silence of the sockets after which the cluster counts as lost."""
        return 3 * self.heartbeat_interval_seconds + 2 * self.fetch_max_wait_seconds


def consumer_settings(config: KafkaSourceConfig) -> dict[str, Any]:
    """Return the arguments of KafkaConsumer; no deserializers, for one that raises wedges poll."""
    return {
        **client_settings(config.bootstrap_servers, config.security, client_id=config.client_id),
        "group_id": config.group_id,
        "auto_offset_reset": config.auto_offset_reset,
        "isolation_level": config.isolation_level,
        "partition_assignment_strategy": [_ASSIGNORS[config.assignment]],
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "session_timeout_ms": _ms(config.session_timeout_seconds),
        "heartbeat_interval_ms": _ms(config.heartbeat_interval_seconds),
        "max_poll_interval_ms": _ms(config.poll_interval_limit_seconds),
        "bootstrap_timeout_ms": _ms(config.connect_timeout_seconds),
        "fetch_max_wait_ms": _ms(config.fetch_max_wait_seconds),
        "fetch_min_bytes": config.fetch_min_bytes,
        "fetch_max_bytes": config.fetch_max_bytes,
        "max_partition_fetch_bytes": config.max_partition_fetch_bytes,
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
