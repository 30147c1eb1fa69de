"""Opens a consumer that is ready to join its group."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.peers.clients import build_client
from vaeiso_monitor.sources.kafka_records import read_quickly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def open_consumer(
    settings: Mapping[str, Any],
    topics: Sequence[str],
    listener: AsyncConsumerRebalanceListener,
    timeout_seconds: float,
) -> KafkaConsumer:
    """Return a consumer that has subscribed and knows the partitions of its topics.

    One that leads its group without knowing them assigns none, to itself nor to the others, and
    nothing corrects that later (seen with kafka-python 3.0.12).
    """
    consumer = build_client(KafkaConsumer, settings)
    read_quickly(consumer)
    consumer.subscribe(topics=list(topics), listener=listener)
    until = monotonic() + timeout_seconds
    asked = monotonic()
    while any(consumer._cluster.partitions_for_topic(topic) is None for topic in topics):
        if monotonic() > until:
            consumer.close(autocommit=False, timeout_ms=1000)
            msg = f"no broker tells the partitions of {', '.join(topics)}"
            raise TransientError(msg)
        if monotonic() - asked > 0.5:
            consumer._cluster.request_update()
            asked = monotonic()
        sleep(0.005)
    return consumer
