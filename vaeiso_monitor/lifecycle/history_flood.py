"""What the alert history takes of a flood: so many alerts a second, and the worst of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vaeiso_monitor.alerts import Alert

_BURST_SECONDS = 10.0


class Allowance:
    """So many a second on the average, ten seconds' worth at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(per_second * _BURST_SECONDS, 1.0)
        self._left = self._most
        self._asked_at = float("-inf")

    def of(self, wanted: int, now: float) -> int:
        """Return how many of ``wanted`` may pass at the instant ``now``, and let them pass."""
        passed = max(now - self._asked_at, 0.0)
        self._left = min(self._left + passed * self._per_second, self._most)
        self._asked_at = now
        allowed = min(wanted, int(self._left))
        self._left -= allowed
        return allowed


def worst_of(alerts: Sequence[Alert], count: int) -> list[int]:
    """Return where the ``count`` alerts with the highest nats stand, in their order."""
    if count >= len(alerts):
        return list(range(len(alerts)))
    nats = np.array([alert.nats for alert in alerts])
    order = np.argsort(-np.where(np.isnan(nats), np.inf, nats), kind="stable")
    return sorted(order[:count].tolist())
