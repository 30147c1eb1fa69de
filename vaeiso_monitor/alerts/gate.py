"""The gate that lets a few entities through in a time, and none of those that come after them."""

from __future__ import annotations

import msgspec


class Gate(msgspec.Struct):
    """Lets ``limit`` entities through within ``seconds``; once one is held back, all are.

    It opens again when it had nothing to hold back for ``seconds``. Instants are Unix seconds.
    """

    limit: int
    seconds: float
    passed: dict[str, float] = msgspec.field(default_factory=dict)
    held: float | None = None

    def closed(self, now: float) -> bool:
        """Say whether it holds everything back at the moment."""
        return self.held is not None and abs(now - self.held) <= self.seconds

    def passes(self, entity: str, now: float) -> bool:
        """Say whether an alert of this entity may be sent at once, and remember it."""
        if not self.closed(now):
            self._forget(now)
            if len(self.passed) < self.limit or entity in self.passed:
                self.passed[entity] = now
                self.held = None
                return True
        self.held = now
        return False

    def _forget(self, now: float) -> None:
        for entity in [e for e, at in self.passed.items() if abs(now - at) > self.seconds]:
            del self.passed[entity]
