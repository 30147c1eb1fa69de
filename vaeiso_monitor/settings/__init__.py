"""The sum of the components' configs: one TOML file, then ``VAEISO_*`` variables over it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vaeiso_monitor.alerts import AlertsConfig, DeadLettersConfig
from vaeiso_monitor.bundle import StoreConfig
from vaeiso_monitor.detector import Recipe, ThresholdConfig
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import ColdStartConfig
from vaeiso_monitor.model import ModelConfig, ScoringConfig, TrainingConfig
from vaeiso_monitor.pipeline import PipelineConfig
from vaeiso_monitor.records import EncoderConfig, Schema
from vaeiso_monitor.settings.problems import Problem, explain_errors, known_keys, unknown_key
from vaeiso_monitor.sources import SourceConfig
from vaeiso_monitor.telemetry import LoggingConfig
from vaeiso_monitor.web import ServerConfig

_PREFIX = "VAEISO_"
_NOT_OURS = {"VAEISO_DATA"}  # where reference data sets lie: no key of the daemon


class Settings(BaseSettings):
    """Everything ``run`` needs; each section is the config of one component."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    source: Annotated[SourceConfig, Field(discriminator="type")]
    record_schema: Annotated[Schema, Field(alias="schema")]
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    scoring: ScoringConfig = ScoringConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    alerts: AlertsConfig = AlertsConfig()
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    store: StoreConfig = StoreConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    pipeline: PipelineConfig = PipelineConfig()
    server: ServerConfig = ServerConfig()
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
        return env_settings, init_settings


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
        problems += explain_errors(error.errors(include_url=False), Settings, text)
    if problems or settings is None:
        lines = list(dict.fromkeys(str(problem) for problem in problems))
        msg = f"{name}: {len(lines)} problem{'s'[: len(lines) > 1]}\n  " + "\n  ".join(lines)
        raise ConfigError(msg)
    return settings


def _unknown_variables() -> Iterator[Problem]:
    """Yield ``VAEISO_*`` variables that name no section: pydantic passes over these in silence."""
    sections = known_keys(Settings)
    for name in sorted(set(os.environ) - _NOT_OURS):
        section = name.removeprefix(_PREFIX).split("__")[0].lower()
        if name.startswith(_PREFIX) and section not in sections:
            yield Problem(f"environment variable {name}", None, unknown_key(section, sections))
