"""The race of members with several betas: who goes on, who is best, and when it is over.

Of many records some are held out, and every member is kept as it was when it was best on them. Of
few, every record is held out of one of several folds: the same members are trained on each fold, in
step, and judged on all the held-out records together. What is best then is a beta and a number of
steps, and members of all records are trained for so long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model.cross_entropy import MixedColumns
from vaeiso_monitor.model.distortion import Distortion, SquaredError
from vaeiso_monitor.model.judgement import coarsest, judged, resolutions
from vaeiso_monitor.model.members import Members
from vaeiso_monitor.model.report import FitReport, MemberReport, Progress, note_on_records
from vaeiso_monitor.model.schedule import Schedule
from vaeiso_monitor.model.shape import ModelConfig
from vaeiso_monitor.model.training import Rows, TrainingConfig
from vaeiso_monitor.model.vae import VAE

_EVALUATIONS = 80  # of the held-out nats in a round, if all its steps are taken ...
_LONGEST = 250  # ... but never more steps than this between two of them
_FINALISTS = 2  # members that a second round is worth, beside the one that would win by now
_LOST_AFTER = 0.15  # of a round, a member twice as bad as the best that gains nothing is given up
_HOPELESS_AFTER = 0.4  # of a round, a member that falls behind faster than it gains is given up
_LATELY = 0.4  # of a round, up to now, in which a member must have gained
_CATCHING_UP = 4  # times what it gained lately is what a member may still gain
_JUDGES = 4096  # held-out records of a fold that decide about stopping; all of them pick the winner


class TrainingStopped(Exception):
    """``stop()`` said yes: training ended without a model."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a race is about: records [N, m], the rows to fit and to hold out, and the recipe."""

    data: Tensor
    partings: Sequence[tuple[Rows, Rows]]
    model: ModelConfig
    training: TrainingConfig
    distortion: Distortion | None

    def members(self, rows: Rows) -> Members:
        """Return members that start on these rows; all of a task have the same sizes."""
        fewest = min(len(fitted) for fitted, _ in self.partings)
        shape = self.model.shape(self.data.shape[1], fewest)
        return Members(self.records(rows), shape, self.model, self.training, self.distortion)

    def schedule(self) -> Schedule:
        """Return a schedule that is at its first step."""
        return Schedule(self.training, len(self.partings[0][0]))

    def records(self, rows: Rows) -> Tensor:
        """Return the records of some rows [n, m]."""
        return self.data[torch.from_numpy(rows).to(self.data.device)]

    def fitted_rows(self) -> Rows:
        """Return the rows that a model may be trained on: all, where each was held out once."""
        if len(self.partings) == 1:
            return self.partings[0][0]
        return np.arange(len(self.data), dtype=np.int64)

    def resolutions(self) -> NDArray[np.float64]:
        """Return the resolution of each column with a Gaussian for a density [m], 0 elsewhere."""
        steps, judge = resolutions(self.records(self.fitted_rows()).cpu().numpy()), self.distortion
        if isinstance(judge, MixedColumns):
            steps[list(judge.counted)] = 0
        elif not isinstance(judge or SquaredError(), SquaredError):
            steps[:] = 0
        return steps


