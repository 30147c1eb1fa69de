"""Training of the baselines, the seeds side by side, and the energies they give."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaeiso_monitor.experiments.anomaly.baselines.frame import Dice, Frame
from vaeiso_monitor.experiments.anomaly.baselines.mixture import Mixture
from vaeiso_monitor.experiments.anomaly.encoding import Encoding
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Scores, Trial

_STEPS_PER_TELLING = 50
_ONE_THREAD_VALUES = 256 * 512  # in a batch: up to here one thread computes
_CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train with Adam, whose rate falls along a half cosine to nothing."""

    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    largest_gradient: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Nets ready to be trained: the loss [L] of a batch [L, B, m], the features of records."""

    frame: Frame
    loss: Callable[[Tensor], Tensor]
    features_of: Callable[[Tensor], Tensor]


def run(
    trials: Sequence[Trial],
    encoding: Encoding,
    schedule: Schedule,
    recipe: Callable[[int, Dice], Recipe],
) -> list[Outcome]:
    """Train what ``recipe`` makes for records of a width, and score the test records by energy.

    The trials, of one data set, are lanes; each gets an equal part of the seconds. The same seed
    and thread count give the same scores, but for rounding.
    """
    device = trials[0].device
    encoded = [torch.from_numpy(trial.encoded(encoding)) for trial in trials]
    lanes = torch.stack(encoded).to(device)
    width = lanes.shape[-1]
    with _threads_for(schedule.batch_size * width):
        begun = time.monotonic()
        made = recipe(width, Dice([trial.seed for trial in trials], device))
        _descend(trials, lanes, schedule, made)
        trained = time.monotonic()
        scores = []
        for lane, weights in enumerate(torch.split(made.frame.weights.detach(), 1)):
            made.frame.use(weights)
            scores.append(_scored(trials[lane], lanes[lane], made))
    seconds = ((trained - begun) / len(trials), (time.monotonic() - trained) / len(trials))
    return [Outcome(each, *seconds) for each in scores]


def _descend(trials: Sequence[Trial], lanes: Tensor, schedule: Schedule, recipe: Recipe) -> None:
    frame = recipe.frame
    adam = torch.optim.Adam([frame.weights], lr=schedule.learning_rate, fused=True)
    batches = zip(*_batches(trials, frame.dice, schedule.batch_size), strict=True)
    places = torch.arange(len(trials), device=lanes.device)[:, None]
    for step in range(schedule.steps):
        falling = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        adam.param_groups[0]["lr"] = schedule.learning_rate * falling
        frame.use(frame.weights)
        loss = recipe.loss(lanes[places, torch.stack(next(batches))])
        (gradient,) = torch.autograd.grad(loss.sum(), [frame.weights])
        frame.weights.grad = _clipped(gradient, schedule.largest_gradient)
        adam.step()
        if step % _STEPS_PER_TELLING == 0:
            trials[0].tell(step, schedule.steps)
    frame.training = False


def _clipped(gradient: Tensor, largest: float) -> Tensor:
    """Return the gradient of each lane no longer than ``largest``, and nothing where not finite."""
    norm = gradient.norm(dim=1, keepdim=True)
    scale = torch.where(norm.isfinite(), (largest / norm).clamp_max(1.0), torch.zeros_like(norm))
    return gradient.nan_to_num(0.0, 0.0, 0.0) * scale


def _batches(trials: Sequence[Trial], dice: Dice, size: int) -> list[Iterator[Tensor]]:
    size = min(size, *(len(trial.train) for trial in trials))
    return [_shuffled(trial, dice, lane, size) for lane, trial in enumerate(trials)]


def _shuffled(trial: Trial, dice: Dice, lane: int, size: int) -> Iterator[Tensor]:
    rows = torch.from_numpy(trial.train).to(trial.device)
    while True:
        order = dice.order(lane, len(rows))
        for start in range(0, len(rows) - size + 1, size):
            yield rows[order[start : start + size]]


@torch.no_grad()
def _scored(trial: Trial, records: Tensor, recipe: Recipe) -> Scores:
    """Return energies under the mixture of all training records, by the one lane of the frame."""
    seen, counts = np.unique(trial.train, return_counts=True)
    tested, back = np.unique(trial.test, return_inverse=True)
    known = _features(records[torch.from_numpy(seen)], recipe)
    often = torch.from_numpy(counts).to(known)[None, :, None]
    mixture = Mixture.of(known, recipe.frame.shares(known) * often, recipe.frame.config.ridge)
    energies = mixture.energy(_features(records[torch.from_numpy(tested)], recipe))
    return np.asarray(energies[0].cpu().numpy()[back])


def _features(records: Tensor, recipe: Recipe) -> Tensor:
    chunks = torch.split(records, _CHUNK)
    return torch.cat([recipe.features_of(chunk[None]) for chunk in chunks], dim=1)


@contextmanager
def _threads_for(values: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if values <= _ONE_THREAD_VALUES else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
