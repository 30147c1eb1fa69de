"""How each partition stands, and when the cluster was last heard."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from kafka.metrics.measurable_stat import AbstractMeasurableStat

from vaeiso_monitor.types import PartitionProgress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafka import KafkaConsumer, TopicPartition

_REFRESH_SECONDS = 0.25


class _LastHeard(AbstractMeasurableStat):  # type: ignore[misc]
    """The moment of the last bytes from any broker; recorded on the client's own thread."""

    def __init__(self) -> None:
        self.at = monotonic()

    def record(self, config: object, value: float, time_ms: float) -> None:
        self.at = monotonic()

    def measure(self, config: object, now: float) -> float:
        return self.at


class Progress:
    """Follows the partitions of one consumer; other threads may read :meth:`snapshot`."""

    def __init__(self, consumer: KafkaConsumer, quiet_limit_seconds: float) -> None:
        self._consumer = consumer
        self._quiet_limit = quiet_limit_seconds
        self._asked = monotonic()
        self._moved: dict[TopicPartition, float] = {}
        self._lag: dict[TopicPartition, int | None] = {}
        self._refreshed = 0.0
        self._heard = _LastHeard()
        # poll() answers {} for ever when the cluster is gone; what the sockets read tells.
        metrics = consumer._metrics
        name = metrics.metric_name("last-heard", "vaeiso-monitor")
        metrics.get_sensor("bytes-received").add(name, self._heard)

    def heard(self) -> bool:
        """Say whether any broker sent anything lately."""
        return monotonic() - self._heard.at < self._quiet_limit

    def update(self, records: Iterable[TopicPartition], *, alive: bool) -> None:
        """Take over what was polled; look at all partitions a few times a second."""
        now = monotonic()
        for tp in records:
            self._moved[tp] = now
        if now - self._refreshed >= _REFRESH_SECONDS:
            self._refreshed = now
            self._refresh(now, alive)
            self._ask_when_quiet(now)

    def snapshot(self) -> tuple[PartitionProgress, ...]:
        """Return each partition with its lag and the seconds since it moved or had nothing left."""
        now = monotonic()
        return tuple(
            PartitionProgress(tp.topic, tp.partition, lag, max(0.0, now - self._moved.get(tp, now)))
            for tp, lag in sorted(self._lag.copy().items())
        )

    def _ask_when_quiet(self, now: float) -> None:
        """Ask for something: a healthy broker is silent too while it holds back a rebalance."""
        half = self._quiet_limit / 2
        if now - self._heard.at > half and now - self._asked > half:
            self._asked = now
            self._consumer._cluster.request_update()

    def _refresh(self, now: float, alive: bool) -> None:
        assignment = self._consumer.assignment() or set()
        lags: dict[TopicPartition, int | None] = {}
        for tp in assignment:
            lags[tp] = self._lag_of(tp)
            if tp not in self._moved or (alive and not lags[tp]):
                self._moved[tp] = now
        for gone in self._moved.keys() - assignment:
            self._moved.pop(gone)
        self._lag = lags

    def _lag_of(self, tp: TopicPartition) -> int | None:
        # position() of the consumer may ask the broker and wait; its own record of it does not.
        state = self._consumer._subscription.assignment.get(tp)
        if state is None or state.position is None or state.highwater is None:
            return None
        return max(0, int(state.highwater) - int(state.position.offset))
