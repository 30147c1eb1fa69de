"""The gradient of the training objective (Eq. 3), written out.

Nets as small as these cost autograd as much to keep account of as to compute. Here a layer is one
product forward and two back, as its bias lies under its weights and what enters it ends in a 1;
what enters the last layer beside the hidden one is written where that layer reads it; and its
gradient goes straight to its place among all. It is the gradient of
:func:`vaeiso_monitor.model.objective.loss`, which says what is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaeiso_monitor.model.distortion import Sloped
from vaeiso_monitor.model.objective import SHORT
from vaeiso_monitor.model.prior import Prior
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import bounded, bounded_slope, named_parts, prior_of

_REGISTER = 16  # numbers: rows that begin where a register may are read faster


class Gradient:
    """The gradient of the mean of the decomposed loss over the records of a batch.

    ``weights`` [M, P] are read where they lie: an optimizer may change them in place between calls.
    Every call is for ``batch`` records.
    """

    def __init__(self, shape: Shape, weights: Tensor, distortion: Sloped, batch: int) -> None:
        self._shape, self._distortion, self._batch = shape, distortion, batch
        weights = weights.detach()
        self._found = torch.empty_like(weights)
        self._parts, self._found_parts = (named_parts(shape, w) for w in (weights, self._found))
        first = sum((rows + 1) * columns for rows, columns in shape.encoder())
        rest, found = weights[:, first:], self._found[:, first:]
        self._encoder = _Net(shape.encoder(), weights, self._found, batch)
        self._decoder = _Net(shape.decoder(), rest, found, 2 * batch)
        self._moments = weights.new_empty(len(weights), batch, 2 * shape.latent_dim)
        self._judged = weights.new_empty(len(weights), 2 * batch, shape.width)
        self._reach = weights.new_ones(batch, 1)
        self._reach[::2] = SHORT

    @torch.no_grad()
    def __call__(self, x: Tensor, noise: Tensor, betas: Sequence[float]) -> Tensor:
        """Return d loss / d weights [M, P] for records [B, m], normal draws [B, n] and M betas.

        The next call overwrites it.
        """
        self._encoder.entry.copy_(x)
        mean, raw = self._encoder.forward().chunk(2, dim=-1)  # [M, B, n]
        sigma = (0.5 * bounded(raw)).exp()
        step = sigma * (noise * self._reach)
        here, there = self._decoder.entry.chunk(2, dim=1)
        here.copy_(mean)
        torch.add(mean, step, out=there)
        y = self._decoder.forward()  # [M, 2 B, m]
        slope = self._slope_of_distortion(x, y, betas)
        by_here, by_there = self._decoder.backward(slope).chunk(2, dim=1)  # [M, B, n]
        by_mean, by_variance = self._slope_of_rate(mean, sigma)
        by_variance.addcmul_(by_there, step, value=0.5)  # d sigma / d log sigma^2 = sigma / 2
        into_mean, into_raw = self._moments.chunk(2, dim=-1)
        torch.add(by_mean.add_(by_here), by_there, out=into_mean)
        torch.mul(by_variance, bounded_slope(raw), out=into_raw)
        self._encoder.backward(self._moments, to_entry=False)
        return self._found

    def _slope_of_distortion(self, x: Tensor, raw: Tensor, betas: Sequence[float]) -> Tensor:
        """Return the derivative by the decoder's raw output [M, 2 B, m]."""
        judge, shares = self._distortion, [1 / (self._batch * beta) for beta in betas]
        share = raw.new_tensor(shares)[:, None, None]
        expected, sampled = judge.link(raw).chunk(2, dim=1)  # [M, B, m]
        by_expected, by_sampled = self._judged.chunk(2, dim=1)
        coding = share / self._reach.square()  # [M, B, 1]
        torch.mul(judge.by_second(expected, sampled), coding, out=by_sampled)
        torch.mul(judge.by_first(expected, sampled), coding, out=by_expected)
        by_expected.addcmul_(judge.by_second(x, expected), share)
        return judge.link_slope(raw, self._judged)

    def _slope_of_rate(self, mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives by mean and log-variance [M, B, n]; note those by the prior."""
        prior: Prior = prior_of(self._shape, self._parts)
        by_mean, by_variance, by_prior = prior.slopes(mean, sigma)
        for name, slope in zip(self._shape.prior_arrays(), by_prior, strict=True):
            torch.div(slope, self._batch, out=self._found_parts[name])
        return by_mean.div_(self._batch), by_variance.div_(self._batch)


class _Net:
    """One net of all members on ``count`` rows, what entered each of its layers, and the way back.

    Its arrays begin ``weights`` [M, ...], their gradient goes to ``found``. ``entry`` [M, N, in]
    is where the caller writes what enters the net.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], weights: Tensor, found: Tensor, count: int
    ) -> None:
        members, at = len(weights), 0
        self._hidden = [columns for _, columns in sizes[:-1]]
        self._layers: list[Tensor] = []
        self._found: list[Tensor] = []
        self._entered: list[Tensor] = []
        for rows, columns in sizes:
            end = at + (rows + 1) * columns
            for views, flat in ((self._layers, weights), (self._found, found)):
                views.append(flat[:, at:end].view(members, rows + 1, columns))
            at = end
            room = -(-(rows + 1) // _REGISTER) * _REGISTER
            self._entered.append(weights.new_ones(members, count, room)[..., : rows + 1])
        self._raw = [weights.new_empty(members, count, columns) for _, columns in sizes]
        self._bent = [torch.empty_like(raw) for raw in self._raw[:-1]]
        self._down = [weights.new_empty(members, count, rows) for rows, _ in sizes]
        self.entry = self._entered[0][..., :-1]
        beside = sizes[-1][0] - self._hidden[-1] if self._hidden else 0
        self._beside = self._entered[-1][..., -1 - beside : -1] if beside else None

    def forward(self) -> Tensor:
        """Return the output of the net for what is in ``entry``: [M, N, out]."""
        if self._beside is not None:
            self._beside.copy_(self.entry)
        for i, width in enumerate(self._hidden):
            torch.bmm(self._entered[i], self._layers[i], out=self._raw[i])
            torch.ops.aten.silu.out(self._raw[i], out=self._entered[i + 1][..., :width])
        return torch.bmm(self._entered[-1], self._layers[-1], out=self._raw[-1])

    def backward(self, slope: Tensor, *, to_entry: bool = True) -> Tensor:
        """Take the derivative by the output [M, N, out] back, and write that by the weights.

        Return that by the entry: [M, N, in], of no meaning without ``to_entry``.
        """
        beside: Tensor | None = None
        for i in reversed(range(len(self._layers))):
            torch.bmm(self._entered[i].mT, slope, out=self._found[i])
            if i == 0 and not to_entry:
                break
            down = torch.bmm(slope, self._layers[i][:, :-1].mT, out=self._down[i])
            if i == 0:
                return down if beside is None else down.add_(beside)
            width = self._hidden[i - 1]
            if self._beside is not None and i == len(self._hidden):
                beside = down[..., width:]
            slope = self._bent[i - 1]
            torch.ops.aten.silu_backward.grad_input(
                down[..., :width], self._raw[i - 1], grad_input=slope
            )
        return self.entry
