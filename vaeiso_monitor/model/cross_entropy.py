"""Cross-entropy as a distortion: of values within [0, 1], and of one-hot columns beside numbers.

Both are counted from their minimum, so that D(x, x) = 0 as a distortion needs: what the usual
cross-entropy has above that, the entropy of x, does not depend on the model (:meth:`offset`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

# A decoder never says 0 or 1: below this probability one event is as impossible as another.
FLOOR = 1e-6
_MOST_RUNS = 4


class BinaryCrossEntropy:
    """D(x, y) = sum_i x log(x/y) + (1-x) log((1-x)/(1-y)), with G_x = diag(1 / (2 x (1-x))).

    The decoder's raw output is a logit.
    """

    name = "binary-cross-entropy"
    constant_metric = False
    counted: tuple[int, ...] = ()

    def link(self, raw: Tensor) -> Tensor:
        """Return probabilities within ``FLOOR`` and 1 - ``FLOOR``: [..., m]."""
        return FLOOR + (1 - 2 * FLOOR) * raw.sigmoid()

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return the derivative of :meth:`link` at ``raw`` along ``d``: [..., m]."""
        truth = raw.sigmoid()
        return (1 - 2 * FLOOR) * truth * (1 - truth) * d

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x log(x/y) + (1-x) log((1-x)/(1-y)): [..., m]."""
        return _surplus(x, y) + _surplus(1 - x, 1 - y)

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of :meth:`values`: [...]."""
        return self.values(x, y).sum(-1)

    def offset(self, x: Tensor) -> Tensor:
        """Return the entropy of x, which D lacks against the usual cross-entropy: [...]."""
        return -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(-1)

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return d / (2 x (1-x)): [..., m]."""
        return d / (2 * x * (1 - x))

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return -sum_i log(2 x (1-x)): [...]; infinite where a value is 0 or 1."""
        return -(2 * x * (1 - x)).log().sum(-1)

    def log_scale(self, x: Tensor) -> None:
        """Return None: G_x is no multiple of I."""
        del x

    def gaussian_values(self, width: int) -> int:
        """Return 0: no value has a Gaussian for a density."""
        del width
        return 0

    def state(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.name}

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> Self:
        """Return the distortion of a :meth:`state`."""
        del meta
        return cls()


