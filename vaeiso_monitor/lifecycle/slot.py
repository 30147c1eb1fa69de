"""The slot that holds the serving engine, and lets go of an old one when nobody uses it."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Engine


class Slot:
    """Holds the engine that serves; who scores a batch borrows it until the batch is finished.

    Safe to call from any thread: an engine that was replaced is closed when the last batch that
    borrowed it gives it back.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine
        self._lock = Lock()
        self._borrowed: Counter[Engine] = Counter()

    @property
    def empty(self) -> bool:
        """Whether nothing serves yet."""
        return self._engine is None

    @property
    def engine(self) -> Engine:
        """The serving engine; asking an empty slot is a bug."""
        assert self._engine is not None, "no bundle serves yet"
        return self._engine

    def borrow(self) -> Engine:
        """Return the serving engine, which stays open until it is given back."""
        with self._lock:
            engine = self.engine
            self._borrowed[engine] += 1
            return engine

    def give_back(self, engine: Engine) -> None:
        """Say that one batch with ``engine`` is finished."""
        with self._lock:
            self._borrowed[engine] -= 1
            if self._borrowed[engine] > 0:
                return
            del self._borrowed[engine]
            retired = engine is not self._engine
        if retired:
            engine.close()

    def put(self, engine: Engine) -> None:
        """Let ``engine`` serve from the next batch on."""
        with self._lock:
            old, self._engine = self._engine, engine
            unused = old is not None and old is not engine and old not in self._borrowed
        if old is not None and unused:
            old.close()

    def close(self) -> None:
        """Release every engine."""
        with self._lock:
            engines = set(self._borrowed) | ({self._engine} if self._engine is not None else set())
            self._borrowed.clear()
        for engine in engines:
            engine.close()
