"""One delivery to several sinks: it counts only when all of them have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vaeiso_monitor.errors import VaeisoError

if TYPE_CHECKING:
    from vaeiso_monitor.types import Detail, Message, Sink

OnDelivered = Callable[[str, int, bool], None]
"""Called after each delivery with the sink's name, the number of messages and whether it worked."""


def ignore_delivery(sink: str, messages: int, delivered: bool) -> None:
    """Do nothing: for those who do not count."""


class FanOut:
    """Delivers to every sink, then raises the first failure; the others then get repeats.

    ``details`` says for each sink what it wants (without them: every message).
    """

    name = "all"

    def __init__(
        self,
        sinks: Sequence[Sink],
        on_delivered: OnDelivered = ignore_delivery,
        details: Sequence[Detail] | None = None,
    ) -> None:
        self.sinks = tuple(sinks)
        self._on_delivered = on_delivered
        self._details = tuple(details or ("every" for _ in sinks))

    def deliver(self, messages: Sequence[Message], brief: Sequence[Message] | None = None) -> None:
        """Deliver to all sinks, or raise what the first failing sink raised.

        Sinks that want episodes get ``brief`` instead of ``messages``; without one, the same.
        """
        short = messages if brief is None else brief
        failures = []
        for sink, detail in zip(self.sinks, self._details, strict=True):
            wanted = messages if detail == "every" else short
            if wanted and (error := self._try(sink, wanted)):
                failures.append(error)
        if failures:
            raise failures[0]

    def connected(self) -> bool:
        """Say whether the last delivery of every sink worked."""
        return all(sink.connected() for sink in self.sinks)

    def check(self) -> str:
        """Check every sink and say what was found."""
        return "; ".join(sink.check() for sink in self.sinks)

    def close(self) -> None:
        """Close every sink."""
        for sink in self.sinks:
            sink.close()

    def _try(self, sink: Sink, messages: Sequence[Message]) -> VaeisoError | None:
        try:
            sink.deliver(messages)
        except VaeisoError as error:
            self._on_delivered(sink.name, len(messages), False)
            return error
        self._on_delivered(sink.name, len(messages), True)
        return None
