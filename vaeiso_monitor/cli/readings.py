"""Reading whole files as batches, with a bar that shows how far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from vaeiso_monitor.cli.terminal import bar, console
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.sources import FileSourceConfig, SourceConfig
    from vaeiso_monitor.types import RawBatch

_BATCH = 8192


def batches(
    paths: Sequence[Path], max_record_bytes: int, what: str, like: SourceConfig | None = None
) -> Iterator[RawBatch]:
    """Yield every batch of some files in order, and show a bar meanwhile on a terminal.

    They are read as the files of the source ``like`` are, but a name's ending tells the format.
    """
    from vaeiso_monitor.sources import open_source

    with bar() as progress:
        for path in paths:
            if not path.is_file():
                msg = f"{path}: no such file"
                raise ConfigError(msg)
            rows = _rows(path)
            task = progress.add_task(
                f"{what} {path.name}",
                total=rows or path.stat().st_size,
                note="",
                visible=console.is_terminal,
            )
            source = open_source(_once(path, like), max_record_bytes=max_record_bytes)
            try:
                while (polled := source.poll(_BATCH, 0.0)) is not None:
                    yield polled.batch
                    progress.advance(task, polled.batch.received if rows else _size(polled.batch))
            finally:
                source.close()


def _once(path: Path, like: SourceConfig | None) -> FileSourceConfig:
    from vaeiso_monitor.sources import FileSourceConfig
    from vaeiso_monitor.sources.formats import format_of

    if not isinstance(like, FileSourceConfig):
        return FileSourceConfig(path=str(path))
    told = format_of(path, "auto") is not None
    return replace(
        like,
        path=str(path),
        format="auto" if told else like.format,
        follow=False,
        position_file=None,
    )


def _rows(path: Path) -> int:
    """Return the number of records where the file tells it, else 0: then bytes are counted."""
    if path.suffix not in (".parquet", ".pq"):
        return 0
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        msg = f"{path} is no Parquet file: {error}"
        raise ConfigError(msg) from error


def _size(batch: RawBatch) -> int:
    lines = batch.lines if batch.lines is not None else batch.payload
    if isinstance(lines, Sequence):
        return sum(len(line or b"") + 1 for line in lines)
    return int(lines.nbytes)
