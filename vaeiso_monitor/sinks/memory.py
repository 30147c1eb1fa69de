"""Messages kept in memory: for tests, and for programs that embed the monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Message


class MemorySink:
    """Keeps every message that was delivered, in order, in ``messages``."""

    name = "memory"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = False

    def deliver(self, messages: Sequence[Message]) -> None:
        """Keep them."""
        self.messages.extend(messages)

    def connected(self) -> bool:
        """Return True until it is closed."""
        return not self.closed

    def check(self) -> str:
        """Say where the messages go."""
        return "messages stay in memory"

    def close(self) -> None:
        """Close; the messages stay."""
        self.closed = True
