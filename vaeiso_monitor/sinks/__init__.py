"""Where alerts and dead letters go: each sink returns when the messages are safe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaeiso_monitor.sinks.alertmanager import AlertmanagerSink
from vaeiso_monitor.sinks.alertmanager_config import AlertmanagerSinkConfig
from vaeiso_monitor.sinks.fanout import FanOut, OnDelivered, ignore_delivery
from vaeiso_monitor.sinks.file import FileSink, FileSinkConfig
from vaeiso_monitor.sinks.kafka import KafkaSink, KafkaSinkConfig
from vaeiso_monitor.sinks.memory import MemorySink
from vaeiso_monitor.sinks.stdout import StdoutSink, StdoutSinkConfig
from vaeiso_monitor.sinks.webhook import WebhookSink, WebhookSinkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Sink

SinkConfig = (
    StdoutSinkConfig | FileSinkConfig | KafkaSinkConfig | WebhookSinkConfig | AlertmanagerSinkConfig
)

__all__ = [
    "AlertmanagerSinkConfig",
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


def open_sink(
    config: SinkConfig, *, quiet_seconds: float = 300.0, folder: Path | None = None
) -> Sink:
    """Return the sink that ``config`` describes; it connects when it is first used.

    ``quiet_seconds`` without an alert end an episode; ``folder`` is where a sink may keep what it
    must not forget. Only Alertmanager's asks for either.
    """
    match config:
        case AlertmanagerSinkConfig():
            return AlertmanagerSink(config, quiet_seconds=quiet_seconds, folder=folder)
        case StdoutSinkConfig():
            return StdoutSink(config)
        case FileSinkConfig():
            return FileSink(config)
        case KafkaSinkConfig():
            return KafkaSink(config)
        case WebhookSinkConfig():
            return WebhookSink(config)


def open_sinks(
    configs: Sequence[SinkConfig],
    on_delivered: OnDelivered = ignore_delivery,
    *,
    quiet_seconds: float = 300.0,
    folder: Path | None = None,
) -> FanOut:
    """Return one sink that delivers to all of ``configs`` and reports each delivery."""
    details = [config.detail for config in configs]
    sinks = [open_sink(config, quiet_seconds=quiet_seconds, folder=folder) for config in configs]
    return FanOut(sinks, on_delivered, details)
