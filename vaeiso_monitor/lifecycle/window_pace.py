"""How large a share of the stream a slot of the window should take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.lifecycle.window_segments import Segment


def planned_share(last_slot: Sequence[Segment], slot_seconds: float, target: float) -> float:
    """Return the share that gives a new slot ``target`` rows, if the stream goes on as it was."""
    rows = sum(segment.about.rows for segment in last_slot)
    first = min(segment.about.first for segment in last_slot)
    last = max(segment.about.last for segment in last_slot)
    lasted = min(max((last - first) / slot_seconds, 0.01), 1.0)
    share = min(segment.about.share for segment in last_slot)
    return min(share * target * lasted / max(rows, 1), 1.0)


_ENOUGH = 200


@dataclass(slots=True)
class Pace:
    """How many rows came (``fresh``) since the share was last changed (at ``since``)."""

    share: float
    since: float
    fresh: int = 0

    def planned(self, now: float, slot_seconds: float, target: float) -> float | None:
        """Return the share that gives a slot ``target`` rows, None while too little is known."""
        elapsed = now - self.since
        if elapsed <= 0 or (self.fresh < _ENOUGH and elapsed < slot_seconds / 8):
            return None
        expected = self.fresh / elapsed * slot_seconds / self.share  # if the share were 1
        return min(target / max(expected, 1.0), 1.0)

    def at_most(self, now: float, left: float) -> float:
        """Return how many rows may come in the next ``left`` seconds, generously."""
        likely = self.fresh + 3.0 * math.sqrt(self.fresh) + 9.0  # about 99.9 % of Poisson counts
        return likely / max(now - self.since, 1e-3) * left
