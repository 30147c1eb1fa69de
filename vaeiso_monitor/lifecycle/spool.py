"""Requests to the daemon as files in a folder: written while it runs or not, taken when it does."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from vaeiso_monitor.errors import ConfigError

log = structlog.get_logger(__name__)

REQUESTS = "requests"  # the folder, inside that of the lifecycle
_MAX_BYTES = 65_536
_MAX_TAKEN = 100
_MAX_REFUSED = 100
_LEFTOVER_SECONDS = 3600.0


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    asked_at: float
    body: dict[str, Any] = {}  # msgspec copies an empty default


@dataclass(frozen=True, slots=True)
class Request:
    """One wish: what ``kind`` it is, when (Unix time) it was asked, and its JSON-able ``body``."""

    kind: str
    asked_at: float
    name: str
    body: Mapping[str, Any] = field(default_factory=dict)


class Spool:
    """A folder with one JSON file for each request, in the order they were asked.

    A request stays until :meth:`done` or :meth:`refuse` is called for it, so one that was being
    carried out when the process died is carried out again: whoever does so must be idempotent.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def put(self, kind: str, body: Mapping[str, Any] | None = None) -> Request:
        """Add a request, written beside and renamed in; raise ConfigError where that fails."""
        asked = self._clock()
        name = f"{round(asked * 1e6):016d}-{uuid.uuid4().hex[:8]}.json"
        content = msgspec.json.encode(_Document(kind, asked, dict(body or {})))
        if len(content) > _MAX_BYTES:
            msg = (
                f"the request has {len(content)} bytes, at most {_MAX_BYTES} are taken: shorten it"
            )
            raise ConfigError(msg)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(self._folder, name, content)
        except OSError as error:
            msg = f"cannot leave a request in {self._folder}: {error.strerror or error}"
            raise ConfigError(msg) from error
        return Request(kind, asked, name, dict(body or {}))

    def pending(self) -> list[Request]:
        """Return what waits, oldest first (up to 100); a file that is no request is set aside."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file())
        except FileNotFoundError:
            return []
        self._sweep(names)
        waiting = [name for name in names if _is_request(name)]
        found = [self._read(name) for name in waiting[:_MAX_TAKEN]]
        return [request for request in found if request is not None]

    def done(self, request: Request) -> None:
        """Forget a request that was carried out."""
        (self._folder / request.name).unlink(missing_ok=True)

    def refuse(self, request: Request, why: str) -> None:
        """Set a request aside that cannot be carried out."""
        self._set_aside(request.name, why)

    def _read(self, name: str) -> Request | None:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                self._set_aside(name, f"more than {_MAX_BYTES} bytes")
                return None
            found = msgspec.json.decode(content, type=_Document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._set_aside(name, str(error))
            return None
        return Request(found.kind, found.asked_at, name, found.body)

    def _set_aside(self, name: str, why: str) -> None:
        log.warning("request_refused", name=name, reason=why)
        path = self._folder / name
        with contextlib.suppress(FileNotFoundError):
            path.replace(path.with_name(f"{name}.refused"))

    def _sweep(self, names: list[str]) -> None:
        """Bound what lies aside, and remove what a writer that was killed left behind."""
        refused = [name for name in names if name.endswith(".refused")]
        for name in refused[:-_MAX_REFUSED]:
            (self._folder / name).unlink(missing_ok=True)
        for name in names:
            if name.startswith(".incoming-") and self._is_old(name):
                (self._folder / name).unlink(missing_ok=True)

    def _is_old(self, name: str) -> bool:
        try:
            written = (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return False
        return self._clock() - written > _LEFTOVER_SECONDS


def _is_request(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _write(folder: Path, name: str, content: bytes) -> None:
    beside = folder / f".incoming-{uuid.uuid4().hex}"
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / name)
    finally:
        beside.unlink(missing_ok=True)
