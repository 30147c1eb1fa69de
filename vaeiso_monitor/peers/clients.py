"""Builds kafka-python's clients so that a failed attempt leaves nothing behind."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def build_client(kind: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """Return ``kind(**settings)``; where that fails, end the network thread it had started."""
    started: list[KafkaNetClient] = []

    def start(**configs: Any) -> KafkaNetClient:
        started.append(KafkaNetClient(**configs))
        return started[-1]

    try:
        return kind(kafka_client=start, **settings)
    except BaseException:
        for client in started:
            with suppress(KafkaError):
                client.close()
        raise
