"""Where the lifecycle keeps what it must not forget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt

from vaeiso_monitor.bundle import exclusively
from vaeiso_monitor.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LifecycleConfig:
    """The folder of the window, the alert history, requests and drift histories.

    It belongs to one daemon: two at a time would spoil each other's window.
    """

    path: str = "state"


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Whether, and how often, a running daemon looks at its config file for changes."""

    enabled: bool = True
    interval_seconds: Annotated[float, Gt(0)] = 30.0


@contextmanager
def owned(config: LifecycleConfig) -> Iterator[Path]:
    """Yield the folder, made and owned by this process for the block; ConfigError if it is taken.

    The kernel gives it up when the process ends, however it ends.
    """
    folder = Path(config.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusively(folder / "lock", wait=False) as held:
            if held:
                yield folder
                return
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(str(folder)):
            raise
        msg = f"lifecycle.path: cannot write to {folder}: {error.strerror or error}"
        raise ConfigError(msg) from error
    msg = f"lifecycle.path: {folder} is in use by another daemon; give each a folder of its own"
    raise ConfigError(msg)
