"""Segments: immutable Parquet files that name and verify themselves."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaeiso_monitor.lifecycle.window_rows import Layout

log = structlog.get_logger(__name__)

_KEY = b"vaeiso_monitor"
_FORMAT = 1
_INCOMING = ".incoming-"
DAMAGED = ".damaged"
FOREIGN = ".foreign"


class Tally(msgspec.Struct, frozen=True):
    """What happened to the records that came while some rows were gathered."""

    received: int = 0
    anomalous: int = 0
    thinned: int = 0
    not_written: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.received + other.received,
            self.anomalous + other.anomalous,
            self.thinned + other.thinned,
            self.not_written + other.not_written,
        )


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself.

    ``slot`` is the stretch of time it belongs to, ``level`` how often its rows were gathered into
    larger segments, ``share`` the share of records that was being kept at its end. ``replaces``
    names the segments whose rows it took over: where one of them still exists, it is to go.
    """

    kind: str
    columns: str
    slot: int
    level: int = 0
    rows: int = 0
    first: float = 0.0
    last: float = 0.0
    share: float = 1.0
    tally: Tally = Tally()
    replaces: tuple[str, ...] = ()
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the window: its name, its size in bytes, and what it says of itself."""

    name: str
    size: int
    about: About = field(repr=False)


class Segments:
    """The folder of the segments. A file is written beside and renamed in, and never changed.

    The name of a segment ends with a digest of its content, so that any damage is seen when it is
    read; what is damaged, or of another schema, is renamed and left to be looked at.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout
        self.set_aside = {DAMAGED: 0, FOREIGN: 0}

    def open(self) -> list[Segment]:
        """Make the folder, clear away what a crash left, and return the segments that are whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob(f"{_INCOMING}*"):
            path.unlink()
        for path in self._folder.glob(f"*{FOREIGN}"):  # the schema may be back
            path.rename(path.with_suffix(""))
        found = [s for path in sorted(self._folder.glob("*.parquet")) if (s := self._known(path))]
        if foreign := self.set_aside[FOREIGN]:
            log.warning("window_of_another_schema_set_aside", segments=foreign)
        replaced = {name for segment in found for name in segment.about.replaces}
        self.remove(s for s in found if s.name in replaced)
        return [segment for segment in found if segment.name not in replaced]

    def write(self, table: pa.Table, about: About, *, sync: bool = True) -> Segment:
        """Write rows as a new segment; OSError where the disk refuses.

        Without ``sync`` it survives a crash of the process, but a power cut only after a while.
        """
        metadata = {_KEY: msgspec.json.encode(about)}
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
        content = sink.getvalue()
        instant = f"{round(about.last * 1e3):014d}"
        name = f"{about.kind}-{instant}-{uuid.uuid4().hex[:8]}{_digest(content)}.parquet"
        beside = self._folder / f"{_INCOMING}{uuid.uuid4().hex}"
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            beside.rename(self._folder / name)
        finally:
            beside.unlink(missing_ok=True)
        return Segment(name, len(content), about)

    def read(self, segment: Segment) -> pa.Table | None:
        """Return the rows of a segment; None when it is damaged, which sets it aside."""
        try:
            content = _verified(self._folder / segment.name)
            return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        except (OSError, pa.ArrowException, ValueError) as error:
            self._set_aside(self._folder / segment.name, DAMAGED, str(error))
            return None

    def remove(self, segments: Iterable[Segment]) -> None:
        """Delete segments."""
        for segment in segments:
            (self._folder / segment.name).unlink(missing_ok=True)

    def aside(self, ending: str = "") -> list[tuple[Path, int]]:
        """Return what was set aside and its size in bytes, oldest first."""
        paths = [
            path
            for path in self._folder.glob(f"*.parquet{ending or '.*'}")
            if path.suffix in (DAMAGED, FOREIGN)
        ]
        paths.sort(key=lambda path: path.name.split("-")[1:2])
        return [(path, path.stat().st_size) for path in paths]

    def _known(self, path: Path) -> Segment | None:
        try:
            schema = pq.read_schema(pa.BufferReader(_verified(path)))
            about = msgspec.json.decode(schema.metadata[_KEY], type=About)
        except (OSError, pa.ArrowException, ValueError, LookupError, TypeError) as error:
            self._set_aside(path, DAMAGED, str(error))
            return None
        if about.format != _FORMAT or about.columns != self._layout.columns:
            self._set_aside(path, FOREIGN, "another schema")
            return None
        return Segment(path.name, path.stat().st_size, about)

    def _set_aside(self, path: Path, ending: str, why: str) -> None:
        self.set_aside[ending] += 1
        if ending == DAMAGED:
            log.warning("segment_set_aside", segment=path.name, reason=why)
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(path.name + ending))


def _verified(path: Path) -> bytes:
    content = path.read_bytes()
    if not path.stem.endswith(_digest(content)):
        msg = f"the content ({len(content)} bytes) does not match the digest in the name"
        raise ValueError(msg)
    return content


def _digest(content: bytes | pa.Buffer) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def by_slot(segments: Iterable[Segment]) -> Iterator[tuple[int, list[Segment]]]:
    """Yield each stretch of time with its segments, oldest first."""
    slots: dict[int, list[Segment]] = {}
    for segment in segments:
        slots.setdefault(segment.about.slot, []).append(segment)
    yield from sorted(slots.items())
