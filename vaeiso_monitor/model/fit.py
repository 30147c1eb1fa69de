"""Training: members with several betas side by side; the held-out nats say which is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.model.distortion import Distortion
from vaeiso_monitor.model.race import Race, Task
from vaeiso_monitor.model.report import FitReport, Progress
from vaeiso_monitor.model.shape import ModelConfig
from vaeiso_monitor.model.training import TrainingConfig, partings
from vaeiso_monitor.model.vae import VAE

_ONE_THREAD_VALUES = 256 * 512  # in a batch: up to here one thread computes


@dataclass(frozen=True, slots=True)
class Fold:
    """A model, and the rows (int64 [h]) that it was judged on and not trained on."""

    model: VAE
    held_out_rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fit:
    """The winning member, the rows it was judged on (int64 [h]), and what happened.

    ``members`` holds all of them, each at its best. ``folds`` holds what to measure with on records
    that were not trained on: the model itself and its held-out rows, or, where every record was
    held out once, the winner of each fold.
    """

    model: VAE
    held_out_rows: NDArray[np.int64]
    report: FitReport
    members: VAE
    folds: tuple[Fold, ...]


def fit(
    x: NDArray[np.float32],
    model: ModelConfig,
    training: TrainingConfig,
    *,
    device: torch.device,
    distortion: Distortion | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Fit:
    """Train a model on encoded records [N, m] of normal operation.

    ``distortion`` is squared error where none is given, which is right for columns of numbers:
    ``model.distortion`` only names it, and which columns are none, only the encoder knows.

    The winner is the member with the lowest held-out nats per record, or a coarser one that is as
    good, as :mod:`vaeiso_monitor.model.judgement` has it. When ``time_budget_seconds`` is over, the
    best so far wins; when ``stop()`` says yes, :class:`~vaeiso_monitor.model.race.TrainingStopped`
    is raised. The same seed, thread count and torch give the same weights, unless the time budget
    ran out. Raises ValueError for fewer than two records or values that are not finite.
    """
    _check(x)
    data = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
    task = Task(data, partings(len(x), training), model, training, distortion)
    with _threads_for(training.batch_size * x.shape[1]):
        race = Race(task, progress or (lambda _: None), stop or (lambda: False))
        race.run()
        members, report = race.members(), race.report()
        return _fit(task, race.models(), members, report)


def _fit(task: Task, models: list[VAE], members: VAE, report: FitReport) -> Fit:
    rows = [held_out for _, held_out in task.partings]
    folds = (
        Fold(model.member(report.winner), held_out)
        for model, held_out in zip(models, rows, strict=True)
    )
    winner = members.member(report.winner)
    return Fit(winner, np.sort(np.concatenate(rows)), report, members, tuple(folds))


@contextmanager
def _threads_for(values: int) -> Iterator[None]:
    """Give a step over ``values`` numbers the threads that it can use.

    Small layers gain little from a second thread, and beside other busy processes the threads wait
    for each other so long that a step takes eight times the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if values <= _ONE_THREAD_VALUES else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(x: NDArray[np.float32]) -> None:
    if x.ndim != 2 or len(x) < 2 or x.shape[1] < 1:
        msg = f"training needs at least 2 records of at least 1 value, not an array {x.shape}"
        raise ValueError(msg)
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).all(axis=1))
        msg = f"{len(rows)} of {len(x)} records hold values that are not finite (row {rows[0]})"
        raise ValueError(msg)
