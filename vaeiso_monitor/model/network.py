"""One member's nets laid out for scoring: no autograd, no member axis, activations in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.model.vae import Layer


class Network:
    """A stack of layers with SiLU between them; ``run`` maps [B, in] to [B, out].

    On the CPU in float32 it uses oneDNN's linear layer with the activation fused in, which is twice
    as fast as BLAS on many processors; everywhere else addmm and an activation in place.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = [(weight[0].contiguous(), bias[0, 0].contiguous()) for weight, bias in layers]
        self._linears = [Linear(weight, bias) for weight, bias in self.layers]
        self._beside = _has_linear_path(self.layers)

    def hidden(self, inputs: Tensor) -> Tensor:
        """Return what enters the last layer: [B, hidden], with the linear path [B, hidden + in]."""
        h = inputs
        for linear in self._linears[:-1]:
            h = linear.silu(h)
        return torch.cat([h, inputs], dim=-1) if self._beside else h

    def last(self, h: Tensor) -> Tensor:
        """Return the output of the last layer for what :meth:`hidden` returned."""
        return self._linears[-1](h)

    def run(self, h: Tensor) -> Tensor:
        """Return the output of the net."""
        return self.last(self.hidden(h))

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


def _has_linear_path(layers: Sequence[tuple[Tensor, Tensor]]) -> bool:
    return len(layers) > 1 and layers[-1][0].shape[0] > layers[-2][0].shape[1]


class Linear:
    """h W + b for h [..., in], by whatever is fastest where the weights are."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight, self._bias = weight, bias
        self._transposed = weight.t().contiguous()
        self._fused = _fused_linear(weight)

    def __call__(self, h: Tensor) -> Tensor:
        """Return h W + b: [..., out]."""
        if self._fused is not None:
            return self._fused(h, self._transposed, self._bias, "none", [], "")
        return functional.linear(h, self._transposed, self._bias)

    def silu(self, h: Tensor) -> Tensor:
        """Return SiLU(h W + b): [..., out]."""
        if self._fused is not None:
            return self._fused(h, self._transposed, self._bias, "swish", [], "")
        return functional.silu(functional.linear(h, self._transposed, self._bias), inplace=True)


def _fused_linear(weight: Tensor) -> Callable[..., Tensor] | None:
    """Return oneDNN's fused linear layer, if this build of torch has one and it computes right."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    try:
        fused: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
        with torch.inference_mode():
            x, w, b = torch.ones(3, 2), torch.full((4, 2), 0.5), torch.arange(4.0)
            found = fused(x, w, b, "swish", [], "")
            right = functional.silu(functional.linear(x, w, b))
    except (AttributeError, RuntimeError, TypeError):
        return None
    return fused if torch.allclose(found, right, atol=1e-6) else None
