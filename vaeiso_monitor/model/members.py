"""Members that differ in beta, trained side by side on some records and judged on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.distortion import Distortion, Sloped
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.gradient import Gradient
from vaeiso_monitor.model.optimizer import MemberAdam
from vaeiso_monitor.model.schedule import Schedule
from vaeiso_monitor.model.shape import ModelConfig, Shape
from vaeiso_monitor.model.start import started
from vaeiso_monitor.model.training import TrainingConfig
from vaeiso_monitor.model.vae import VAE, initial

_AT_ONCE = 4096  # held-out records
_DECAY_RECORDS = 1000.0  # weight decay is this over the records to fit ...
_MOST_DECAY = 3.0  # ... and at most this


class Members:
    """All members on the same records ``x`` [N, m]: those still in training, and all at their best.

    ``alive`` are the indices of the former. What is judged, and kept as best, is the running
    average of the weights.
    """

    def __init__(
        self,
        x: Tensor,
        shape: Shape,
        config: ModelConfig,
        training: TrainingConfig,
        distortion: Distortion | None,
    ) -> None:
        self.x, self._objective, self._training = x, config.objective, training
        untrained = initial(shape, config.member_betas(), training.seed, distortion).to(x.device)
        self._start = started(untrained, x, training.seed)
        self._best = self._start.weights.clone()
        self.alive = list(range(untrained.members))
        decay = decay_of(shape, training, len(x)).to(x.device)
        self._adam = MemberAdam(self._start.weights, decay)
        self._batch = min(training.batch_size, len(x))
        self._gradient = self._way_to_gradient()
        self._draws = sign_draws(2, untrained.latent_dim, training.seed).to(x.device)
        self._generator = torch.Generator(device=x.device).manual_seed(training.seed)
        self._batches = self._shuffled()

    @property
    def betas(self) -> tuple[float, ...]:
        """The beta of each member that is still in training."""
        return tuple(self._start.betas[i] for i in self.alive)

    def descend(self, schedule: Schedule) -> None:
        """Take one step with those still in training."""
        batch = next(self._batches)
        betas = [self._annealed(beta, schedule) for beta in self.betas]
        size = (len(batch), self._start.latent_dim)
        noise = torch.randn(*size, generator=self._generator, device=batch.device)
        self._adam.step(self._gradient(batch, noise, betas), schedule.learning_rate())

    def nats(self, x: Tensor) -> Tensor:
        """Return the proper nats of records [N, m] under each of those in training: [alive, N]."""
        return self._nats(self._start.with_weights(self._adam.average, self.betas), x)

    def nats_at_best(self, x: Tensor) -> Tensor:
        """Return the proper nats of records [N, m] under every member at its best: [M, N]."""
        return self._nats(self.best(), x)

    def keep_as_best(self, member: int) -> None:
        """Take what a member is now for its best."""
        self._best[member] = self._adam.average[self.alive.index(member)]

    def keep(self, kept: Sequence[int]) -> None:
        """Go on training these members only."""
        places = torch.tensor([self.alive.index(i) for i in kept], dtype=torch.long)
        self.alive = list(kept)
        if kept:
            self._adam.keep(places.to(self.x.device))
            self._gradient = self._way_to_gradient()

    def best(self) -> VAE:
        """Return every member at its best."""
        return self._start.with_weights(self._best, self._start.betas)

    def _way_to_gradient(self) -> Callable[[Tensor, Tensor, Sequence[float]], Tensor]:
        judge = self._start.distortion
        if self._objective == "decomposed" and isinstance(judge, Sloped):
            return Gradient(self._start.shape, self._adam.weights, judge, self._batch)
        return self._by_autograd

    def _by_autograd(self, x: Tensor, noise: Tensor, betas: Sequence[float]) -> Tensor:
        model = self._start.with_weights(self._adam.weights, betas)
        loss = objective.loss(model, x, noise, self._objective).mean(dim=1).sum()
        (gradient,) = torch.autograd.grad(loss, [self._adam.weights])
        return gradient

    @torch.no_grad()
    def _nats(self, model: VAE, x: Tensor) -> Tensor:
        pieces = torch.split(x, _AT_ONCE)
        return torch.cat(
            [objective.nats(model, p, self._draws, proper=True) for p in pieces], dim=1
        )

    def _shuffled(self) -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(self.x), generator=self._generator, device=self.x.device)
            for rows in torch.split(order, self._batch):
                if len(rows) == self._batch:
                    yield self.x.index_select(0, rows)

    def _annealed(self, beta: float, schedule: Schedule) -> float:
        first, done = self._training.first_beta, schedule.annealed()
        if done >= 1 or beta >= first:
            return beta
        return float(beta * (first / beta) ** (1 - done))


def decay_of(shape: Shape, training: TrainingConfig, records: int) -> Tensor:
    """Return the weight decay of each weight [1, P]: a Gaussian prior weighs 1/N per record.

    Biases, all that is linear and the prior of the latents have none: what few records support is a
    linear model, and there decay lets the nets fall back to.
    """
    usual = min(_DECAY_RECORDS / records, _MOST_DECAY)
    rate = usual if training.weight_decay == "auto" else training.weight_decay
    pieces = []
    for name, (rows, columns) in shape.arrays().items():
        bent = torch.zeros(rows, columns)
        if name.endswith("weight") and shape.hidden:
            bent[: rows - shape.beside(name)] = rate
        pieces.append(bent.reshape(1, -1))
    return torch.cat(pieces, dim=1)
