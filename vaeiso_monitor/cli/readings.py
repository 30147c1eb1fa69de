"""Reading whole files as batches, with a bar that shows how far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.ipc
import pyarrow.parquet

from vaeiso_monitor.cli.terminal import bar, console
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.types import RawBatch

_BATCH = 8192


def batches(paths: Sequence[Path], max_record_bytes: int, what: str) -> Iterator[RawBatch]:
    """Yield every batch of some files in order, and show a bar meanwhile on a terminal."""
    from vaeiso_monitor.sources import FileSourceConfig, open_source

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
            source = open_source(
                FileSourceConfig(path=str(path)), max_record_bytes=max_record_bytes
            )
            try:
                while (polled := source.poll(_BATCH, 0.0)) is not None:
                    yield polled.batch
                    progress.advance(task, polled.batch.received if rows else _size(polled.batch))
            finally:
                source.close()


def _rows(path: Path) -> int:
    """Return the number of records where the file tells it, else 0: then bytes are counted."""
    if path.suffix == ".parquet":
        return int(pyarrow.parquet.ParquetFile(path).metadata.num_rows)
    return 0


def _size(batch: RawBatch) -> int:
    lines = batch.lines if batch.lines is not None else batch.payload
    if isinstance(lines, Sequence):
        return sum(len(line or b"") + 1 for line in lines)
    return int(lines.nbytes)
