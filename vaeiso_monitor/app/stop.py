"""How the daemon is asked to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A wish to stop, made by a signal or a deadline; asking it takes no lock."""

    def __init__(self, after_seconds: float | None = None) -> None:
        self._deadline = None if after_seconds is None else time.monotonic() + after_seconds
        self._wished = False

    def __call__(self) -> bool:
        """Say whether to stop."""
        return self._wished or (self._deadline is not None and time.monotonic() > self._deadline)

    def wish(self) -> None:
        """Ask to stop; safe inside a signal handler."""
        self._wished = True


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask to stop; the second one ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.wish()
        for each in _STOPPING:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
