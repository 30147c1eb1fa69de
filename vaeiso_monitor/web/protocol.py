"""HTTP/1.1 with little patience: a connection that asks for nothing is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

_LONGEST_SECONDS = 120.0  # of one answer: by then nobody reads it


class Patient(H11Protocol):
    """Closes a connection whose request does not arrive, or whose answer is not taken.

    uvicorn itself waits for ever: a hundred connections that drip one byte a minute would keep
    everyone else out.
    """

    seconds: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: TimerHandle | None = None
        self._watched: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request, beyond the time that uvicorn keeps an idle connection."""
        self._wait(self.timeout_keep_alive + self.seconds)
        super().on_response_complete()

    def _wait(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(delay, self._over)

    def _over(self) -> None:
        if not self._busy or self._watched is self.cycle:
            self.transport.abort()
            return
        self._watched = self.cycle
        self._wait(_LONGEST_SECONDS)

    @property
    def _busy(self) -> bool:
        return getattr(self.cycle, "response_complete", True) is False


def patient_for(seconds: float) -> type[Patient]:
    """Return the protocol whose clients have so long to send the head of a request."""
    return type("Patient", (Patient,), {"seconds": seconds})
