"""What is trained: the configuration of the model, and the sizes of its nets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

LATENT_CAP = 16
RECORDS_PER_MODE = 10


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is trained: the trade-off beta (a number, or the best of ``betas``) and the nets.

    ``distortion``: "mixed-columns" judges categories and truths by cross-entropy and numbers by
    squared error, "squared-error" all of them; which columns are what, the encoder says.
    ``prior``: "normal" is N(0, I), the paper's; "mixture" learns operating modes, ``modes`` of them
    at most. ``linear_path`` gives both nets a linear path beside their hidden layers, which starts
    as probabilistic PCA.
    """

    beta: float | Literal["auto"] = "auto"
    betas: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    latent_dim: int | Literal["auto"] = "auto"
    hidden: tuple[int, ...] = (64, 64)
    objective: Literal["decomposed", "plain"] = "decomposed"
    distortion: Literal["squared-error", "mixed-columns"] = "mixed-columns"
    prior: Literal["normal", "mixture"] = "mixture"
    modes: int = 64
    linear_path: bool = True

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
        self._check_prior()

    def member_betas(self) -> tuple[float, ...]:
        """Return the beta of each member to be trained."""
        return self.betas if self.beta == "auto" else (float(self.beta),)

    def shape(self, width: int, records: int) -> Shape:
        """Return the sizes for ``records`` records of ``width`` values to fit.

        A mode needs some records of its own: there is one for every :data:`RECORDS_PER_MODE`.
        """
        latent_dim = min(width, LATENT_CAP) if self.latent_dim == "auto" else self.latent_dim
        modes = min(self.modes, max(1, records // RECORDS_PER_MODE))
        modes = modes if self.prior == "mixture" else 0
        return Shape(width, latent_dim, self.hidden, modes, self.linear_path)

    def _check_prior(self) -> None:
        if self.prior not in {"normal", "mixture"}:
            msg = f'prior must be "normal" or "mixture", not {self.prior!r}'
            raise ValueError(msg)
        if self.modes < 1:
            msg = f"modes must be at least 1, not {self.modes!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the nets: m values per record, n latents, and the hidden layers of the encoder.

    The decoder has the same hidden layers in reverse; with none of them the model is linear. The
    prior has ``modes`` modes, or is N(0, I) with 0 of them. With a ``linear_path`` the last layer
    of each net sees what entered the net beside the last hidden layer.
    """

    width: int
    latent_dim: int
    hidden: tuple[int, ...]
    modes: int = 0
    linear_path: bool = False

    def encoder(self) -> list[tuple[int, int]]:
        """Return (in, out) of each layer of the encoder, whose output is mean and log-variance."""
        return self._net(self.width, *self.hidden, 2 * self.latent_dim)

    def decoder(self) -> list[tuple[int, int]]:
        """Return (in, out) of each layer of the decoder."""
        return self._net(self.latent_dim, *reversed(self.hidden), self.width)

    def _net(self, *sizes: int) -> list[tuple[int, int]]:
        *body, (rows, columns) = pairwise(sizes)
        beside = sizes[0] if self.linear_path and body else 0
        return [*body, (rows + beside, columns)]

    def arrays(self) -> dict[str, tuple[int, int]]:
        """Return the name and shape of all that is learned, in the order it is stored."""
        named: dict[str, tuple[int, int]] = {}
        for net, layers in (("encoder", self.encoder()), ("decoder", self.decoder())):
            for i, (rows, columns) in enumerate(layers):
                named[f"{net}.{i}.weight"] = (rows, columns)
                named[f"{net}.{i}.bias"] = (1, columns)
        return named | self.prior_arrays()

    def beside(self, name: str) -> int:
        """Return how many rows of the array ``name`` belong to the linear path: the last ones."""
        last = len(self.hidden)
        if not self.linear_path or not last:
            return 0
        return {
            f"encoder.{last}.weight": self.width,
            f"decoder.{last}.weight": self.latent_dim,
        }.get(name, 0)

    def prior_arrays(self) -> dict[str, tuple[int, int]]:
        """Return the name and shape of what the prior learns: nothing without modes."""
        if not self.modes:
            return {}
        each = (self.modes, self.latent_dim)
        return {"prior.logits": (1, self.modes), "prior.means": each, "prior.scales": each}

    def size(self) -> int:
        """Return the number of weights of one member."""
        return sum(rows * columns for rows, columns in self.arrays().values())
