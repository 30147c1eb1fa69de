"""The dead letter: a record that did not fit, with all that is needed to repair it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.alerts.words import SCHEMA_VERSION, iso, place

if TYPE_CHECKING:
    from datetime import datetime

    from vaeiso_monitor.types import Reject


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be scored: why, where it was read, and its bytes as they came.

    ``raw`` is text where the bytes are UTF-8; otherwise ``raw_base64`` holds them.
    """

    schema_version: int = SCHEMA_VERSION
    reason: str
    detail: str
    rejected_at: str
    source: dict[str, Any]
    raw: str | None
    raw_base64: str | None

    @property
    def key(self) -> bytes:
        """Return the position as text: a repeat of the same record has the same key."""
        at = self.source
        return f"{at['type']}:{at['stream']}/{at['partition']}@{at['offset']}".encode()

    def to_json(self) -> bytes:
        """Return the dead letter as one JSON document."""
        return msgspec.json.encode(self)

    def to_text(self) -> str:
        """Return the dead letter in one line."""
        return f"DEAD LETTER {self.reason}: {self.detail} ({self.key.decode()})"


def dead_letter(reject: Reject, now: datetime) -> DeadLetter:
    """Wrap a reject for delivery."""
    try:
        text, encoded = reject.raw.decode(), None
    except UnicodeDecodeError:
        text, encoded = None, base64.b64encode(reject.raw).decode()
    return DeadLetter(
        reason=reject.reason.value,
        detail=reject.detail,
        rejected_at=iso(now),
        source=place(reject.position),
        raw=text,
        raw_base64=encoded,
    )
