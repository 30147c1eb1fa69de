"""Secrets come from the environment or from a file, never from the configuration itself."""

from __future__ import annotations

import os
from pathlib import Path

from vaeiso_monitor.errors import ConfigError


def read_secret(environment: str | None, file: str | None, *, what: str) -> str | None:
    """Return the secret named by a variable or a file, or None where neither is given.

    Raises ConfigError where both are given, the variable is unset or the file cannot be read.
    """
    if environment is not None and file is not None:
        msg = f"{what}: give the name of a variable or of a file, not both"
        raise ConfigError(msg)
    if environment is not None:
        return _from_environment(environment, what)
    return None if file is None else _from_file(file, what)


def _from_environment(name: str, what: str) -> str:
    value = os.environ.get(name)
    if not value:
        msg = f"{what}: the environment variable {name} is not set"
        raise ConfigError(msg)
    return value


def _from_file(path: str, what: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        msg = f"{what}: cannot read {path}: {reason}"
        raise ConfigError(msg) from error
    if not value:
        msg = f"{what}: {path} is empty"
        raise ConfigError(msg)
    return value
