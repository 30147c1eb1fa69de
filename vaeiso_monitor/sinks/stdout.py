"""Messages on the terminal, for people or for the next program in a pipe."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.types import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class StdoutSinkConfig:
    """Messages on standard output: a few readable lines each, or one JSON document a line."""

    type: Literal["stdout"] = "stdout"
    format: Literal["readable", "json"] = "readable"
    detail: Detail = "episodes"


class StdoutSink:
    """Writes each message to standard output and flushes after each batch."""

    name = "stdout"

    def __init__(self, config: StdoutSinkConfig, stream: BinaryIO | None = None) -> None:
        self._json = config.format == "json"
        self._stream = stream
        self._works = True

    def deliver(self, messages: Sequence[Message]) -> None:
        """Write all of them; raise TransientError where nobody reads the pipe any more."""
        if self._json:
            text = b"".join([message.to_json() + b"\n" for message in messages])
        else:
            text = "".join([f"{message.to_text()}\n" for message in messages]).encode()
        try:
            self._write(text)
        except OSError as error:
            self._works = False
            msg = f"cannot write to standard output: {error.strerror or error}"
            raise TransientError(msg) from error
        self._works = True

    def connected(self) -> bool:
        """Say whether the last write worked."""
        return self._works

    def check(self) -> str:
        """Say how the messages are written."""
        return f"standard output, {'JSON lines' if self._json else 'readable'}"

    def close(self) -> None:
        """Leave standard output open; it is not ours."""

    def _write(self, text: bytes) -> None:
        # Looked up each time: tests and embedding programs replace sys.stdout.
        stream = self._stream or getattr(sys.stdout, "buffer", None)
        if stream is not None:
            sys.stdout.flush()
            stream.write(text)
            stream.flush()
            return
        sys.stdout.write(text.decode())
        sys.stdout.flush()
