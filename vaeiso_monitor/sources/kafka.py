"""Records from Kafka topics, read as a member of a consumer group."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    SaslAuthenticationFailedError,
)
from kafka.structs import MemberState

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.clients import build_client
from vaeiso_monitor.peers.security import require_fast_checksums
from vaeiso_monitor.peers.topics import look_up
from vaeiso_monitor.peers.watchdog import Watchdog
from vaeiso_monitor.sources.kafka_batch import to_batch
from vaeiso_monitor.sources.kafka_config import KafkaSourceConfig, consumer_settings
from vaeiso_monitor.sources.kafka_consumer import open_consumer
from vaeiso_monitor.sources.kafka_offsets import Mark, Offsets
from vaeiso_monitor.sources.kafka_progress import Progress
from vaeiso_monitor.types import PartitionProgress, Polled, RawBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = structlog.get_logger(__name__)

_NOTHING: Final = RawBatch((), ())
_CLOSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_JOIN_MS: Final = (1000, 8000)
_FOR_THE_USER: Final = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)


class KafkaSource:
    """Reads topics; commits, in the background, only what was delivered and is still owned.

    It connects at the first poll. After any exception of the client it builds a new one and goes
    on at the committed position, until ``outage_deadline_seconds`` have passed in vain.
    """

    name = "kafka"

    def __init__(self, config: KafkaSourceConfig) -> None:
        require_fast_checksums()
        self.errors = 0
        self._config = config
        self._settings = consumer_settings(config)
        self._offsets = Offsets()
        self._watchdog = Watchdog()
        self._consumer: KafkaConsumer | None = None
        self._progress: Progress | None = None
        self._last_progress: tuple[PartitionProgress, ...] = ()
        self._down_since: float | None = None
        self._paused = False
        self._attempts = 0
        self._retry_at = 0.0
        self._join_wait_ms = _JOIN_MS[0]

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        """Return what has arrived, at most ``max_records``; it never ends."""
        if self._consumer is None and not self._connect(timeout):
            return Polled(_NOTHING, ())
        if self._paused:
            self._resume()
        limit = min(max_records, self._config.max_poll_records)
        records = self._poll(round(timeout * 1000), limit)
        if not records:
            return Polled(_NOTHING, ())
        return Polled(to_batch(records), self._offsets.marks(records))

    def commit(self, checkpoint: Sequence[Mark]) -> None:
        """Take over what was delivered; the broker has it ``commit_interval_seconds`` later."""
        self._offsets.note(checkpoint)
        self._send_commits()

    def keep_alive(self) -> None:
        """Stay in the group without reading: partitions are paused until the next poll."""
        if self._consumer is None:
            return
        self._paused = True
        self._consumer.pause(*self._consumer.assignment())
        # A partition assigned during this very call is not paused yet: put its records back.
        for tp, rows in self._poll(20, 1).items():
            if self._consumer is not None and tp in self._consumer.assignment():
                self._consumer.seek(tp, rows[0].offset)

    def progress(self) -> Sequence[PartitionProgress]:
        """Return lag and idle time of each assigned partition; another thread may ask."""
        return self._last_progress if self._progress is None else self._progress.snapshot()

    def connected(self) -> bool:
        """Say whether a broker was heard lately."""
        progress = self._progress
        return progress is not None and progress.heard()

    def check(self) -> str:
        """Look the topics and the group up, as the user that the configuration names."""
        config = self._config
        found = self._look_up()
        consumer = build_client(KafkaConsumer, self._settings)
        try:
            first = TopicPartition(config.topics[0], 0)
            with self._watchdog.limit("committed", config.connect_timeout_seconds * 6):
                consumer.committed(first, timeout_ms=round(config.connect_timeout_seconds * 1000))
        except KafkaError as error:
            raise self._for_the_user(error) from error
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)
        topics = ", ".join(f"{topic} ({count} partitions)" for topic, count in found.items())
        return f"Kafka at {', '.join(config.bootstrap_servers)}: {topics}, group {config.group_id}"

    def close(self) -> None:
        """Commit what was delivered, leave the group and release everything."""
        seconds = _CLOSE_SECONDS if self.connected() else 0.5
        until = monotonic() + seconds
        try:
            while self._consumer is not None and not self._offsets.idle() and monotonic() < until:
                self._offsets.send(0.0)
                self.keep_alive()  # a group that is changing takes no commits until it has settled
        except (ConfigError, TransientError) as error:
            log.warning("last_commit_failed", error=str(error))
        if not self._offsets.idle():
            log.warning("positions_not_committed", action="they are read again next time")
        self._drop_consumer(seconds)
        self._watchdog.close()

    def _look_up(self) -> dict[str, int]:
        config = self._config
        return look_up(
            config.bootstrap_servers,
            config.security,
            config.topics,
            need="READ",
            timeout_seconds=config.connect_timeout_seconds,
        )

    def _connect(self, timeout: float) -> bool:
        config = self._config
        if monotonic() < self._retry_at:
            sleep(min(timeout, max(0.0, self._retry_at - monotonic())))
            return False
        try:
            with self._watchdog.limit("connect", config.connect_timeout_seconds * 6):
                self._look_up()
                self._offsets.forget()
                consumer = open_consumer(
                    self._settings, config.topics, self._offsets, config.connect_timeout_seconds
                )
        except (TransientError, KafkaError) as error:
            self._attempts += 1
            self._retry_at = monotonic() + min(0.1 * 2**self._attempts, _LONGEST_PAUSE_SECONDS)
            self._failed(error)
            return False
        self._attempts = 0
        self._offsets.attach(consumer)
        self._consumer = consumer
        self._progress = Progress(consumer, config.quiet_limit_seconds)
        log.info("kafka_connected", topics=config.topics, group=config.group_id)
        return True

    def _poll(self, timeout_ms: int, limit: int) -> Mapping[TopicPartition, Sequence[Any]]:
        consumer, progress = self._consumer, self._progress
        assert consumer is not None
        assert progress is not None
        deadline = self._config.outage_deadline_seconds
        timeout_ms = max(timeout_ms, self._join_ms(consumer))
        try:
            with self._watchdog.limit("poll", timeout_ms / 1000 + deadline):
                records: dict[TopicPartition, list[Any]] = consumer.poll(timeout_ms, limit)
            self._send_commits()
        except Exception as error:  # noqa: BLE001 - only a new consumer goes on after any of them
            self._failed(error)
            return {}
        alive = self.connected()
        progress.update(records, alive=alive)
        self._watch_outage(alive)
        return records

    def _join_ms(self, consumer: KafkaConsumer) -> int:
        """Return how long to stay inside poll because the group is changing.

        A join that ends between two polls is thrown away and begun again, for all members, without
        end (kafka-python 3.0.12). Each attempt gets more time, so that none can miss for ever.
        """
        if consumer.group_metadata().state == MemberState.STABLE:
            self._join_wait_ms = _JOIN_MS[0]
            return 0
        wait, longest = self._join_wait_ms, _JOIN_MS[1]
        self._join_wait_ms = min(2 * wait, longest)
        return wait

    def _send_commits(self) -> None:
        if self._consumer is not None:
            self._offsets.send(self._config.commit_interval_seconds)
        overdue = self._offsets.overdue_seconds()
        if overdue > self._config.outage_deadline_seconds:
            msg = f"Kafka has taken no commit for {overdue:.0f} s"
            raise TransientError(msg)

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self._drop_consumer()
        if isinstance(error, _FOR_THE_USER):
            raise self._for_the_user(error) from error
        if isinstance(error, TransientError) and "taken no commit" in str(error):
            raise error
        log.warning("kafka_failed", error=str(error) or repr(error), action="connect again")
        self._watch_outage(False, error)

    def _watch_outage(self, alive: bool, error: Exception | None = None) -> None:
        now = monotonic()
        if alive:
            if self._down_since is not None:
                log.info("kafka_back", after_seconds=round(now - self._down_since, 1))
            self._down_since = None
            return
        if self._down_since is None:
            self._down_since = now
            log.warning("kafka_unreachable", deadline=self._config.outage_deadline_seconds)
        if now - self._down_since > self._config.outage_deadline_seconds:
            reason = str(error) if error is not None else "no broker answers"
            msg = f"Kafka was out of reach for {now - self._down_since:.0f} s: {reason}"
            raise TransientError(msg) from error

    def _for_the_user(self, error: Exception) -> Exception:
        if not isinstance(error, _FOR_THE_USER):
            return TransientError(f"Kafka did not answer: {error}")
        msg = f"Kafka refuses the source: {error}"
        if isinstance(error, (OffsetOutOfRangeError, NoOffsetForPartitionError)):
            msg += "; set auto_offset_reset to earliest or latest, or reset the group's position"
        return ConfigError(msg)

    def _resume(self) -> None:
        assert self._consumer is not None
        self._consumer.resume(*self._consumer.paused())
        self._paused = False

    def _drop_consumer(self, seconds: float = 1.0) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        self._last_progress = self.progress()  # type: ignore[assignment]
        self._progress, self._paused = None, False
        try:
            with self._watchdog.limit("close", 10 * _CLOSE_SECONDS):
                consumer.close(autocommit=False, timeout_ms=round(seconds * 1000))
        except KafkaError as error:
            log.warning("kafka_close_failed", error=str(error))
