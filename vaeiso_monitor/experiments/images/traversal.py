"""Figure 6: what the decoder draws while one latent goes from -2 to 2 and the others stay at 0."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.experiments.images.measurement import ImageLatent
from vaeiso_monitor.experiments.images.network import ConvolutionalVae

Group = Literal["large", "medium", "small"]
POSITIONS = tuple(float(z) for z in np.linspace(-2, 2, 9))


@dataclass(frozen=True, slots=True)
class Traversal:
    """The images [9, m] along one latent; ``change`` is the root mean square over pixels between
    both ends, of values within 0 and 1.
    """

    group: Group
    latent: int
    precision: float
    change: float
    images: NDArray[np.uint8]

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-able: the images as compressed bytes in base64."""
        packed = base64.b64encode(zlib.compress(self.images.tobytes())).decode("ascii")
        return {
            "group": self.group,
            "latent": self.latent,
            "precision": self.precision,
            "change": self.change,
            "images": packed,
        }

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Traversal:
        """Return the traversal that :meth:`to_dict` wrote."""
        unpacked = zlib.decompress(base64.b64decode(table["images"]))
        images = np.frombuffer(unpacked, dtype=np.uint8).reshape(len(POSITIONS), -1)
        return cls(**{**table, "images": images})


def traversals(model: ConvolutionalVae, latents: Sequence[ImageLatent]) -> list[Traversal]:
    """Return the traversals of the latents that :func:`groups` chooses."""
    exact, found = model.exact(), []
    for group, latent in groups(latents):
        z = torch.zeros(len(POSITIONS), exact.shape.latent_dim, dtype=torch.float64)
        z[:, latent.place] = torch.tensor(POSITIONS, dtype=torch.float64)
        with torch.no_grad():
            images = exact.decode(z).numpy()
        change = float(np.sqrt(np.mean((images[-1] - images[0]) ** 2)))
        pixels = np.rint(255 * images).astype(np.uint8)
        found.append(Traversal(group, latent.latent, latent.precision, change, pixels))
    return found


def groups(latents: Sequence[ImageLatent]) -> list[tuple[Group, ImageLatent]]:
    """Return latents of large, medium and small importance, of a table in falling order.

    The first three at most are large and the last two that mean something medium; the last of the
    table is small, if it means nothing.
    """
    used = [latent for latent in latents if latent.meaningful]
    large = used[: min(3, -(-len(used) // 2))]
    medium = used[len(large) :][-2:]
    small = [] if latents[-1].meaningful else [latents[-1]]
    return [
        *(("large", latent) for latent in large),
        *(("medium", latent) for latent in medium),
        *(("small", latent) for latent in small),
    ]
