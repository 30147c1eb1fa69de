"""The log: lines for a person at a terminal, JSON for a machine, the libraries' own included."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

import structlog

Level = Literal["debug", "info", "warning", "error"]

_HIDDEN = "***"
_SECRET_KEY = re.compile(r"password|passwd|secret|token|api_?key|authorization|credential", re.I)
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# These libraries tell at info what only their own authors want to know.
QUIET = ("kafka", "uvicorn.access", "uvicorn.error", "apscheduler", "httpx", "httpcore", "asyncio")


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """What is logged and how; ``levels`` sets single components, e.g. ``{"kafka": "debug"}``.

    ``format = "auto"`` is console on a terminal and JSON everywhere else.
    """

    level: Level = "info"
    format: Literal["auto", "console", "json"] = "auto"
    levels: Mapping[str, Level] = field(default_factory=dict)


def configure_logging(config: LoggingConfig, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging through one chain to ``stream``.

    The stream is standard error unless given, since standard output belongs to alerts and results.
    """
    stream = stream or sys.stderr
    human = config.format == "console" or (config.format == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(human=human, colors=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    for name, level in _levels(config).items():
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def _levels(config: LoggingConfig) -> dict[str, str]:
    quiet = {name: "warning" for name in QUIET if config.level in ("debug", "info")}
    return quiet | dict(config.levels)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]


def _formatter(*, human: bool, colors: bool) -> logging.Formatter:
    last: structlog.typing.Processor
    renderer: structlog.typing.Processor
    if human:
        renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, pad_level=False)
        last = _short_time
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        last = structlog.processors.dict_tracebacks
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(), processors=[remove, last, hide_secrets, renderer]
    )


def _short_time(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Shorten the time of a console line to hours, minutes and seconds."""
    event["timestamp"] = str(event.get("timestamp", ""))[11:19]
    return event


def hide_secrets(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the values of secret keys, and user and password inside URLs, at any depth."""
    for key, value in event.items():
        if not key.startswith("_"):
            event[key] = _HIDDEN if _SECRET_KEY.search(key) else _hidden(value)
    return event


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return _URL_PASSWORD.sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN if _SECRET_KEY.search(str(key)) else _hidden(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(inner) for inner in value]
    return value
