"""A changed config file is taken up while the daemon runs, as far as that is possible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from vaeiso_monitor import settings as config_files
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

log = structlog.get_logger(__name__)

LIVE = frozenset(
    {"log", "retrain", "trainer", "gate", "drift", "regime", "reload"}
    | {"encoder", "model", "training", "scoring", "threshold"}  # the next training goes by them
)


class Reload:
    """Looks at the content of the config file, for a folder that is mounted tells no changes.

    A content that is not valid is refused as a whole and told once. ``apply`` takes the settings
    up; where it fails, it is called again with those that held before.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        apply: Callable[[Settings], None],
        telemetry: LifecycleTelemetry,
    ) -> None:
        self._path = path
        self._started_with = settings
        self._settings = settings
        self._apply = apply
        self._telemetry = telemetry
        self._seen = _digest(path)

    def look(self) -> None:
        """Take up what changed since the last look."""
        found = _digest(self._path)
        if found is None or found == self._seen:  # while it is written anew it may be gone
            return
        self._seen = found
        try:
            settings = config_files.load(self._path)
        except ConfigError as error:
            self._refused(str(error))
            return
        self._take_up(settings)

    def _take_up(self, settings: Settings) -> None:
        changed = _differences(self._settings, settings)
        waiting = [name for name in _differences(self._started_with, settings) if name not in LIVE]
        try:
            self._apply(settings)
        except (ConfigError, ValueError, RuntimeError, OSError) as error:
            self._apply(self._settings)
            self._refused(str(error))
            return
        self._settings = settings
        self._telemetry.config_reloaded(worked=True, restart_needed=bool(waiting))
        applied = [name for name in changed if name in LIVE]
        tell = log.warning if waiting else log.info
        tell("config_reloaded", applied=applied, need_a_restart=waiting)

    def _refused(self, why: str) -> None:
        self._telemetry.config_reloaded(worked=False, restart_needed=False)
        log.error("config_refused", path=str(self._path), error=why)


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


def _differences(before: Settings, after: Settings) -> list[str]:
    """Return the tables, as they are written, in which two settings differ."""
    fields = type(before).model_fields
    return [
        info.alias or name
        for name, info in fields.items()
        if getattr(before, name) != getattr(after, name)
    ]
