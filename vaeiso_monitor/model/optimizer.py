"""The optimizer of all members at once: clipped Adam and a running average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Adam

_CLIP = 2.0  # times a member's usual gradient norm: the scale of the loss runs over decades
_AVERAGE_HORIZON = 400  # steps that the average of the weights looks back, once it is full


class MemberAdam:
    """Adam over the weights [M, P]; no member's step depends on the other members.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, ICLR 2019).
    """

    def __init__(self, weights: Tensor, decay: Tensor | None = None) -> None:
        self.weights = weights.clone().requires_grad_()
        self._decay = decay  # [1, P]: what a step takes off each weight, per unit of its size
        self.average = weights.clone()
        self._usual_norm: Tensor | None = None  # [M]
        self._adam = _adam(self.weights)
        self._steps = 0

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Take one step down the gradient of ``loss`` (a sum over members)."""
        (gradient,) = torch.autograd.grad(loss, [self.weights])
        self.weights.grad = self._clipped(gradient)
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()
        if self._decay is not None:
            with torch.no_grad():
                self.weights.mul_(1 - learning_rate * self._decay)
        self._steps += 1
        pace = max(1 / (_AVERAGE_HORIZON + 1), 1 / (1 + 0.2 * self._steps))
        self.average.lerp_(self.weights.detach(), pace)

    def keep(self, members: Tensor) -> None:
        """Go on with the members of these indices [K] only."""
        state = self._adam.state.pop(self.weights, {})
        self.weights = self.weights.detach()[members].clone().requires_grad_()
        self.average = self.average[members]
        if self._usual_norm is not None:
            self._usual_norm = self._usual_norm[members]
        self._adam = _adam(self.weights)
        kept = {k: v[members] if k.startswith("exp_avg") else v for k, v in state.items()}
        if kept:  # nothing before the first step
            self._adam.state[self.weights] = kept

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


def _adam(weights: Tensor) -> Adam:
    return Adam([weights], lr=0.0, betas=(0.9, 0.99), fused=True)
