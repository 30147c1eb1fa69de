"""Where reading goes on after a restart: a small JSON file, replaced in one step."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from glob import escape
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FilePosition:
    """How far one file was delivered, and how to know it again.

    ``records`` and ``position`` (bytes, of the decompressed text) are the next to be read; ``head``
    is a digest of the first ``head_bytes`` bytes. ``done``: the file was read to its end.
    """

    inode: int = 0
    generation: int = 0
    records: int = 0
    position: int = 0
    head_bytes: int = 0
    head: str = ""
    done: bool = False


class PositionFile:
    """Keeps the committed position of each file; without a path they live in memory only."""

    def __init__(self, path: str | None, interval_seconds: float) -> None:
        self._path = None if path is None else Path(path)
        self._interval = interval_seconds
        self._entries = {} if self._path is None else _load(self._path)
        self._changed = False
        self._written_at = float("-inf")

    def get(self, path: str) -> FilePosition | None:
        """Return where to go on in a file, or None where it was never read."""
        return self._entries.get(path)

    def update(self, entries: Mapping[str, FilePosition]) -> None:
        """Take over what was delivered; it is durable after the interval."""
        if entries:
            self._entries.update(entries)
            self._changed = True
        self.write_when_due()

    def write_when_due(self) -> None:
        """Write when something changed and the last time is long enough ago."""
        if self._changed and monotonic() - self._written_at >= self._interval:
            self.write()

    def write(self) -> None:
        """Write now: beside, synchronised, renamed into place."""
        self._changed = False
        self._written_at = monotonic()
        if self._path is None:
            return
        self._forget_deleted()
        files = {path: asdict(entry) for path, entry in self._entries.items()}
        _replace(self._path, msgspec.json.encode({"version": _VERSION, "files": files}))

    def _forget_deleted(self) -> None:
        for path in [path for path, entry in self._entries.items() if entry.done]:
            if not os.path.lexists(path):
                del self._entries[path]


def _replace(path: Path, text: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        msg = f"cannot write position_file {path}: {error.strerror or error}"
        raise ConfigError(msg) from error


def _load(path: Path) -> dict[str, FilePosition]:
    try:
        _clear(path)
        return _entries(msgspec.json.decode(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        msg = f"position_file {path} cannot be read ({error}): mend it, or delete it to start over"
        raise ConfigError(msg) from error


def _clear(path: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for left in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        try:
            os.kill(int(left.name.split(".")[-2]), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (PermissionError, ValueError, OverflowError):  # it lives, or it is no file of ours
            continue


def _entries(found: dict[str, Any]) -> dict[str, FilePosition]:
    if found["version"] != _VERSION:
        msg = f"version {found['version']} instead of {_VERSION}"
        raise ValueError(msg)
    return {name: _entry(entry) for name, entry in found["files"].items()}


def _entry(values: dict[str, Any]) -> FilePosition:
    kinds = {field.name: type(field.default) for field in fields(FilePosition)}
    for name, value in values.items():
        if type(value) is not kinds.get(name):
            msg = f"{name} = {value!r}"
            raise ValueError(msg)
    return FilePosition(**values)
