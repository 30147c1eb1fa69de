"""One member's nets laid out for scoring: no autograd, no member axis, activations in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.model.vae import Layer


class Network:
    """A stack of layers with SiLU between them; ``run`` maps [B, in] to [B, out]."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = [(weight[0].contiguous(), bias[0, 0].contiguous()) for weight, bias in layers]
        self._linears = [Linear(weight, bias) for weight, bias in self.layers]
        self._beside = has_linear_path(self.layers)

    def hidden(self, inputs: Tensor) -> Tensor:
        """Return what enters the last layer: [B, hidden], with the linear path [B, hidden + in]."""
        h = self._last_hidden(inputs)
        return torch.cat([h, inputs], dim=-1) if self._beside else h

    def last(self, h: Tensor) -> Tensor:
        """Return the output of the last layer for what :meth:`hidden` returned."""
        return self._linears[-1](h)

    def run(self, h: Tensor) -> Tensor:
        """Return the output of the net."""
        return self.last(self.hidden(h))

    def steps(self, z: Tensor, scale: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return what enters the last layer at ``z`` [B, h], and the steps from there [S, B, h].

        Step s leads to ``z`` + ``scale`` * draw s. ``draws`` is [1 + S, 1, n], the first of them 0.
        """
        h = self._last_hidden(torch.addcmul(z, scale, draws))
        if not self._beside:
            return h[0], h[1:].sub_(h[0])
        width, latents = h.shape[-1], z.shape[-1]
        steps = h.new_empty(len(draws) - 1, len(z), width + latents)
        along_hidden, beside = steps.split_with_sizes([width, latents], dim=-1)
        torch.sub(h[1:], h[0], out=along_hidden)
        torch.mul(scale, draws[1:], out=beside)
        return torch.cat([h[0], z], dim=-1), steps

    def tangents(self, z: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return what enters the last layer [B, h], and its derivatives [n, B, h].

        Forward mode, written out: derivative j is along latent j, times ``scale`` [B, n].
        """
        h, slopes = z, torch.diag_embed(scale).movedim(-2, 0)
        for weight, bias in self.layers[:-1]:
            h = torch.addmm(bias, h, weight)
            gate = h.sigmoid()
            slope = torch.addcmul(gate, h * gate, 1 - gate)  # of SiLU: s + a s (1 - s)
            slopes = torch.matmul(slopes, weight).mul_(slope)
            h = h.mul_(gate)
        if self._beside:
            start = torch.diag_embed(scale).movedim(-2, 0)
            return torch.cat([h, z], dim=-1), torch.cat([slopes, start], dim=-1)
        return h, slopes

    def _last_hidden(self, h: Tensor) -> Tensor:
        for linear in self._linears[:-1]:
            h = linear.silu(h)
        return h


def has_linear_path(layers: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Return whether the last layer has room for what entered the net beside its hidden layer."""
    return len(layers) > 1 and layers[-1][0].shape[0] > layers[-2][0].shape[1]


class Linear:
    """h W + b for h [..., in], by whatever is fastest where the weights are.

    On the CPU in float32 that is oneDNN's linear layer, with the weights packed for it beforehand:
    it takes half the time of BLAS on many processors. The activation is a pass of its own, which
    torch does faster than oneDNN does it inside the layer.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight, self._bias = weight.t().contiguous(), bias
        self._packed = _packed_linear(self._weight, bias)

    def __call__(self, h: Tensor) -> Tensor:
        """Return h W + b: [..., out]."""
        if self._packed is not None:
            return self._packed(h)
        return functional.linear(h, self._weight, self._bias)

    def silu(self, h: Tensor) -> Tensor:
        """Return SiLU(h W + b): [..., out]."""
        return functional.silu(self(h), inplace=True)


def _packed_linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor] | None:
    """Return oneDNN's linear layer for a weight [out, in], if torch has one that computes right.

    Both operations are torch's own for compiled models, and not promised to stay: what they say of
    a few rows is held against the public one.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        fused = torch.ops.mkldnn._linear_pointwise

        def linear(h: Tensor) -> Tensor:
            found: Tensor = fused(h, packed, bias, "none", [], "")
            return found

        return linear if _computes_right(linear, weight, bias) else None
    except (AttributeError, RuntimeError, TypeError):
        return None


def _computes_right(
    linear: Callable[[Tensor], Tensor], weight: Tensor, bias: Tensor | None
) -> bool:
    columns = weight.shape[1]
    few = torch.linspace(-1, 1, 3 * columns).view(3, columns)
    with torch.inference_mode():
        off = linear(few) - functional.linear(few, weight, bias)
        size = functional.linear(few.abs(), weight.abs(), None if bias is None else bias.abs())
    return bool((off.abs() <= 1e-5 * size + 1e-30).all())
