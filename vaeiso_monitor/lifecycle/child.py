"""The process that trains: ``python -m vaeiso_monitor.lifecycle.child FOLDER``.

It reads ``request.json`` and ``records.arrow`` from the folder, writes the bundle to ``candidate``
there, and says on standard output, one JSON document a line, how far it is and how it ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from vaeiso_monitor.detector import Recipe, train
from vaeiso_monitor.lifecycle.training_set import load_records
from vaeiso_monitor.records import Schema

if TYPE_CHECKING:
    from vaeiso_monitor.model import Progress

_TELL_EVERY_SECONDS = 0.25
_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "1000"  # where memory is short, the kernel takes the trainer and not the daemon


def main(arguments: list[str]) -> int:
    """Train as the folder says; return 0, or 1 where the records cannot be trained on."""
    folder, parent, niceness = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    _stand_back(parent, niceness)
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is not for the parent to parse
    request = json.loads((folder / "request.json").read_bytes())
    try:
        version = _train(folder, request, channel, lambda: os.getppid() != parent)
    except ValueError as error:
        _tell(channel, failed=f"these records cannot be trained on: {error}")
        return 1
    _tell(channel, done=version)
    return 0


def _train(
    folder: Path, request: dict[str, Any], channel: BinaryIO, orphaned: Callable[[], bool]
) -> str:
    told = 0.0

    def progress(step: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_EVERY_SECONDS:
            told = time.monotonic()
            _tell(channel, **msgspec.to_builtins(step))

    bundle = train(
        load_records(folder / "records.arrow"),
        Schema.from_state(request["schema"], {}),
        msgspec.convert(request["recipe"], Recipe),
        progress=progress,
        stop=orphaned,
        ledger=request["ledger"],
        created=datetime.fromisoformat(request["created"]),
    )
    bundle.save(folder / "candidate")
    return bundle.version


def _stand_back(parent: int, niceness: int) -> None:
    """Give way to the daemon, and end with it."""
    os.nice(niceness)
    with suppress(OSError):  # a container may refuse it
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which then ends us
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the daemon ended before its trainer began")


def _tell(channel: BinaryIO, **words: Any) -> None:
    channel.write(json.dumps(words, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
