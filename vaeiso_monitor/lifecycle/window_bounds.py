"""The bounds of the window: rows, bytes and age."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaeiso_monitor.lifecycle.window_config import WindowConfig
from vaeiso_monitor.lifecycle.window_segments import Segments
from vaeiso_monitor.lifecycle.window_strand import Strand

_ADMITTED_SHARE = 16  # of max_rows one in so many may be there because a person said so
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Bounds:
    """Holds the strands of the window, and what lies aside, within the bounds of its config."""

    config: WindowConfig
    segments: Segments
    normal: Strand
    unfiltered: Strand
    admitted: Strand

    @property
    def normal_rows(self) -> int:
        """How many normal rows there may be beside those admitted."""
        return self.config.max_rows - min(self.admitted.rows, self._admitted_rows)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        aside = sum(size for _, size in self.segments.aside())
        return aside + sum(strand.size for strand in self._strands)

    def enforce(self, now: float) -> None:
        """Forget what is too old, and give up what is too much."""
        age = self.config.max_age_seconds
        for strand in self._strands:
            strand.expire(now - age, now + age)
            strand.gather(now)
        self.admitted.thin(now, self._admitted_rows)
        self.unfiltered.thin(now, self.config.unfiltered_rows)
        self.normal.thin(now, self.normal_rows)
        self._drop_aside(now)
        self._within_bytes(now)

    @property
    def _strands(self) -> tuple[Strand, ...]:
        return self.normal, self.unfiltered, self.admitted

    @property
    def _admitted_rows(self) -> int:
        return self.config.max_rows // _ADMITTED_SHARE

    def _within_bytes(self, now: float) -> None:
        for _ in range(_TRIES):
            if (over := self.size / self.config.max_bytes) <= 1.0:
                return
            for strand in self._strands:
                strand.thin(now, int(strand.rows / over))
        fullest = max(self._strands, key=lambda strand: strand.size)
        while self.size > self.config.max_bytes and fullest.held:
            fullest.drop_oldest()
            fullest = max(self._strands, key=lambda strand: strand.size)

    def _drop_aside(self, now: float) -> None:
        """Delete what lies aside and is too old, or has no room any more."""
        excess = self.size - self.config.max_bytes
        for path, size in self.segments.aside():
            if excess > 0 or now - _instant(path) > self.config.max_age_seconds:
                path.unlink(missing_ok=True)
                excess -= size


def _instant(path: Path) -> float:
    """Return when the last row of a segment was seen, by its name; 0 for a name not of ours."""
    parts = path.name.split("-")
    return int(parts[1]) / 1e3 if len(parts) > 1 and parts[1].isdigit() else 0.0
