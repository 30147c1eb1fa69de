"""Where records come from: memory, files and Kafka behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.sources.files import FileSource, FileSourceConfig
from vaeiso_monitor.sources.kafka import KafkaSource
from vaeiso_monitor.sources.kafka_config import KafkaSourceConfig
from vaeiso_monitor.sources.memory import MemorySource
from vaeiso_monitor.sources.plant import PlantConfig, PlantSource

if TYPE_CHECKING:
    from vaeiso_monitor.types import Source

SourceConfig = FileSourceConfig | KafkaSourceConfig | PlantConfig

__all__ = [
    "FileSourceConfig",
    "KafkaSourceConfig",
    "MemorySource",
    "PlantConfig",
    "SourceConfig",
    "open_source",
]


def open_source(config: SourceConfig, *, max_record_bytes: int) -> Source:
    """Return the source that ``config`` describes.

    A line of a file that is longer than ``max_record_bytes`` becomes a reject without ever being
    in memory; in Kafka the topic bounds the records, and the decoder checks them.
    """
    match config:
        case FileSourceConfig():
            return FileSource(config, max_record_bytes=max_record_bytes)
        case KafkaSourceConfig():
            return KafkaSource(config)
        case PlantConfig():
            return PlantSource(config)
