"""Reads the files of a trail one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources.lines import SOURCE
from vaeiso_monitor.sources.positions import FilePosition
from vaeiso_monitor.sources.trail import OpenFile, Start, Trail
from vaeiso_monitor.types import Position, RawBatch, Reject, RejectReason

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)


class Reader(OpenFile, Protocol):
    """One open file."""

    def read(self, count: int) -> RawBatch | None:
        """Return up to ``count`` records, or None where there are no more now."""

    def finish(self, count: int) -> RawBatch | None:
        """Return what is left when nothing more will be written, then None."""

    def waiting(self) -> bool:
        """Say whether there is something that was not read yet."""

    def close(self) -> None:
        """Close the file."""


class Walk:
    """Gives batches, each of one file, and says how far each file was read.

    With ``tolerant`` a damaged file becomes one reject, otherwise it raises ConfigError.
    """

    def __init__(
        self, trail: Trail, open_reader: Callable[[Start], Reader], *, tolerant: bool
    ) -> None:
        self._trail = trail
        self._open_reader = open_reader
        self._tolerant = tolerant
        self._start: Start | None = None
        self._reader: Reader | None = None
        self._moved: dict[str, FilePosition] = {}

    def next_batch(self, count: int) -> RawBatch | None:
        """Return up to ``count`` records, or None where nothing can be read now."""
        while self._start is not None or self._next_start():
            try:
                batch = self._read(count)
            except ConfigError as error:
                if not self._tolerant:
                    raise
                batch = self._give_up(error)
            if batch is not None:
                return batch
            if self._start is not None:
                return None  # at the end of a file that still grows
        return None

    def take_moved(self) -> dict[str, FilePosition]:
        """Return the files that were read since the last call, and how far."""
        moved, self._moved = self._moved, {}
        return moved

    def ended(self) -> bool:
        """Say whether every file was read and none will follow."""
        return self._start is None and self._trail.exhausted()

    def waiting(self) -> bool:
        """Say whether the open file has something that was not read yet."""
        return self._reader is not None and self._reader.waiting()

    def close(self) -> None:
        """Close the open file."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._start = None

    def _next_start(self) -> bool:
        self._start = self._trail.next()
        return self._start is not None

    def _read(self, count: int) -> RawBatch | None:
        """Return the next records of the file; leave it where it has no more."""
        reader, key = self._opened()
        truncated = reader.replaced()
        # Asked before reading: what is written in between is then not taken for the end.
        verdict = "finish" if truncated else self._trail.verdict(reader)
        batch = None if truncated else reader.read(count)
        if batch is None and verdict == "finish":
            batch = reader.finish(count)
        if batch is not None:
            self._moved[key] = reader.position()
        elif verdict != "wait":
            self._leave(reader.position(done=verdict == "finish"), truncated=truncated)
        return batch

    def _opened(self) -> tuple[Reader, str]:
        assert self._start is not None
        if self._reader is None:
            self._reader = self._open_reader(self._start)
            log.debug("file_opened", path=str(self._start.path), record=self._start.at.records)
        return self._reader, self._start.key

    def _leave(self, position: FilePosition, *, truncated: bool = False) -> None:
        assert self._start is not None
        if truncated:
            log.info("file_truncated", path=str(self._start.path), action="read it from the start")
            position = FilePosition(position.inode, position.generation + 1)
        self._moved[self._start.key] = position
        self._trail.left(position)
        self.close()

    def _give_up(self, error: ConfigError) -> RawBatch:
        """Turn a damaged file into one reject and go on with the next."""
        assert self._start is not None
        at = self._start.at if self._reader is None else self._reader.position()
        where = Position(SOURCE, self._start.key, at.generation, at.records)
        log.warning("file_damaged", path=str(self._start.path), error=str(error))
        inode = self._start.path.stat().st_ino
        self._leave(FilePosition(inode, at.generation, at.records, at.position, done=True))
        return RawBatch((), (), (Reject(RejectReason.MALFORMED_ROW, str(error), where, b""),))
