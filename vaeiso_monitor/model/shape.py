"""What is trained: the configuration of the model, and the sizes of its nets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

LATENT_CAP = 16


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is trained: the trade-off beta (a number, or the best of ``betas``) and the nets.

    ``distortion``: "mixed-columns" judges categories and truths by cross-entropy instead of by
    squared error; which columns these are, the encoder says.
    """

    beta: float | Literal["auto"] = "auto"
    betas: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    latent_dim: int | Literal["auto"] = "auto"
    hidden: tuple[int, ...] = (64, 64)
    objective: Literal["decomposed", "plain"] = "decomposed"
    distortion: Literal["squared-error", "mixed-columns"] = "squared-error"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, naming the key."""
        if not self.betas or not all(0 < beta < float("inf") for beta in self.betas):
            msg = f"betas must be positive numbers, at least one: {self.betas}"
            raise ValueError(msg)
        if self.beta != "auto" and not 0 < self.beta < float("inf"):
            msg = f'beta must be a positive number or "auto", not {self.beta!r}'
            raise ValueError(msg)
        if self.latent_dim != "auto" and self.latent_dim < 1:
            msg = f'latent_dim must be at least 1 or "auto", not {self.latent_dim!r}'
            raise ValueError(msg)
        if any(size < 1 for size in self.hidden):
            msg = f"hidden must hold sizes of at least 1: {self.hidden}"
            raise ValueError(msg)
        if self.objective not in {"decomposed", "plain"}:
            msg = f'objective must be "decomposed" or "plain", not {self.objective!r}'
            raise ValueError(msg)
        if self.distortion not in {"squared-error", "mixed-columns"}:
            msg = f'distortion must be "squared-error" or "mixed-columns", not {self.distortion!r}'
            raise ValueError(msg)

    def member_betas(self) -> tuple[float, ...]:
        """Return the beta of each member to be trained."""
        return self.betas if self.beta == "auto" else (float(self.beta),)

    def shape(self, width: int) -> Shape:
        """Return the sizes of the nets for records of ``width`` values."""
        latent_dim = min(width, LATENT_CAP) if self.latent_dim == "auto" else self.latent_dim
        return Shape(width, latent_dim, self.hidden)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the nets: m values per record, n latents, and the hidden layers of the encoder.

    The decoder has the same hidden layers in reverse; with none of them the model is linear.
    """

    width: int
    latent_dim: int
    hidden: tuple[int, ...]

    def encoder(self) -> list[tuple[int, int]]:
        """Return (in, out) of each layer of the encoder, whose output is mean and log-variance."""
        return list(pairwise((self.width, *self.hidden, 2 * self.latent_dim)))

    def decoder(self) -> list[tuple[int, int]]:
        """Return (in, out) of each layer of the decoder."""
        return list(pairwise((self.latent_dim, *reversed(self.hidden), self.width)))

    def arrays(self) -> dict[str, tuple[int, int]]:
        """Return the name and shape of every weight and bias, in the order they are stored."""
        named: dict[str, tuple[int, int]] = {}
        for net, layers in (("encoder", self.encoder()), ("decoder", self.decoder())):
            for i, (rows, columns) in enumerate(layers):
                named[f"{net}.{i}.weight"] = (rows, columns)
                named[f"{net}.{i}.bias"] = (1, columns)
        return named

    def size(self) -> int:
        """Return the number of weights of one member."""
        return sum(rows * columns for rows, columns in self.arrays().values())
