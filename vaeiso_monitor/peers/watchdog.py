"""A last resort against calls that never return: end the process, loudly."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger(__name__)

EXIT_STATUS: Final = 70


def end_process(what: str, seconds: float) -> None:
    """Write what hangs and every thread's stack to stderr and leave; nothing else can help."""
    log.critical("call_never_returned", call=what, seconds=round(seconds, 1))
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
    os._exit(EXIT_STATUS)


class Watchdog:
    """A thread that acts when a guarded call of one other thread outlives its limit."""

    def __init__(self, expired: Callable[[str, float], None] = end_process) -> None:
        self._expired = expired
        self._guarded: tuple[str, float, float] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, what: str, seconds: float) -> Iterator[None]:
        """Guard the body of a ``with``: after ``seconds`` the process ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        self._guarded = (what, seconds, monotonic() + seconds)
        try:
            yield
        finally:
            self._guarded = None

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            guarded = self._guarded
            if guarded is not None and monotonic() > guarded[2]:
                self._guarded = None
                self._expired(guarded[0], guarded[1])
