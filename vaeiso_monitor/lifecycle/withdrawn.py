"""Which records must stay out of any training, because a person called them anomalies."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

log = structlog.get_logger(__name__)

_LIMIT = 10_000


class Withdrawn:
    """Fingerprints of such records in a JSON file, the 10,000 latest, replaced in one step.

    They are known by their values, not by their place: whatever looks exactly like a record that a
    person called an anomaly stays out as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = dict.fromkeys(_load(path))  # in the order they came

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def add(self, prints: Iterable[int]) -> None:
        """Keep records with these fingerprints out from now on; OSError where the disk refuses."""
        fresh = dict.fromkeys(prints)
        kept = {known: None for known in self._known if known not in fresh} | fresh
        self._save(dict.fromkeys(list(kept)[-_LIMIT:]))

    def discard(self, prints: Iterable[int]) -> None:
        """Let records with these fingerprints in again; OSError where the disk refuses."""
        gone = set(prints)
        if gone & self._known.keys():
            self._save({known: None for known in self._known if known not in gone})

    def among(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which [n] of these fingerprints are to stay out."""
        return np.isin(prints, np.fromiter(self._known, np.uint64, len(self._known)))

    def _save(self, known: dict[int, None]) -> None:
        beside = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            with beside.open("wb") as file:
                file.write(msgspec.json.encode([f"{each:016x}" for each in known]))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)
        self._known = known


def _load(path: Path) -> list[int]:
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink()
    try:
        return [int(text, 16) for text in msgspec.json.decode(path.read_bytes(), type=list[str])]
    except FileNotFoundError:
        return []
    except (ValueError, msgspec.DecodeError) as error:
        log.warning("withdrawn_records_set_aside", path=str(path), reason=str(error))
        path.replace(path.with_name(f"{path.name}.damaged"))
        return []
