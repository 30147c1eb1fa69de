"""Distortions D(x, x^) and their metric tensors: D(x, x + d) ~ d' G_x d for a small d.

A distortion is a plain sum over the values of a record (no mean, no factor 1/2): only then is the
posterior variance of the isometric embedding beta/2.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Distortion(Protocol):
    """What the model needs to know of a distortion; shapes broadcast over leading axes."""

    name: str
    constant_metric: bool  # whether G_x = I for every x: several short cuts need it

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the part of each value of a record in D(x, y): [..., m]."""

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return D(x, y) per record: [...], the sum of :meth:`values`."""

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return G_x d: [..., m]."""

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return log |det G_x| per record: [...]."""


class SquaredError:
    """D(x, y) = sum_i (x_i - y_i)^2, whose metric tensor is the identity."""

    name = "squared_error"
    constant_metric = True

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (x_i - y_i)^2: [..., m]."""
        return (x - y).square()

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return sum_i (x_i - y_i)^2: [...]."""
        return (x - y).square().sum(-1)

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return ``d`` itself, broadcast against ``x``: [..., m]."""
        return d.expand(*(x + d).shape)

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return zero per record: [...]."""
        return x.new_zeros(x.shape[:-1])
