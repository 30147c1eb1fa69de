"""Messages to a Kafka topic, acknowledged by all replicas."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import structlog
from annotated_types import Ge, Gt, MinLen
from kafka import KafkaProducer
from kafka.errors import (
    AuthorizationError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
    SaslAuthenticationFailedError,
    UnknownProducerIdError,
)

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.clients import build_client
from vaeiso_monitor.peers.security import (
    KafkaSecurity,
    client_settings,
    require_fast_checksums,
)
from vaeiso_monitor.peers.topics import look_up
from vaeiso_monitor.types import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Message

log = structlog.get_logger(__name__)

_FOR_THE_USER: Final = (
    AuthorizationError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    SaslAuthenticationFailedError,
)
_LONGEST_PAUSE_SECONDS: Final = 5.0
# After these the producer's numbering of its records no longer agrees with the broker's.
_NEEDS_A_NEW_PRODUCER: Final = (
    UnknownProducerIdError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSinkConfig:
    """A topic that receives one JSON document a message, keyed by the message's identity."""

    bootstrap_servers: Annotated[tuple[str, ...], MinLen(1)]
    topic: Annotated[str, MinLen(1)]
    type: Literal["kafka"] = "kafka"
    detail: Detail = "every"
    security: KafkaSecurity = field(default_factory=KafkaSecurity)
    client_id: str = "vaeiso-monitor"
    compression: Literal["none", "gzip", "lz4", "zstd"] = "lz4"
    headers: dict[str, str] = field(default_factory=dict)
    linger_seconds: Annotated[float, Ge(0)] = 0.02
    batch_bytes: Annotated[int, Gt(0)] = 262_144
    max_request_bytes: Annotated[int, Gt(0)] = 1_048_576
    connect_timeout_seconds: Annotated[float, Gt(0)] = 10.0
    deadline_seconds: Annotated[float, Gt(0)] = 120.0


class KafkaSink:
    """Delivers with an idempotent producer: returns when all replicas have every message."""

    name = "kafka"

    def __init__(self, config: KafkaSinkConfig) -> None:
        require_fast_checksums()
        self.errors = 0
        self._config = config
        self._settings = _producer_settings(config)
        self._headers = [(name, value.encode()) for name, value in config.headers.items()]
        self._producer: KafkaProducer | None = None
        self._works = True

    def deliver(self, messages: Sequence[Message]) -> None:
        """Deliver all of them, or raise TransientError after ``deadline_seconds``.

        Raises ConfigError for what no retry can mend: a missing right, a message over the limit.
        """
        if not messages:
            return
        until = monotonic() + self._config.deadline_seconds
        for attempt in count():
            try:
                self._send(messages, until)
            except (KafkaError, TransientError) as error:
                self._failed(error, until)
            else:
                self._works = True
                return
            sleep(max(0.0, min(0.1 * 2**attempt, _LONGEST_PAUSE_SECONDS, until - monotonic())))

    def connected(self) -> bool:
        """Say whether the last delivery worked."""
        return self._works

    def check(self) -> str:
        """Look the topic up, as the user that the configuration names."""
        found = self._look_up()
        where = ", ".join(self._config.bootstrap_servers)
        return (
            f"Kafka at {where}: topic {self._config.topic}, {found[self._config.topic]} partitions"
        )

    def close(self) -> None:
        """Close the producer; what was delivered is already safe."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with suppress(KafkaError):
            producer.close(timeout=2)
            return
        # close() gives up before it stops its thread when something is still unsent.
        producer._sender.force_close()

    def _send(self, messages: Sequence[Message], until: float) -> None:
        producer = self._connected_producer()
        topic, headers = self._config.topic, self._headers
        futures = [
            producer.send(topic, message.to_json(), message.key, headers) for message in messages
        ]
        producer.flush(timeout=max(0.001, until - monotonic()))
        for future in futures:
            future.get(timeout=max(0.001, until - monotonic()))

    def _connected_producer(self) -> KafkaProducer:
        if self._producer is None:
            self._look_up()
            self._producer = build_client(KafkaProducer, self._settings)
            log.info("kafka_connected", topic=self._config.topic)
        return self._producer

    def _look_up(self) -> dict[str, int]:
        return look_up(
            self._config.bootstrap_servers,
            self._config.security,
            [self._config.topic],
            need="WRITE",
            timeout_seconds=self._config.connect_timeout_seconds,
        )

    def _failed(self, error: Exception, until: float) -> None:
        """Return where another attempt makes sense within the deadline."""
        self.errors += 1
        self._works = False
        if isinstance(error, _FOR_THE_USER):
            self.close()
            msg = f"Kafka refuses messages for the topic {self._config.topic!r}: {error}"
            raise ConfigError(msg) from error
        log.warning("kafka_delivery_failed", error=str(error), action="send again")
        if isinstance(error, _NEEDS_A_NEW_PRODUCER) or monotonic() >= until:
            self.close()
        if monotonic() >= until:
            msg = f"Kafka took no messages for {self._config.deadline_seconds:.0f} s: {error}"
            raise TransientError(msg) from error


def _producer_settings(config: KafkaSinkConfig) -> dict[str, Any]:
    deadline_ms = round(config.deadline_seconds * 1000)
    linger_ms = round(config.linger_seconds * 1000)
    return {
        **client_settings(config.bootstrap_servers, config.security, client_id=config.client_id),
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "compression_type": None if config.compression == "none" else config.compression,
        "linger_ms": linger_ms,
        "batch_size": config.batch_bytes,
        "max_request_size": config.max_request_bytes,
        "bootstrap_timeout_ms": round(config.connect_timeout_seconds * 1000),
        "max_block_ms": deadline_ms,
        "request_timeout_ms": min(30_000, max(1000, deadline_ms - linger_ms)),
        "delivery_timeout_ms": max(deadline_ms, 1000 + linger_ms),
    }
