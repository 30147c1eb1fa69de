"""What an alert holds, how alerts are gathered into episodes, and where all of it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from vaeiso_monitor.sinks import (
    AlertmanagerSinkConfig,
    FileSinkConfig,
    SinkConfig,
    StdoutSinkConfig,
)


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """What an alert holds and where it goes (``[[alerts.sinks]]``).

    The last three keys are for sinks with ``detail = "episodes"``: an episode ends after
    ``cooldown_seconds`` without an alert, is summarised every ``summary_seconds`` while it lasts,
    and where more than ``flood_entities`` begin one within a cooldown, they become one flood.
    """

    top_features: Annotated[int, Ge(1)] = 5
    top_latents: Annotated[int, Ge(0)] = 3
    include_record: bool = True
    cooldown_seconds: Annotated[float, Gt(0)] = 300.0
    summary_seconds: Annotated[float, Gt(0)] = 900.0
    flood_entities: Annotated[int, Ge(1)] = 20
    sinks: tuple[SinkConfig, ...] = (StdoutSinkConfig(),)


@dataclass(frozen=True, slots=True)
class DeadLettersConfig:
    """Where records go that do not fit the schema (``[[dead_letters.sinks]]``)."""

    sinks: tuple[SinkConfig, ...] = (FileSinkConfig(path="state/dead_letters.jsonl"),)

    def __post_init__(self) -> None:
        """Refuse a sink that takes alerts only."""
        if any(isinstance(sink, AlertmanagerSinkConfig) for sink in self.sinks):
            msg = "sinks: Alertmanager takes alerts, no dead letters"
            raise ValueError(msg)
