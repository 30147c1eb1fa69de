"""The slot that holds the serving engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Engine


class Slot:
    """Holds the engine that serves; reading it is one attribute access, so is replacing it."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine

    @property
    def empty(self) -> bool:
        """Whether nothing serves yet."""
        return self._engine is None

    @property
    def engine(self) -> Engine:
        """The serving engine; asking an empty slot is a bug."""
        assert self._engine is not None, "no bundle serves yet"
        return self._engine

    def put(self, engine: Engine) -> None:
        """Let ``engine`` serve from the next batch on."""
        self._engine = engine

    def close(self) -> None:
        """Release the engine."""
        if self._engine is not None:
            self._engine.close()
