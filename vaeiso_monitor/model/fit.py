"""Training: members with several betas side by side, each stopped on its own held-out nats."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.distortion import Distortion, SquaredError
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.optimizer import MemberAdam
from vaeiso_monitor.model.report import FitReport, MemberReport, Progress
from vaeiso_monitor.model.shape import ModelConfig
from vaeiso_monitor.model.training import TrainingConfig, split
from vaeiso_monitor.model.vae import VAE, initial

_EVALUATIONS = 80  # of the held-out nats, if all steps are taken ...
_LONGEST = 250  # ... but never more steps than this between two of them
_JUDGES = 4096  # held-out records that decide about stopping; all of them pick the winner
_ONE_THREAD_VALUES = 256 * 512  # in a batch: up to here one thread computes
_FLOOR = 1e-3  # of the learning rate, where the cosine ends


class TrainingStopped(Exception):
    """``stop()`` said yes: training ended without a model."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The winning member, the rows it was judged on (int64 [h]), and what happened.

    ``members`` holds all of them, each at its best.
    """

    model: VAE
    held_out_rows: NDArray[np.int64]
    report: FitReport
    members: VAE


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

    ``distortion`` is squared error where none is given; ``model.distortion`` is only its name.

    The winner is the member with the lowest held-out nats per record. When ``time_budget_seconds``
    is over, the best so far wins; when ``stop()`` says yes, :class:`TrainingStopped` is raised.
    The same seed, thread count and torch give the same weights, unless the time budget ran out.
    Raises ValueError for fewer than two records or values that are not finite.
    """
    _check(x)
    if distortion is None and model.distortion != SquaredError.name:
        msg = f'distortion = "{model.distortion}" needs to be told its columns'
        raise ValueError(msg)
    fit_rows, held_out_rows = split(len(x), training)
    data = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
    with _threads_for(training.batch_size * x.shape[1]):
        run = _Run(data, (fit_rows, held_out_rows), model, training, distortion)
        run.train(progress or (lambda _: None), stop or (lambda: False))
        return run.result()


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


