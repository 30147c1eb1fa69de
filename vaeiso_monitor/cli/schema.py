"""``schema``: the shapes of what goes in and comes out, for editors and readers of alerts."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Subject(StrEnum):
    """What has a schema."""

    alerts = "alerts"
    config = "config"


def schema(
    subject: Annotated[
        Subject, typer.Argument(metavar="SUBJECT", help="`alerts` or `config`.")
    ] = Subject.alerts,
) -> None:
    """Write the JSON Schema of the alerts, or of the config, to standard output."""
    document = _alerts() if subject is Subject.alerts else _config()
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _alerts() -> dict[str, Any]:
    from vaeiso_monitor.alerts import message_schema

    return message_schema()


def _config() -> dict[str, Any]:
    from vaeiso_monitor.settings import Settings

    return {"$schema": _DIALECT, "title": "A config of vaeiso_monitor"} | {
        key: part for key, part in Settings.model_json_schema().items() if key != "title"
    }
