"""Messages for the tests of the sinks."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A message with a number."""

    number: int
    text: str = ""

    @property
    def key(self) -> bytes:
        return b"note-%d" % self.number

    def to_json(self) -> bytes:
        return json.dumps({"number": self.number, "text": self.text}).encode()

    def to_text(self) -> str:
        return f"note {self.number}: {self.text}"


def notes(count: int, start: int = 0) -> list[Note]:
    return [Note(number) for number in range(start, start + count)]
