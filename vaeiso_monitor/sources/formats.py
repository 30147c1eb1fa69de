"""Which files are read how: by the configured format, or by the ending of the name."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

import zstandard

from vaeiso_monitor.errors import ConfigError

Format = Literal["auto", "jsonl", "csv", "parquet", "arrow"]

_BY_SUFFIX: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}
_COMPRESSED: Final = (".gz", ".zst")
_UNFINISHED: Final = (".tmp", ".part", ".crdownload")

DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)
"""What reading a damaged compressed file raises."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How one file is read."""

    kind: Literal["jsonl", "csv", "parquet", "arrow"]
    compression: Literal["", ".gz", ".zst"]
    tabs: bool = False

    @property
    def grows(self) -> bool:
        """Whether text can be appended to such a file while it is read."""
        return self.kind in ("jsonl", "csv") and not self.compression


def format_of(path: Path, configured: Format) -> FileFormat | None:
    """Return how ``path`` is read, or None where neither the key nor the name tells."""
    compressed = path.suffix.lower() if path.suffix.lower() in _COMPRESSED else ""
    inner = Path(path.stem) if compressed else path
    suffix = inner.suffix.lower()
    kind = _BY_SUFFIX.get(suffix) if configured == "auto" else configured
    if kind is None or kind == "auto" or (compressed and kind in ("parquet", "arrow")):
        return None
    return FileFormat(kind, cast("Literal['', '.gz', '.zst']", compressed), suffix == ".tsv")


def require_format(path: Path, configured: Format) -> FileFormat:
    """Return how ``path`` is read; raise ConfigError where that cannot be known."""
    found = format_of(path, configured)
    if found is None:
        msg = f"cannot tell the format of {path} from its name: set format to jsonl, csv, parquet "
        msg += "or arrow (a compressed file can be jsonl or csv)"
        raise ConfigError(msg)
    return found


def ready_to_read(path: Path) -> bool:
    """Say whether a name in a folder is a file for us: neither hidden nor marked unfinished."""
    return not path.name.startswith((".", "_")) and path.suffix.lower() not in _UNFINISHED


def open_bytes(path: Path, compression: str) -> BinaryIO:
    """Open a file for reading its decompressed bytes."""
    if compression == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    raw = path.open("rb", buffering=0)
    if compression == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(
            raw, read_across_frames=True, closefd=True
        )
        return cast("BinaryIO", reader)
    return cast("BinaryIO", raw)
