"""Which file comes next: a fixed list, a folder that fills, or a file that is rotated."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources.formats import Format, format_of, ready_to_read
from vaeiso_monitor.sources.lines import digest
from vaeiso_monitor.sources.positions import FilePosition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """A file to open: ``key`` is its name in positions and alerts."""

    path: Path
    key: str
    at: FilePosition


class OpenFile(Protocol):
    """What a trail asks of the file that is being read."""

    path: Path

    def same_file(self, status: os.stat_result) -> bool:
        """Say whether ``status`` is of the file that is open."""

    def replaced(self) -> bool:
        """Say whether the file was truncated or written anew."""

    def position(self, *, done: bool = False) -> FilePosition:
        """Return where the next record begins."""


class Trail(Protocol):
    """Chooses the files."""

    def next(self) -> Start | None:
        """Return the next file to read, or None where there is none now."""

    def verdict(self, current: OpenFile) -> Verdict:
        """Say what to do when the file, read from now on, has nothing more."""

    def exhausted(self) -> bool:
        """Say whether no file will ever follow."""

    def left(self, position: FilePosition) -> None:
        """Hear how far the file was read that is open no more."""


Verdict = Literal["wait", "leave", "finish"]
"""At the end of a file: more will come; look at others meanwhile; nothing more will come."""

_EARLIER: Final = re.compile(r"[-._](\d[\dTZ:_.-]*|old|bak|prev)")
"""What rotation adds to a name: x.1, x.2026-11-22, x-20261122."""


class Listed:
    """The files that match now, by name; in a folder that is followed also those that appear."""

    def __init__(
        self,
        pattern: str,
        kind: Format,
        known: Callable[[str], FilePosition | None],
        *,
        follow: bool,
        settle_seconds: float,
    ) -> None:
        self._pattern = pattern
        self._format: Format = kind
        self._known = known
        self._follow = follow
        self._settle_seconds = settle_seconds
        found = self._matching()
        if not found and not follow:
            msg = f"path: {pattern} has no files to read"
            raise ConfigError(msg)
        self._waiting = iter(found)

    def next(self) -> Start | None:
        """Return the next file that has something unread."""
        for path in self._waiting:
            start = self._start(path)
            if start is not None:
                return start
        if self._follow:
            self._waiting = iter(self._matching())
        return None

    def verdict(self, current: OpenFile) -> Verdict:
        """Finish a file that has not been touched for a while; leave one that may still grow."""
        return "finish" if not self._follow or self._settled(current.path) else "leave"

    def exhausted(self) -> bool:
        """Return True unless the folder is followed."""
        return not self._follow

    def left(self, position: FilePosition) -> None:
        """Do nothing: positions are looked up by name."""

    def _matching(self) -> list[Path]:
        if Path(self._pattern).is_file():
            return [Path(self._pattern)]
        return sorted(
            path
            for path in matching(self._pattern)
            if ready_to_read(path) and path.is_file() and format_of(path, self._format)
        )

    def _settled(self, path: Path) -> bool:
        try:
            return time() - path.stat().st_mtime >= self._settle_seconds
        except FileNotFoundError:
            return True

    def _start(self, path: Path) -> Start | None:
        known = self._known(str(path))
        found = format_of(path, self._format)
        if found is None or (self._follow and not found.grows and not self._settled(path)):
            return None
        try:
            at = fit(path, known, plain=found.grows)
            grown = found.grows and path.stat().st_size > at.position
        except FileNotFoundError:
            return None
        return Start(path, str(path), replace(at, done=False)) if not at.done or grown else None


class Rotated:
    """One file that grows: renamed away and made anew, or truncated in place.

    A renamed file is read to its end before its successor; ``path.*`` in the same folder are the
    earlier generations, so that even those rotated while nobody read are read in order.
    """

    def __init__(self, path: Path, known: FilePosition | None, settle_seconds: float) -> None:
        self._path = path
        self._settle_seconds = settle_seconds
        self._known = known
        self._rotated_since: float | None = None
        self._generation = 0 if known is None else known.generation

    def next(self) -> Start | None:
        """Return the file to go on with, or None while there is none."""
        generations = self._generations()
        known, self._rotated_since = self._known, None
        if known is None:
            return self._begin(self._path) if self._path.exists() else None
        place = next((i for i, (_, st) in enumerate(generations) if st.st_ino == known.inode), None)
        if place is None:
            if not self._path.exists():
                return None
            log.warning("rotated_file_is_gone", path=str(self._path), action="start at the new one")
            return self._begin(self._path)
        path = generations[place][0]
        if not known.done:
            at = fit(path, known, plain=True)
            self._generation = at.generation
            return Start(path, str(self._path), at)
        following = generations[place + 1 :]
        return self._begin(following[0][0]) if following else None

    def verdict(self, current: OpenFile) -> Verdict:
        """Finish a while after another file took the name: the writer may be late."""
        try:
            rotated = not current.same_file(self._path.stat())
        except FileNotFoundError:
            rotated = False  # between rename and create: wait for the successor
        if not rotated:
            self._rotated_since = None
            return "wait"
        if self._rotated_since is None:
            self._rotated_since = monotonic()
        settled = monotonic() - self._rotated_since >= self._settle_seconds
        return "finish" if settled else "wait"

    def exhausted(self) -> bool:
        """Return False: a followed file never ends."""
        return False

    def left(self, position: FilePosition) -> None:
        """Go on from there, or with the successor where it is done."""
        self._known = position

    def _begin(self, path: Path) -> Start:
        if self._known is not None:
            self._generation += 1
        return Start(path, str(self._path), FilePosition(generation=self._generation))

    def _generations(self) -> list[tuple[Path, os.stat_result]]:
        """Return the file and what it was before, oldest first."""
        name = self._path.name
        earlier = [
            path
            for path in self._path.parent.iterdir()
            if path.name.startswith(name) and _EARLIER.fullmatch(path.name, len(name))
        ]
        found = [(path, status) for path in [*earlier, self._path] if (status := _stat(path))]
        return sorted(found, key=lambda item: self._age_order(*item))

    def _age_order(self, path: Path, status: os.stat_result) -> tuple[bool, int, int]:
        number = path.name.removeprefix(f"{self._path.name}.")
        rank = -int(number) if number.isdigit() else 0  # x.2 was x.1 before
        return path == self._path, status.st_mtime_ns, rank


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def fit(path: Path, known: FilePosition | None, *, plain: bool) -> FilePosition:
    """Return where to go on in a file: at the known position where it is still the same file."""
    if known is None:
        return FilePosition()
    status = path.stat()
    reason = _misfit(path, status, known, plain)
    if reason is None:
        return known
    log.warning("position_does_not_fit", path=str(path), reason=reason, action="start over")
    return FilePosition(generation=known.generation + 1)


def _misfit(path: Path, status: os.stat_result, known: FilePosition, plain: bool) -> str | None:
    if status.st_ino != known.inode:
        return "it is another file"
    if plain and status.st_size < known.position:
        return "it is shorter"
    with path.open("rb") as file:
        if known.head and digest(file.read(known.head_bytes)) != known.head:
            return "its beginning is different"
    return None


def matching(pattern: str) -> Iterable[Path]:
    """Return what a folder, a glob or a path stands for; raise ConfigError where it is nothing."""
    path = Path(pattern)
    if path.is_dir():
        return list(path.iterdir())
    if path.exists():
        return [path]
    if is_glob(pattern):
        # pathlib's glob wants a relative pattern
        return [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207
    msg = f"path: there is no file {pattern}; give a file, a folder or a pattern such as logs/*.csv"
    raise ConfigError(msg)


def is_glob(pattern: str) -> bool:
    """Say whether a path holds wildcards."""
    return any(sign in pattern for sign in "*?[")
