"""Where alerts and dead letters go: each sink returns when the messages are safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.sinks.fanout import FanOut, OnDelivered, ignore_delivery
from vaeiso_monitor.sinks.file import FileSink, FileSinkConfig
from vaeiso_monitor.sinks.kafka import KafkaSink, KafkaSinkConfig
from vaeiso_monitor.sinks.memory import MemorySink
from vaeiso_monitor.sinks.stdout import StdoutSink, StdoutSinkConfig
from vaeiso_monitor.sinks.webhook import WebhookSink, WebhookSinkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Sink

SinkConfig = StdoutSinkConfig | FileSinkConfig | KafkaSinkConfig | WebhookSinkConfig

__all__ = [
    "FanOut",
    "FileSinkConfig",
    "KafkaSinkConfig",
    "MemorySink",
    "SinkConfig",
    "StdoutSinkConfig",
    "WebhookSinkConfig",
    "open_sink",
    "open_sinks",
]


def open_sink(config: SinkConfig) -> Sink:
    """Return the sink that ``config`` describes; it connects when it is first used."""
    match config:
        case StdoutSinkConfig():
            return StdoutSink(config)
        case FileSinkConfig():
            return FileSink(config)
        case KafkaSinkConfig():
            return KafkaSink(config)
        case WebhookSinkConfig():
            return WebhookSink(config)


def open_sinks(
    configs: Sequence[SinkConfig], on_delivered: OnDelivered = ignore_delivery
) -> FanOut:
    """Return one sink that delivers to all of ``configs`` and reports each delivery."""
    details = [config.detail for config in configs]
    return FanOut([open_sink(config) for config in configs], on_delivered, details)