class Race:
    """One training: the members on each fold, all judged together, and how each of them did."""

    def __init__(
        self, task: Task, progress: Callable[[Progress], None], stop: Callable[[], bool]
    ) -> None:
        self.task, self._progress, self._stop = task, progress, stop
        self._begun = time.monotonic()
        self._folds = [task.members(fitted) for fitted, _ in task.partings]
        self._held_out = [task.records(held_out) for _, held_out in task.partings]
        self._steps = task.resolutions()
        self._schedule = task.schedule()
        self._reports = [MemberReport(beta) for beta in task.model.member_betas()]
        self._stopped = "max_steps"

    @property
    def _alive(self) -> list[int]:
        return self._folds[0].alive

    def run(self) -> None:
        """Train until nothing is gained any more, or until there is no step or time left."""
        self._judge()
        while self._alive:
            self._round()
            if not self._alive or not self._another_round():
                break

    def models(self) -> list[VAE]:
        """Return all members at their best on each fold, in the order of the folds."""
        return [fold.best() for fold in self._folds]

    def members(self) -> VAE:
        """Return all members as they are to be used: with folds, trained on all records."""
        if len(self._folds) == 1:
            return self._folds[0].best()
        return self._of_all_records().best()

    def report(self) -> FitReport:
        """Judge every member on all held-out records, and say how it went."""
        nats, betas = self._nats_at_best(), self._betas()
        final = judged(nats, betas, self._steps, self.task.training.worst_share)
        for report, value, mean in zip(self._reports, final, nats.mean(1).tolist(), strict=True):
            report.held_out_nats, report.mean_held_out_nats = value, mean
        return FitReport(
            members=self._reports,
            winner=self._winner(nats),
            rows=len(self.task.fitted_rows()),
            note=note_on_records(*self.task.data.shape),
            held_out_rows=nats.shape[1],
            steps=self._schedule.step,
            seconds=time.monotonic() - self._begun,
            stopped=self._stopped,
            folds=len(self._folds),
        )

    def _round(self) -> None:
        schedule = self._schedule
        interval = min(max(1, schedule.length // _EVALUATIONS), _LONGEST)
        while self._alive and not schedule.round_ends():
            self._check_stop(schedule)
            for fold in self._folds:
                fold.descend(schedule)
            schedule.step += 1
            late = self._out_of_time()
            if (schedule.step - schedule.start) % interval == 0 or schedule.round_ends() or late:
                self._judge()
                self._retire()
                self._tell()
            if late:
                self._end_all("time_budget")
        if not self._alive and self._stopped == "max_steps":
            self._stopped = "no_better"

    def _another_round(self) -> bool:
        """Begin another round with the best members, if the last one gained enough."""
        if self._schedule.over:
            return False
        if not self._schedule.pays(min(report.held_out_nats for report in self._reports)):
            self._end_all("converged")
            return False
        self._schedule.next_round()
        if self.task.training.race:
            by_nats = sorted(self._alive, key=lambda i: self._reports[i].held_out_nats)
            finalists = {*by_nats[:_FINALISTS], self._winner(self._nats_at_best(_JUDGES))}
            self._keep([i for i in self._alive if i in finalists], "behind")
        return True

    def _betas(self) -> tuple[float, ...]:
        return tuple(report.beta for report in self._reports)

    def _nats_at_best(self, most: int | None = None) -> Tensor:
        """Return the nats [M, N] of held-out records, all or the first ``most`` of each fold."""
        pairs = zip(self._folds, self._held_out, strict=True)
        return torch.cat([fold.nats_at_best(x[:most]) for fold, x in pairs], dim=1)

    def _winner(self, nats: Tensor) -> int:
        return coarsest(nats, self._betas(), self._steps, self.task.training.worst_share)

    def _judge(self) -> None:
        pairs = zip(self._folds, self._held_out, strict=True)
        nats = torch.cat([fold.nats(x[:_JUDGES]) for fold, x in pairs], dim=1)
        worst = self.task.training.worst_share
        values = judged(nats, self._folds[0].betas, self._steps, worst)
        for i, value in zip(self._alive, values, strict=True):
            report = self._reports[i]
            report.curve.append((self._schedule.step, value))
            if value < report.held_out_nats:
                report.held_out_nats, report.best_step = value, self._schedule.step
                for fold in self._folds:
                    fold.keep_as_best(i)

    def _retire(self) -> None:
        """Let go of members that no longer improve, and of those that cannot win any more."""
        schedule, training = self._schedule, self.task.training
        if schedule.annealed() < 1:
            return
        begun = schedule.patient_since()
        since = {i: max(self._reports[i].best_step, begun) for i in self._alive}
        patience = training.patience * schedule.length
        self._keep([i for i in self._alive if schedule.step - since[i] <= patience], "no_better")
        if training.race and schedule.share >= _LOST_AFTER and len(self._alive) > 1:
            hopeful = [i for i in self._alive if not self._hopeless(self._reports[i])]
            self._keep(hopeful, "behind")

    def _hopeless(self, report: MemberReport) -> bool:
        begun, now = self._schedule.start, self._schedule.step
        lately = begun + (1 - _LATELY) * (now - begun)
        before = min(value for step, value in report.curve if step <= lately)
        best = min(each.held_out_nats for each in self._reports)
        behind, gained = report.held_out_nats - best, before - report.held_out_nats
        if self._schedule.share < _HOPELESS_AFTER:
            return gained <= 0 and behind > max(abs(best), 1.0)
        return behind > _CATCHING_UP * gained

    def _keep(self, kept: list[int], why: str) -> None:
        if len(kept) == len(self._alive):
            return
        for i in set(self._alive) - set(kept):
            self._reports[i].stopped = why
        for fold in self._folds:
            fold.keep(kept)

    def _end_all(self, why: str) -> None:
        self._keep([], why)
        self._stopped = why

    def _of_all_records(self) -> Members:
        """Train each member on all records for as many steps as were best on the folds."""
        members = self.task.members(self.task.fitted_rows())
        schedule = self.task.schedule()
        wanted = [report.best_step for report in self._reports]
        members.keep([i for i in members.alive if wanted[i] > 0])
        while members.alive:
            self._check_stop(schedule)
            if schedule.round_ends():
                schedule.next_round()
            members.descend(schedule)
            schedule.step += 1
            done = [i for i in members.alive if wanted[i] == schedule.step]
            for i in done:
                members.keep_as_best(i)
            if done:
                members.keep([i for i in members.alive if i not in done])
        return members

    def _check_stop(self, schedule: Schedule) -> None:
        if self._stop():
            msg = f"training was stopped at step {schedule.step}"
            raise TrainingStopped(msg)

    def _out_of_time(self) -> bool:
        budget = self.task.training.time_budget_seconds
        if budget is None:
            return False
        folds = len(self._folds)  # and once more on all records, where there is more than one
        share = 1.0 if folds == 1 else folds / (folds + 1)
        return time.monotonic() - self._begun > share * budget

    def _tell(self) -> None:
        values = [r.held_out_nats for r in self._reports if math.isfinite(r.held_out_nats)]
        best, seconds = min(values, default=None), time.monotonic() - self._begun
        most = self._schedule.max_steps
        self._progress(Progress(self._schedule.step, most, best, seconds))
