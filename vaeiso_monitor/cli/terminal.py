"""What a person sees while waiting: progress bars on a terminal, a few log lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from vaeiso_monitor.model import Progress as TrainingProgress

log = structlog.get_logger(__name__)
console = Console(stderr=True, markup=False)  # names and paths may hold brackets


def complain(words: str) -> None:
    """Say on standard error what is wrong."""
    print(f"error: {words}", file=sys.stderr)


def bar() -> Progress:
    """Return a progress bar on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


class ProgressReporter:
    """Shows collecting and training as bars on a terminal, as ten log lines each elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._phase = ""
        self._tenth = -1

    def collecting(self, records: int, required: int) -> None:
        """Say how many of the records for the first training are there."""
        self._show("collecting records", min(records, required), required, "")

    def training(self, progress: TrainingProgress, phase: str = "training") -> None:
        """Say how far training is."""
        nats = progress.held_out_nats
        note = "" if nats is None else f"judged {nats:.2f} nats"
        self._show(phase, progress.step, progress.max_steps, note)

    def finished(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
        self._phase = ""

    def _show(self, phase: str, done: int, total: int, note: str) -> None:
        if not console.is_terminal:
            self._log(phase, done, total, note)
            return
        if self._bar is None:
            self._bar = bar()
            self._bar.start()
        if phase != self._phase or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(phase, total=total, note=note)
            self._phase = phase
        self._bar.update(self._task, completed=done, note=note)

    def _log(self, phase: str, done: int, total: int, note: str) -> None:
        tenth = 10 * done // max(total, 1)
        if (phase, tenth) == (self._phase, self._tenth):
            return
        self._phase, self._tenth = phase, tenth
        details: dict[str, Any] = {"note": note} if note else {}
        log.info(phase.replace(" ", "_"), done=done, total=total, **details)


@contextmanager
def reporting() -> Iterator[ProgressReporter]:
    """Yield a reporter whose bar is gone afterwards, come what may."""
    reporter = ProgressReporter()
    try:
        yield reporter
    finally:
        reporter.finished()