class MixedColumns:
    """Numbers by squared error, truths by binary cross-entropy, categories by cross-entropy.

    ``truths`` are columns of 0 and 1; ``categories`` are slices (start, stop) of one-hot columns;
    all other columns are numbers. A one-hot slice has D(x, y) = sum_k x_k log(x_k/y_k) - x_k + y_k
    and G_x = diag(1 / (2 x_k)). A value outside [0, 1] stands for a category that training never
    showed: it costs its squared distance times -log ``FLOOR``, more than the rarest one known.
    """

    name = "mixed-columns"
    constant_metric = False

    def __init__(self, truths: Sequence[int], categories: Sequence[tuple[int, int]]) -> None:
        self.truths = tuple(int(column) for column in truths)
        self.categories = tuple((int(start), int(stop)) for start, stop in categories)
        taken = [*self.truths, *(c for start, stop in self.categories for c in range(start, stop))]
        empty = any(stop <= start for start, stop in self.categories)
        if empty or len(set(taken)) < len(taken) or any(column < 0 for column in taken):
            msg = f"truths {self.truths} and categories {self.categories} overlap or are empty"
            raise ValueError(msg)
        self.counted: tuple[int, ...] = tuple(taken)
        self._truths = _runs([(column, column + 1) for column in self.truths])
        self._shares = _runs(self.categories)
        self._binary = BinaryCrossEntropy()

    def alone(self) -> MixedColumns:
        """Return what judges a matrix of the ``counted`` columns alone, in their order."""
        start, categories = len(self.truths), []
        for first, stop in self.categories:
            categories.append((start, start := start + stop - first))
        return MixedColumns(range(len(self.truths)), categories)

    def link(self, raw: Tensor) -> Tensor:
        """Return numbers as they are, truths through a sigmoid, categories through a softmax."""
        out = raw.clone()
        for part in self._truths:
            out[..., part] = self._binary.link(raw[..., part])
        for start, stop in self.categories:
            share = _softmax(raw[..., start:stop])
            out[..., start:stop] = share.mul(1 - (stop - start) * FLOOR).add(FLOOR)
        return out

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return the derivative of :meth:`link` at ``raw`` along ``d``: [..., m]."""
        out = d.clone()
        for part in self._truths:
            out[..., part] = self._binary.link_slope(raw[..., part], d[..., part])
        for start, stop in self.categories:
            share, along = _softmax(raw[..., start:stop]), d[..., start:stop]
            turned = share * (along - (share * along).sum(-1, keepdim=True))
            out[..., start:stop] = (1 - (stop - start) * FLOOR) * turned
        return out

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the part of each column in D(x, y): [..., m]."""
        out = (x - y).square()
        for part in self._truths:
            a, far = _within(x[..., part])
            out[..., part] = self._binary.values(a, y[..., part]) + far
        for part in self._shares:
            (a, far), b = _within(x[..., part]), y[..., part]
            out[..., part] = _surplus(a, b) - a + b + far
        return out

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of :meth:`values`: [...]."""
        return self.values(x, y).sum(-1)

    def by_first(self, x: Tensor, y: Tensor) -> Tensor:
        """Return dD / dx: 2 (x - y), logit x - logit y, log (x / y): [..., m]."""
        out = (x - y).mul_(2)
        for part in self._truths:
            a, b = x[..., part], y[..., part]
            out[..., part] = (a / b).mul_((1 - b) / (1 - a)).log_()
        for part in self._shares:
            out[..., part] = (x[..., part] / y[..., part]).log_()
        return out

    def by_second(self, x: Tensor, y: Tensor) -> Tensor:
        """Return dD / dy: 2 (y - x), (y - x) / (y (1 - y)), 1 - x / y: [..., m]."""
        out = (y - x).mul_(2)
        for part in self._truths:
            a, b = x[..., part].clamp(0, 1), y[..., part]
            out[..., part] = (b - a).div_(b * (1 - b))
        for part in self._shares:
            out[..., part] = 1 - x[..., part].clamp(0, 1) / y[..., part]
        return out

    def offset(self, x: Tensor) -> Tensor:
        """Return the entropy of truths and categories, which D lacks against cross-entropy."""
        found = x.new_zeros(x.shape[:-1])
        for part in self._truths:
            found = found + self._binary.offset(x[..., part])
        for part in self._shares:
            found = found - torch.xlogy(x[..., part], x[..., part]).sum(-1)
        return found

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return G_x d: [..., m]."""
        return self._diagonal(x) * d

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return the sum of the logarithms of the diagonal of G_x: [...]."""
        return self._diagonal(x).log().sum(-1)

    def log_scale(self, x: Tensor) -> None:
        """Return None: G_x is no multiple of I."""
        del x

    def gaussian_values(self, width: int) -> int:
        """Return how many of ``width`` columns are numbers."""
        return width - len(self.counted)

    def state(self) -> dict[str, Any]:
        """Return the name and the columns that are no numbers."""
        categories = [list(bounds) for bounds in self.categories]
        return {"name": self.name, "truths": list(self.truths), "categories": categories}

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> Self:
        """Return the distortion of a :meth:`state`."""
        return cls(meta["truths"], [(start, stop) for start, stop in meta["categories"]])

    def _diagonal(self, x: Tensor) -> Tensor:
        out = torch.ones_like(x)
        for part in self._truths:
            out[..., part] = 1 / (2 * x[..., part] * (1 - x[..., part]))
        for part in self._shares:
            out[..., part] = 1 / (2 * x[..., part])
        return out


def _runs(bounds: Sequence[tuple[int, int]]) -> Sequence[slice | Tensor]:
    """Return columns from start to stop as slices, those side by side as one: views, no copies.

    Of many such slices one index of all columns is the faster, copies and all.
    """
    runs: list[slice] = []
    for start, stop in sorted(bounds):
        before = runs.pop() if runs and runs[-1].stop == start else slice(start, stop)
        runs.append(slice(before.start, stop))
    if len(runs) <= _MOST_RUNS:
        return runs
    return [torch.cat([torch.arange(run.start, run.stop) for run in runs])]


def _softmax(raw: Tensor) -> Tensor:
    """Return torch's softmax [..., k]: of some columns among many, 2 to 5 times as fast."""
    shares = (raw - raw.detach().amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True)


def _within(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` within [0, 1], and what lies outside costs."""
    a = x.clamp(0, 1)
    return a, -math.log(FLOOR) * (x - a).square()


def _surplus(x: Tensor, y: Tensor) -> Tensor:
    """Return x log(x/y), 0 where x = 0: there the derivative of xlogy(x, x/y) would be NaN."""
    return torch.xlogy(x, torch.where(x > 0, x / y, 1.0))
