"""What a training set was made of: how many records, from when to when, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Which = Literal["normal", "unfiltered"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The account of one snapshot of the window; times are Unix seconds.

    ``received`` counts the records that came while what is left of the window was gathered, and
    ``left_out`` says how many of them are not in the snapshot, by reason:

    ==================== ===========================================================================
    anomalous            scored over the alert line and not let in (not for the unfiltered sample)
    judged_anomalous     taken out because a person called them, or the same values, an anomaly
    thinned              given up so that the window spans its time within its bounds
    expired              older than the window reaches, in what is still on disk
    before               before the instant asked for
    not_written          could not be written
    ==================== ===========================================================================

    ``admitted`` of the ``records`` are there because a person called their alert normal, and
    ``over_line`` because the scores under the alert line let so many over it expect. ``sampled``
    come from the unfiltered sample, and ``normal_since`` of those raised an alert once and are
    normal to the model that serves now. The window reaches back to ``oldest``.
    ``damaged_segments`` and ``foreign_segments`` (another schema) lie aside: their records are not
    counted anywhere else.
    """

    which: Which
    taken_at: float
    records: int
    first_seen: float | None
    last_seen: float | None
    received: int
    admitted: int = 0
    over_line: int = 0
    sampled: int = 0
    normal_since: int = 0
    oldest: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    damaged_segments: int = 0
    foreign_segments: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict with times in ISO 8601."""
        return {
            "which": self.which,
            "taken_at": _iso(self.taken_at),
            "records": self.records,
            "first_seen": _iso(self.first_seen),
            "last_seen": _iso(self.last_seen),
            "received": self.received,
            "admitted": self.admitted,
            "over_line": self.over_line,
            "sampled": self.sampled,
            "normal_since": self.normal_since,
            "left_out": {reason: count for reason, count in self.left_out.items() if count},
            "damaged_segments": self.damaged_segments,
            "foreign_segments": self.foreign_segments,
        }


def _iso(instant: float | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")
