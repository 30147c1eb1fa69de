"""The sum of the components' configs: one TOML file, then ``VAEISO_*`` variables over it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vaeiso_monitor.alerts import AlertsConfig, DeadLettersConfig
from vaeiso_monitor.bundle import StoreConfig
from vaeiso_monitor.detector import Recipe, ThresholdConfig
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import (
    ColdStartConfig,
    DriftConfig,
    GateConfig,
    HistoryConfig,
    LifecycleConfig,
    RegimeConfig,
    ReloadConfig,
    RetrainConfig,
    TrainerConfig,
    WindowConfig,
)
from vaeiso_monitor.model import ModelConfig, ScoringConfig, TrainingConfig, resolve_device
from vaeiso_monitor.pipeline import PipelineConfig
from vaeiso_monitor.records import EncoderConfig, Schema
from vaeiso_monitor.settings.environment import read_environment, variables
from vaeiso_monitor.settings.problems import Problem, explain_errors, known_keys, unknown_key
from vaeiso_monitor.sinks import SinkConfig
from vaeiso_monitor.sources import SourceConfig
from vaeiso_monitor.telemetry import LoggingConfig
from vaeiso_monitor.web import ServerConfig

if TYPE_CHECKING:
    import torch

_Sinks = tuple[Annotated[SinkConfig, Field(discriminator="type")], ...]


@dataclass(frozen=True, slots=True)
class _Alerts(AlertsConfig):
    """The same keys; a wrong key of a sink is told for its own type, not for every type."""

    sinks: _Sinks = field(default_factory=lambda: AlertsConfig().sinks)


@dataclass(frozen=True, slots=True)
class _DeadLetters(DeadLettersConfig):
    """The same keys, in the same way."""

    sinks: _Sinks = field(default_factory=lambda: DeadLettersConfig().sinks)


class _Environment(PydanticBaseSettingsSource):
    """The ``VAEISO_*`` variables; pydantic's own reader would take a bare SCHEMA for a section."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: all fields are read together."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the variables say."""
        return read_environment(os.environ, known_keys(self.settings_cls))


class Settings(BaseSettings):
    """Everything ``run`` needs; each section is the config of one component."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    source: Annotated[SourceConfig, Field(discriminator="type")]
    record_schema: Annotated[Schema, Field(alias="schema")]
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    scoring: ScoringConfig = ScoringConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    alerts: _Alerts = _Alerts()
    dead_letters: _DeadLetters = _DeadLetters()
    store: StoreConfig = StoreConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    window: WindowConfig = WindowConfig()
    history: HistoryConfig = HistoryConfig()
    regime: RegimeConfig = RegimeConfig()
    drift: DriftConfig = DriftConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    retrain: RetrainConfig = RetrainConfig()
    trainer: TrainerConfig = TrainerConfig()
    gate: GateConfig = GateConfig()
    pipeline: PipelineConfig = PipelineConfig()
    server: ServerConfig = ServerConfig()
    reload: ReloadConfig = ReloadConfig()
    log: LoggingConfig = LoggingConfig()
    device: str = "auto"

    @property
    def recipe(self) -> Recipe:
        """How a bundle is trained from records."""
        return Recipe(
            encoder=self.encoder,
            model=self.model,
            training=self.training,
            scoring=self.scoring,
            threshold=self.threshold,
            device=self.device,
        )

    def torch_device(self) -> torch.device:
        """Return where the model runs; raise ConfigError where this machine lacks it."""
        try:
            return resolve_device(self.device)
        except ValueError as error:
            msg = f'{error}; device = "auto" takes what there is'
            raise ConfigError(msg) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file; nothing else is read."""
        return _Environment(settings_cls), init_settings


def load(path: Path) -> Settings:
    """Read and validate ``path``; raise ConfigError naming every wrong key, its line and remedy."""
    if not path.is_file():
        msg = f"{path}: no such config file; `vaeiso-monitor init` writes one from a sample"
        raise ConfigError(msg)
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: not valid TOML: {error}"
        raise ConfigError(msg) from error
    return parse(document, text, str(path))


def parse(document: Mapping[str, Any], text: str = "", name: str = "config") -> Settings:
    """Validate ``document`` (whose TOML is ``text``, for line numbers) under the environment."""
    problems = list(_unknown_variables())
    settings = None
    try:
        settings = Settings(**document)
    except ValidationError as error:
        environment = read_environment(os.environ, known_keys(Settings))
        errors = error.errors(include_url=False)
        problems += explain_errors(errors, Settings, text, environment)
    if problems or settings is None:
        lines = list(dict.fromkeys(str(problem) for problem in problems))
        msg = f"{name}: {len(lines)} problem{'s'[: len(lines) > 1]}\n  " + "\n  ".join(lines)
        raise ConfigError(msg)
    return settings


def _unknown_variables() -> Iterator[Problem]:
    """Yield ``VAEISO_*`` variables that name no section."""
    sections = known_keys(Settings)
    for name, keys in variables(os.environ):
        if keys[0] not in sections:
            yield Problem(f"environment variable {name}", None, unknown_key(keys[0], sections))
