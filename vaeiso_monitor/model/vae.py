"""Encoder and decoder, several members side by side: each layer is one ``baddbmm`` over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model.distortion import Distortion, SquaredError
from vaeiso_monitor.model.distortions import distortion_of
from vaeiso_monitor.model.prior import Mixture, Prior, StandardNormal
from vaeiso_monitor.model.shape import Shape

MIDDLE, HALF = -7.0, 14.0  # log-variances lie within -21 and 7
FIRST_LOG_VARIANCE = -3.0

Layer = tuple[Tensor, Tensor]  # weight [M, in, out], bias [M, 1, out]


class VAE:
    """A beta-VAE of M members that differ in beta and weights.

    ``weights`` is one tensor [M, P] that holds every layer and the prior of every member, so that
    an optimizer step, an average or a snapshot is a single operation; the layers are views into it.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Tensor,
        betas: Sequence[float],
        distortion: Distortion | None = None,
    ) -> None:
        self.shape = shape
        self.weights = weights
        self.betas = tuple(float(beta) for beta in betas)
        self.beta = torch.tensor(self.betas, dtype=weights.dtype, device=weights.device)  # [M]
        self.distortion: Distortion = distortion or SquaredError()
        parts = named_parts(shape, weights)
        self.prior = prior_of(shape, parts)
        self.encoder, self.decoder = _layers(shape, parts)

    @property
    def width(self) -> int:
        """Number of values m of a record."""
        return self.shape.width

    @property
    def latent_dim(self) -> int:
        """Number of latents n."""
        return self.shape.latent_dim

    @property
    def members(self) -> int:
        """Number of members M."""
        return len(self.betas)

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
        return self.weights.device

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance [M, N, n] of records [N, m], the same for each member."""
        h = run(self.encoder, x.expand(self.members, *x.shape))
        mean, raw = torch.chunk(h, 2, dim=-1)
        return mean, bounded(raw)

    def decode(self, z: Tensor) -> Tensor:
        """Return records [M, N, m] of latents [M, N, n]."""
        return self.distortion.link(run(self.decoder, z))

    def with_weights(self, weights: Tensor, betas: Sequence[float]) -> VAE:
        """Return the same model with other weights [M', P], of members with these betas."""
        return VAE(self.shape, weights, betas, self.distortion)

    def member(self, index: int) -> VAE:
        """Return the member ``index`` alone, its weights copied."""
        return self.with_weights(self.weights[index : index + 1].clone(), [self.betas[index]])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> VAE:
        """Return the same model on ``device``, in ``dtype`` if given."""
        weights = self.weights.detach().to(device=device, dtype=dtype or self.weights.dtype)
        return self.with_weights(weights, self.betas)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the sizes and betas (JSON-able), and each layer as a numpy array [M, in, out]."""
        meta = {
            "width": self.shape.width,
            "latent_dim": self.shape.latent_dim,
            "hidden": list(self.shape.hidden),
            "betas": list(self.betas),
            "distortion": self.distortion.state(),
            "prior": self.prior.name,
        }
        if self.shape.modes:
            meta["modes"] = self.shape.modes
        if self.shape.linear_path:
            meta["linear_path"] = True
        parts = named_parts(self.shape, self.weights.detach().cpu())
        return meta, {name: np.ascontiguousarray(part.numpy()) for name, part in parts.items()}

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> VAE:
        """Return the model of a :meth:`state`; BundleError if it does not fit together."""
        shape, betas, distortion = _description(meta)
        flat = [_array(arrays, name, (len(betas), *size)) for name, size in shape.arrays().items()]
        weights = torch.from_numpy(np.concatenate(flat, axis=1))
        return cls(shape, weights, betas, distortion)


def run(layers: Sequence[Layer], inputs: Tensor) -> Tensor:
    """Return the output of a net for inputs [M, N, in]: SiLU between its layers.

    Where the last layer has room for it, ``inputs`` enter it beside the last hidden layer.
    """
    h = inputs
    for weight, bias in layers[:-1]:
        h = functional.silu(torch.baddbmm(bias, h, weight))
    weight, bias = layers[-1]
    if h.shape[-1] < weight.shape[-2]:
        h = torch.cat([h, inputs], dim=-1)
    return torch.baddbmm(bias, h, weight)


def bounded(raw: Tensor) -> Tensor:
    """Return the log-variance for the encoder's raw output: smooth, and within its bounds.

    Near the middle it is the identity; the bounds keep exp() and 1/sigma finite in float32.
    u / sqrt(1 + u^2) does what tanh(u) would, at a tenth of its cost.
    """
    scaled = (raw - MIDDLE) / HALF
    middle = raw.new_tensor(MIDDLE)
    return torch.addcmul(middle, scaled, torch.rsqrt(1 + scaled * scaled), value=HALF)


def bounded_slope(raw: Tensor) -> Tensor:
    """Return the derivative of :func:`bounded`: (1 + u^2)^(-3/2)."""
    scaled = (raw - MIDDLE) / HALF
    return torch.rsqrt(1 + scaled * scaled).pow_(3)


def unbounded(log_variance: float) -> float:
    """Return the raw output of the encoder for which :func:`bounded` is ``log_variance``."""
    scaled = (log_variance - MIDDLE) / HALF
    return HALF * scaled / math.sqrt(1 - scaled**2) + MIDDLE


def initial(
    shape: Shape, betas: Sequence[float], seed: int, distortion: Distortion | None = None
) -> VAE:
    """Return untrained members that start from the same weights and differ in beta alone."""
    generator = torch.Generator().manual_seed(seed)
    pieces: list[Tensor] = []
    for name, (rows, columns) in shape.arrays().items():
        if name == "prior.means" and shape.modes > 1:
            pieces.append(torch.randn(rows, columns, generator=generator))
        elif name.endswith("weight"):
            # E[silu(u)^2] = 0.36 for u ~ N(0, 1): the layers after the first make up for it
            gain = 1.0 if ".0." in name else 1.676
            beside = shape.beside(name)
            hidden = torch.randn(rows - beside, columns, generator=generator)
            hidden *= gain / (rows - beside) ** 0.5
            pieces.append(torch.cat([hidden, torch.zeros(beside, columns)]))
        else:
            pieces.append(torch.zeros(rows, columns))
    _start_narrow(shape, pieces)
    flat = torch.cat([piece.reshape(-1) for piece in pieces])
    return VAE(shape, flat.repeat(len(betas), 1), betas, distortion)


def _start_narrow(shape: Shape, pieces: list[Tensor]) -> None:
    # a posterior as wide as the prior from the first step drowns the signal, and latents die
    head = 2 * (len(shape.encoder()) - 1)
    pieces[head][:, shape.latent_dim :] *= 0.1
    pieces[head + 1][:, shape.latent_dim :] = unbounded(FIRST_LOG_VARIANCE)


def named_parts(shape: Shape, weights: Tensor) -> dict[str, Tensor]:
    """Return views of all that is learned [M, P] by name: [M, rows, columns] each."""
    named = shape.arrays()
    pieces = torch.split(weights, [rows * columns for rows, columns in named.values()], dim=1)
    return {
        name: piece.view(-1, rows, columns)
        for (name, (rows, columns)), piece in zip(named.items(), pieces, strict=True)
    }


def _layers(shape: Shape, parts: dict[str, Tensor]) -> tuple[list[Layer], list[Layer]]:
    tensors = [part for name, part in parts.items() if name not in shape.prior_arrays()]
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))
    depth = len(shape.encoder())
    return layers[:depth], layers[depth:]


def prior_of(shape: Shape, parts: dict[str, Tensor]) -> Prior:
    """Return the prior of all that is learned, by name: views, so that it is of the moment."""
    if not shape.modes:
        return StandardNormal()
    return Mixture(*(parts[name] for name in shape.prior_arrays()))


def _description(meta: dict[str, Any]) -> tuple[Shape, list[float], Distortion]:
    try:
        hidden = tuple(int(size) for size in meta["hidden"])
        modes = int(meta["modes"]) if meta["prior"] == Mixture.name else 0
        beside = meta.get("linear_path", False) is True
        shape = Shape(int(meta["width"]), int(meta["latent_dim"]), hidden, modes, beside)
        betas = [float(beta) for beta in meta["betas"]]
        distortion = distortion_of(meta.get("distortion"))
        known = meta["prior"] == (Mixture.name if modes else StandardNormal.name) and modes >= 0
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the model's description is damaged: {error!r}"
        raise BundleError(msg) from error
    sizes = (shape.width, shape.latent_dim, len(betas), *shape.hidden)
    if not known or min(sizes) < 1 or not all(0 < beta < float("inf") for beta in betas):
        msg = f"the model's description is not one that this version can read: {meta}"
        raise BundleError(msg)
    return shape, betas, distortion


def _array(
    arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype.kind != "f":
        found = "is missing" if array is None else f"is {array.dtype} {array.shape}"
        msg = f'the model\'s array "{name}" {found}, and should be float32 {shape}'
        raise BundleError(msg)
    if not np.isfinite(array).all():
        msg = f'the model\'s array "{name}" holds values that are not finite'
        raise BundleError(msg)
    return array.reshape(shape[0], -1).astype(np.float32)
