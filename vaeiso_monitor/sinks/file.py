"""Messages as JSON lines in a file that is rotated by size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from annotated_types import Ge, MinLen

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.types import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Message

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSinkConfig:
    """One JSON document a line, appended to ``path``.

    When the file would grow over ``max_bytes`` (0 = never) it becomes ``path.1``, the one before
    ``path.2`` and so on; ``backups`` of them are kept. With ``fsync`` a delivered message survives
    a crash of the machine, without it a crash of the process.
    """

    path: Annotated[str, MinLen(1)]
    type: Literal["file"] = "file"
    detail: Detail = "every"
    max_bytes: Annotated[int, Ge(0)] = 100_000_000
    backups: Annotated[int, Ge(0)] = 5
    fsync: bool = True


class FileSink:
    """Appends messages; a line torn by a crash is ended first, so that no message joins it."""

    name = "file"

    def __init__(self, config: FileSinkConfig) -> None:
        self._config = config
        self._path = Path(config.path)
        self._descriptor: int | None = None
        self._size = 0
        self._works = True

    def deliver(self, messages: Sequence[Message]) -> None:
        """Append all of them; raise TransientError where the disk is full or the path is gone."""
        if not messages:
            return
        lines = [message.to_json() + b"\n" for message in messages]
        try:
            self._append(lines)
        except OSError as error:
            self._works = False
            self.close()
            msg = f"cannot write to {self._path}: {error.strerror or error}"
            raise TransientError(msg) from error
        self._works = True

    def connected(self) -> bool:
        """Say whether the last write worked."""
        return self._works

    def check(self) -> str:
        """Open the file for appending, which may create it; raise ConfigError where it cannot."""
        try:
            self._open()
        except OSError as error:
            msg = f"cannot write to {self._path}: {error.strerror or error}"
            raise ConfigError(msg) from error
        return f"file {self._path}, {self._size} bytes"

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _append(self, lines: list[bytes]) -> None:
        """Write as much as fits into each file in one call."""
        limit = self._config.max_bytes
        descriptor = self._open()
        pending: list[bytes] = []
        size = self._size
        for line in lines:
            if limit and size and size + len(line) > limit:
                self._write(descriptor, pending)
                self._rotate()
                descriptor, pending, size = self._open(), [], 0
            pending.append(line)
            size += len(line)
        self._write(descriptor, pending)

    def _write(self, descriptor: int, lines: list[bytes]) -> None:
        left = memoryview(b"".join(lines))
        while left:
            written = os.write(descriptor, left)
            self._size += written
            left = left[written:]
        if lines and self._config.fsync:
            os.fsync(descriptor)

    def _open(self) -> int:
        """Return the descriptor; open again where the file was moved away or deleted."""
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._descriptor).st_size
            self._end_torn_line(self._descriptor)
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def _end_torn_line(self, descriptor: int) -> None:
        if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
            log.warning("torn_line_ended", path=str(self._path))
            self._size += os.write(descriptor, b"\n")

    def _rotate(self) -> None:
        self.close()
        backups = self._config.backups
        for number in range(backups, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}")
            source = newer if number > 1 else self._path
            if source.exists():
                source.replace(older)
        if not backups:
            self._path.unlink()