class _Run:
    """One training: the members still in it, and the best that each member reached."""

    def __init__(
        self,
        data: Tensor,
        rows: tuple[NDArray[np.int64], NDArray[np.int64]],
        model: ModelConfig,
        training: TrainingConfig,
        distortion: Distortion | None,
    ) -> None:
        self.training, self.objective = training, model.objective
        self.started = time.monotonic()
        self.fit_rows, self.held_out_rows = rows
        device = data.device
        self.x, self.held_out = (data[torch.from_numpy(part).to(device)] for part in rows)
        shape, betas = model.shape(data.shape[1]), model.member_betas()
        start = initial(shape, betas, training.seed, distortion)
        self.start = start.to(device)
        self.alive = list(range(start.members))
        self.adam = MemberAdam(self.start.weights)
        self.best = self.start.weights.clone()
        self.reports = [MemberReport(beta) for beta in start.betas]
        self.draws = sign_draws(2, start.latent_dim, training.seed).to(device)
        self.generator = torch.Generator(device=device).manual_seed(training.seed)
        self.interval = min(max(1, training.max_steps // _EVALUATIONS), _LONGEST)
        self.step, self.stopped = 0, "max_steps"

    def train(self, progress: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        batches = self._batches()
        while self.step < self.training.max_steps and self.alive:
            if stop():
                msg = f"training was stopped at step {self.step}"
                raise TrainingStopped(msg)
            self._descend(next(batches))
            self.step += 1
            last = self.step == self.training.max_steps or self._out_of_time()
            if self.step % self.interval == 0 or last:
                self._judge()
                progress(self._progress())
            if self._out_of_time():
                self._end_all("time_budget")
        if self.step < self.training.max_steps and self.stopped == "max_steps":
            self.stopped = "no_better"

    def result(self) -> Fit:
        model = self.start.with_weights(self.best, self.start.betas)
        final = [float(value) for value in self._held_out_nats(model, self.held_out)]
        winner = min(range(len(final)), key=lambda i: (math.isnan(final[i]), final[i]))
        for member, value in zip(self.reports, final, strict=True):
            member.held_out_nats = value
        report = FitReport(
            members=self.reports,
            winner=winner,
            rows=len(self.fit_rows),
            held_out_rows=len(self.held_out_rows),
            steps=self.step,
            seconds=time.monotonic() - self.started,
            stopped=self.stopped,
        )
        return Fit(model.member(winner), self.held_out_rows, report, model)

    def _batches(self) -> Iterator[Tensor]:
        size = min(self.training.batch_size, len(self.x))
        device = self.x.device
        while True:
            order = torch.randperm(len(self.x), generator=self.generator, device=device)
            for rows in torch.split(order, size):
                if len(rows) == size:
                    yield self.x[rows]

    def _descend(self, batch: Tensor) -> None:
        betas = [self.start.betas[i] for i in self.alive]
        model = self.start.with_weights(self.adam.weights, [self._annealed(beta) for beta in betas])
        noise = torch.randn(
            len(batch), model.latent_dim, generator=self.generator, device=batch.device
        )
        loss = objective.loss(model, batch, noise, self.objective).mean(dim=1).sum()
        self.adam.step(loss, self._learning_rate())

    def _annealed(self, beta: float) -> float:
        first = self.training.first_beta
        annealing = self.training.annealing * self.training.max_steps
        if self.step >= annealing or beta >= first:
            return beta
        return float(beta * (first / beta) ** (1 - self.step / annealing))

    def _learning_rate(self) -> float:
        share = self.step / self.training.max_steps
        warm = min(1.0, (self.step + 1) / (0.02 * self.training.max_steps + 1))
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        return self.training.learning_rate * warm * max(cosine, _FLOOR)

    @torch.no_grad()
    def _judge(self) -> None:
        betas = [self.start.betas[i] for i in self.alive]
        model = self.start.with_weights(self.adam.average, betas)
        values = self._held_out_nats(model, self.held_out[:_JUDGES]).tolist()
        for position, (i, value) in enumerate(zip(self.alive, values, strict=True)):
            self.reports[i].curve.append((self.step, value))
            if value < self.reports[i].held_out_nats:
                self.reports[i].held_out_nats, self.reports[i].best_step = value, self.step
                self.best[i] = self.adam.average[position]
        self._retire()

    def _retire(self) -> None:
        patience = self.training.patience * self.training.max_steps
        annealed = self.training.annealing * self.training.max_steps
        since = {i: max(self.reports[i].best_step, annealed) for i in self.alive}
        keep = [i for i in self.alive if self.step - since[i] <= patience]
        for i in set(self.alive) - set(keep):
            self.reports[i].stopped = "no_better"
        if len(keep) < len(self.alive):
            members = torch.tensor([self.alive.index(i) for i in keep], dtype=torch.long)
            self.alive = keep
            if keep:
                self.adam.keep(members.to(self.x.device))

    @torch.no_grad()
    def _held_out_nats(self, model: VAE, x: Tensor) -> Tensor:
        parts = [objective.nats(model, piece, self.draws).sum(1) for piece in torch.split(x, 4096)]
        return torch.stack(parts).sum(0) / len(x)

    def _end_all(self, why: str) -> None:
        for i in self.alive:
            self.reports[i].stopped = why
        self.alive, self.stopped = [], why

    def _out_of_time(self) -> bool:
        budget = self.training.time_budget_seconds
        return budget is not None and time.monotonic() - self.started > budget

    def _progress(self) -> Progress:
        values = [m.held_out_nats for m in self.reports if math.isfinite(m.held_out_nats)]
        best = min(values) if values else None
        return Progress(self.step, self.training.max_steps, best, time.monotonic() - self.started)


def _check(x: NDArray[np.float32]) -> None:
    if x.ndim != 2 or len(x) < 2 or x.shape[1] < 1:
        msg = f"training needs at least 2 records of at least 1 value, not an array {x.shape}"
        raise ValueError(msg)
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).all(axis=1))
        msg = f"{len(rows)} of {len(x)} records hold values that are not finite (row {rows[0]})"
        raise ValueError(msg)
