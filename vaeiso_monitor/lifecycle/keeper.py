"""What the lifecycle takes from the loop once a batch, and what it wants told to the sinks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.lifecycle.rows import taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.alerts import Alert
    from vaeiso_monitor.bundle import Scored
    from vaeiso_monitor.detect import Threshold
    from vaeiso_monitor.lifecycle.history import AlertHistory
    from vaeiso_monitor.lifecycle.input_drift import InputDrift
    from vaeiso_monitor.lifecycle.window import Window
    from vaeiso_monitor.types import Message

_MOST_NEWS = 100


class Keeper:
    """Hands each committed batch to the window, the watch over the inputs and the alert history.

    ``line`` says which alert line is in force; without it no anomalous record enters the window.
    """

    def __init__(
        self,
        window: Window,
        history: AlertHistory,
        inputs: InputDrift,
        clock: Callable[[], float] = time.time,
        *,
        line: Callable[[], Threshold] | None = None,
    ) -> None:
        self._window = window
        self._history = history
        self._inputs = inputs
        self._clock = clock
        self._line = line
        self._news: deque[Message] = deque(maxlen=_MOST_NEWS)

    def keep(self, scored: Scored, anomalous: NDArray[np.bool_], alerts: Sequence[Alert]) -> None:
        """Take what is to be kept of a batch, whose ``alerts`` are those of its anomalous rows."""
        line = self._line() if self._line is not None else None
        self._window.keep(scored.records, scored.nats, anomalous, line)
        self._inputs.observe(scored.records)
        if alerts:
            rows = np.flatnonzero(anomalous)
            self._history.add(alerts, taken(scored.records, rows), self._clock())

    def tell(self, message: Message) -> None:
        """Leave a message for the sinks; any thread may."""
        self._news.append(message)

    def news(self) -> list[Message]:
        """Return the messages that were left, and forget them; the loop asks once a second."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found
