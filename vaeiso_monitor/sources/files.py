"""Records from files: one, a pattern, or a folder; once, or followed as they grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Final, Literal

import structlog
from annotated_types import Ge, Gt, Len, MinLen

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources.columns import ColumnReader
from vaeiso_monitor.sources.formats import Format, require_format
from vaeiso_monitor.sources.lines import SOURCE, LineReader
from vaeiso_monitor.sources.positions import FilePosition, PositionFile
from vaeiso_monitor.sources.trail import Listed, Rotated, Start, is_glob, matching
from vaeiso_monitor.sources.walk import Reader, Walk
from vaeiso_monitor.types import (
    PartitionProgress,
    Polled,
    RawBatch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger(__name__)

_NOTHING: Final = RawBatch((), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSourceConfig:
    """A file, a pattern or a folder of records, each line or row one record.

    ``format`` "auto" goes by the name's ending; JSON lines and CSV may be compressed (.gz, .zst).
    CSV files begin with a header unless ``columns`` names their columns; a row is one line.
    With ``follow`` a file is read as it grows, through rotation by rename or truncation, and a
    folder or pattern is looked through again and again; a new file counts as complete when nobody
    has written to it for ``settle_seconds``. ``position_file`` keeps how far the records were
    delivered, at most ``commit_interval_seconds`` behind.
    """

    path: Annotated[str, MinLen(1)]
    type: Literal["file"] = "file"
    format: Format = "auto"
    follow: bool = False
    position_file: str | None = None
    commit_interval_seconds: Annotated[float, Ge(0)] = 1.0
    poll_interval_seconds: Annotated[float, Gt(0)] = 0.2
    settle_seconds: Annotated[float, Ge(0)] = 2.0
    delimiter: Annotated[str, Len(1, 1)] = ","
    columns: tuple[str, ...] = ()


class FileSource:
    """Reads files one after the other; each batch is of one file."""

    name = SOURCE
    errors = 0

    def __init__(self, config: FileSourceConfig, *, max_record_bytes: int) -> None:
        self._config = config
        self._max_record_bytes = max_record_bytes
        self._positions = PositionFile(config.position_file, config.commit_interval_seconds)
        # What was read but not yet delivered goes on from here, not from the committed position.
        self._read_to: dict[str, FilePosition] = {}
        follows_many = config.follow and not self._follow_one()
        self._walk = Walk(self._open_trail(), self._open_reader, tolerant=follows_many)
        self._polls = 0
        self._committed = 0
        self._undelivered: deque[tuple[int, str, FilePosition]] = deque()
        self._moved = monotonic()

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        """Return what can be read now, waiting up to ``timeout``; None when all was read."""
        until = monotonic() + timeout
        while True:
            batch = self._walk.next_batch(max_records)
            self._polls += batch is not None
            self._note(self._walk.take_moved())
            if batch is not None:
                self._moved = monotonic()
                return Polled(batch, self._polls)
            self.commit(self._committed)
            if self._walk.ended():
                return None
            left = until - monotonic()
            if left <= 0:
                return Polled(_NOTHING, self._polls)
            sleep(min(left, self._config.poll_interval_seconds))

    def commit(self, checkpoint: int) -> None:
        """Take over what was delivered; it is in the position file within the interval."""
        self._committed = max(self._committed, checkpoint)
        delivered: dict[str, FilePosition] = {}
        while self._undelivered and self._undelivered[0][0] <= self._committed:
            _, key, position = self._undelivered.popleft()
            delivered[key] = position
            if self._read_to.get(key) == position:
                del self._read_to[key]
        self._positions.update(delivered)

    def keep_alive(self) -> None:
        """Do nothing: files wait."""

    def progress(self) -> Sequence[PartitionProgress]:
        """Return one partition, idle only while there is something left to read."""
        idle = monotonic() - self._moved if self._walk.waiting() else 0.0
        return (PartitionProgress(self._config.path, 0, None, idle),)

    def connected(self) -> bool:
        """Return True: what cannot be read ends the daemon."""
        return True

    def check(self) -> str:
        """Look whether there is something to read; raise ConfigError where there is not."""
        path = Path(self._config.path)
        if self._follow_one():
            return f"file {path}, followed{'' if path.exists() else ' once it is there'}"
        found = list(matching(self._config.path))
        readable = [file for file in found if file.is_file()]
        if not readable and not self._config.follow:
            msg = f"path: {self._config.path} has no files to read"
            raise ConfigError(msg)
        for file in readable if len(readable) == 1 else ():
            with file.open("rb"):
                require_format(file, self._config.format)
        return f"{len(readable)} file(s) at {self._config.path}"

    def close(self) -> None:
        """Write the committed position and close the file."""
        self.commit(self._committed)
        self._positions.write()
        self._walk.close()

    def _open_trail(self) -> Listed | Rotated:
        config = self._config
        path = Path(config.path)
        if self._follow_one():
            if not require_format(path, config.format).grows:
                msg = f"follow: {path} cannot grow; only plain JSON lines and CSV files can"
                raise ConfigError(msg)
            return Rotated(path, self._positions.get(config.path), config.settle_seconds)
        if path.is_file() or not (is_glob(config.path) or path.is_dir()):
            matching(config.path)
            require_format(path, config.format)
        return Listed(
            config.path,
            config.format,
            self._known,
            follow=config.follow,
            settle_seconds=config.settle_seconds,
        )

    def _follow_one(self) -> bool:
        path = self._config.path
        return self._config.follow and not is_glob(path) and not Path(path).is_dir()

    def _known(self, key: str) -> FilePosition | None:
        return self._read_to.get(key) or self._positions.get(key)

    def _open_reader(self, start: Start) -> Reader:
        config = self._config
        named = Path(config.path) if self._follow_one() else start.path
        file_format = require_format(named, config.format)
        if file_format.kind in ("parquet", "arrow"):
            return ColumnReader(start.path, start.key, file_format, start.at)
        reader = LineReader(
            start.path,
            start.key,
            file_format,
            start.at,
            max_record_bytes=self._max_record_bytes,
            delimiter=config.delimiter,
            names=config.columns,
        )
        if self._positions.get(start.key) is None:
            # So that a rotation before the first commit does not hide this file.
            self._positions.update({start.key: reader.position()})
        return reader

    def _note(self, moved: dict[str, FilePosition]) -> None:
        """Keep how far files were read until their records are delivered."""
        for key, position in moved.items():
            if position != self._known(key):
                self._read_to[key] = position
                self._undelivered.append((self._polls, key, position))
