"""Training in a child process: bounded in time and memory, and gone without a trace when killed."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.lifecycle.trainer import Effort, TrainerConfig, TrainingFailed, TrainingSet
from vaeiso_monitor.lifecycle.training_set import save_records

if TYPE_CHECKING:
    from vaeiso_monitor.detector import Recipe
    from vaeiso_monitor.records import Schema

_LOOK_EVERY_SECONDS = 0.2
_TOLD_BYTES = 65536
_ERROR_BYTES = 2000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ChildTrainer:
    """Trains in a child process, which works in a folder of its own under ``folder``.

    The calling thread waits; it must outlive the child, which the kernel ends with it.
    """

    def __init__(
        self,
        config: TrainerConfig,
        schema: Schema,
        folder: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._schema = schema
        self._folder = folder
        self._clock = clock

    def clean(self) -> None:
        """Remove what trainings left behind that were killed; call it before the first."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def train(
        self,
        given: TrainingSet,
        recipe: Recipe,
        *,
        report: Callable[[Effort], None],
        stop: Callable[[], bool],
    ) -> Bundle:
        """Train a bundle on ``given`` and load it; nothing of the work stays behind."""
        with self._workplace() as place:
            self._write_request(place, given, recipe)
            with (
                (place / "errors.log").open("wb") as errors,
                _child(place, self.config, errors) as child,
            ):
                ended = _Watch(child, self.config, report, stop).until_the_end()
            if "done" not in ended:
                raise TrainingFailed(ended.get("failed") or _died(child.returncode, place))
            return Bundle.load(place / "candidate")

    def _write_request(self, place: Path, given: TrainingSet, recipe: Recipe) -> None:
        save_records(given.records, place / "records.arrow")
        request = {
            "schema": self._schema.state()[0],
            "recipe": asdict(recipe),
            "ledger": dict(given.ledger),
            "created": datetime.fromtimestamp(self._clock(), UTC).isoformat(),
        }
        (place / "request.json").write_text(json.dumps(request))

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        place = self._folder / uuid.uuid4().hex
        try:
            place.mkdir(parents=True)
            yield place
        except OSError as error:
            msg = f"cannot train in {self._folder}: {error.strerror or error}"
            raise TrainingFailed(msg) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _child(place: Path, config: TrainerConfig, errors: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child, and kill it when the block is left before its end."""
    module = "vaeiso_monitor.lifecycle.child"
    words = [sys.executable, "-m", module, str(place), str(os.getpid()), str(config.niceness)]
    with subprocess.Popen(  # noqa: S603
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={"OMP_NUM_THREADS": _half_the_cores(), **os.environ},
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _half_the_cores() -> str:
    """Return how many threads a training may use: the scoring needs cores of its own."""
    return str(max(1, len(os.sched_getaffinity(0)) // 2))


class _Watch:
    """Reads what the child tells, and kills it when it goes beyond its bounds."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        config: TrainerConfig,
        report: Callable[[Effort], None],
        stop: Callable[[], bool],
    ) -> None:
        self._child = child
        self._config = config
        self._report = report
        self._stop = stop
        self._began = time.monotonic()
        self._progress = 0.0
        self._rest = b""
        self._ended: dict[str, str] = {}

    def until_the_end(self) -> dict[str, str]:
        """Return what the child said last: ``done`` or ``failed``, or nothing if it died."""
        assert self._child.stdout is not None
        pipe = self._child.stdout.fileno()
        while True:
            ready, _, _ = select.select([pipe], [], [], _LOOK_EVERY_SECONDS)
            if ready:
                told = os.read(pipe, _TOLD_BYTES)
                if not told:
                    break
                self._hear(told)
            if why := self._out_of_bounds():
                self._child.kill()
                self._child.wait()
                return {"failed": why}
        self._child.wait()
        return self._ended

    def _hear(self, told: bytes) -> None:
        *lines, self._rest = (self._rest + told).split(b"\n")
        for line in lines:
            words = json.loads(line)
            if "step" in words:
                self._progress = words["step"] / words["max_steps"]
            else:
                self._ended = words

    def _out_of_bounds(self) -> str | None:
        seconds, memory = time.monotonic() - self._began, _resident_bytes(self._child.pid)
        self._report(Effort(self._progress, seconds, memory))
        if self._stop():
            return "it was stopped"
        if seconds > self._config.deadline_seconds:
            return (
                f"it took longer than trainer.deadline_seconds = {self._config.deadline_seconds:g}"
                f" ({self._progress:.0%} was done): allow more, or train on less"
            )
        if memory > self._config.memory_limit_bytes:
            return (
                f"it held {memory:,} bytes, more than trainer.memory_limit_bytes = "
                f"{self._config.memory_limit_bytes:,}: allow more, or lower window.max_rows"
            )
        return None


def _resident_bytes(pid: int) -> int:
    """Return the memory that a process holds, 0 where the system does not tell.

    A limit on addresses (RLIMIT_AS) would not do: torch and CUDA reserve far more than they use.
    """
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def _died(code: int | None, place: Path) -> str:
    """Say how the child ended that gave no reason: its signal, or the last line of its errors."""
    if code is not None and code < 0:
        return f"its process was killed by signal {-code}"
    try:
        lines = (
            (place / "errors.log").read_bytes()[-_ERROR_BYTES:].decode(errors="replace").split("\n")
        )
    except OSError:
        lines = []
    last = next((line for line in reversed(lines) if line.strip()), "no reason was given")
    return f"its process ended with code {code}: {last.strip()}"
