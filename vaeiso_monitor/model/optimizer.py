"""The optimizer of all members at once: clipped Adam and a running average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam

_BETA1, _BETA2, _EPSILON = 0.9, 0.99, 1e-8
_CLIP = 2.0  # times a member's usual gradient norm: the scale of the loss runs over decades
_AVERAGE_HORIZON = 400  # steps that the average of the weights looks back, once it is full


class MemberAdam:
    """Adam over the weights [M, P]; no member's step depends on the other members.

    The rule is torch's own, called without ``torch.optim.Adam``: that loads all of torch's compiler
    at its first use, which costs a short training as much time again as torch itself. Weight decay
    is decoupled from the gradient (Loshchilov and Hutter, ICLR 2019).
    """

    def __init__(self, weights: Tensor, decay: Tensor | None = None) -> None:
        self.weights = weights.clone().requires_grad_()
        self._decay = decay  # [1, P]: what a step takes off each weight, per unit of its size
        self.average = weights.clone()
        self._usual_norm: Tensor | None = None  # [M]
        self._means = torch.zeros_like(weights)  # of the gradient, and of its square
        self._squares = torch.zeros_like(weights)
        self._count = torch.zeros((), device=weights.device)  # of steps, as the rule wants it
        self._steps = 0

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """Take one step down the ``gradient`` [M, P], whose tensor is used up by it."""
        with torch.no_grad():
            self._descend(self._clipped(gradient), learning_rate)
            if self._decay is not None:
                self.weights.mul_(1 - learning_rate * self._decay)
        self._steps += 1
        pace = max(1 / (_AVERAGE_HORIZON + 1), 1 / (1 + 0.2 * self._steps))
        self.average.lerp_(self.weights.detach(), pace)

    def keep(self, members: Tensor) -> None:
        """Go on with the members of these indices [K] only."""
        self.weights = self.weights.detach()[members].clone().requires_grad_()
        self.average = self.average[members]
        self._means, self._squares = self._means[members], self._squares[members]
        if self._usual_norm is not None:
            self._usual_norm = self._usual_norm[members]

    def _descend(self, gradient: Tensor, learning_rate: float) -> None:
        adam(
            [self.weights],
            [gradient],
            [self._means],
            [self._squares],
            [],
            [self._count],
            fused=True,
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )

    def _clipped(self, gradient: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(gradient, dim=1)
        sane = norm.isfinite()
        if self._usual_norm is None:
            self._usual_norm = torch.where(sane, norm, torch.ones_like(norm))
        limit = _CLIP * self._usual_norm
        calm = torch.where(sane, torch.minimum(norm, limit), limit)
        self._usual_norm = torch.lerp(self._usual_norm, calm, 0.02)
        scale = torch.where(sane, calm / norm.clamp_min(1e-30), torch.zeros_like(norm))
        return gradient.nan_to_num_(0.0, 0.0, 0.0).mul_(scale[:, None])
