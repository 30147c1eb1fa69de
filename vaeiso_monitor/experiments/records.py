"""Results on disk: one JSON file for each finished run, so that an interrupted series goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vaeiso_monitor.errors import ConfigError


def stored(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the run kept in ``path`` if it was made with the same ``settings``, else None."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a finished run: {error}; remove it to run it again"
        raise ConfigError(msg) from error
    same = isinstance(document, dict) and document.get("settings") == plain(settings)
    run: dict[str, Any] | None = document["run"] if same else None
    return run


def store(path: Path, settings: dict[str, Any], run: dict[str, Any]) -> None:
    """Write a finished run; a reader sees all of it or nothing."""
    write_json(path, {"settings": settings, "run": run})


def write_json(path: Path, document: Any) -> None:
    """Write ``document`` beside and rename it in; ConfigError where the folder cannot be used."""
    beside = path.with_suffix(".incoming")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error


def plain(document: Any) -> Any:
    """Return ``document`` as JSON would give it back: tuples as lists."""
    return json.loads(json.dumps(document))
