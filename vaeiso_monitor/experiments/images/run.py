"""One run of the image experiment: one loss and one seed, trained, measured and traversed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaeiso_monitor.experiments.images.generated import metric_variances
from vaeiso_monitor.experiments.images.measurement import ImageLatent, Measurement, measure
from vaeiso_monitor.experiments.images.network import ImageShape
from vaeiso_monitor.experiments.images.pixels import ImageSet
from vaeiso_monitor.experiments.images.training import (
    ImagesConfig,
    LossName,
    distortion_of,
    train,
)
from vaeiso_monitor.experiments.images.traversal import Traversal, traversals
from vaeiso_monitor.model import Progress
from vaeiso_monitor.model.distortion import Distortion

_ONE_THREAD_VALUES = 64 * 32 * 32
_MEASURED = 256  # images, held out of the training, that norms are taken over


@dataclass(frozen=True, slots=True)
class ImagesRun:
    """What one loss and one seed gave; JSON-able through :meth:`to_dict`.

    ``norm_mean`` and ``norm_sd`` are over the meaningful latents' own means, as the paper has
    them. Of a set whose factors are known, ``factor_correlations`` [n][F] are those of mu_j with
    each factor, and ``expected_importances`` what the clean images' metric lets expect.
    """

    loss: LossName
    seed: int
    latents: list[ImageLatent]
    meaningful: int
    norm_mean: float
    norm_sd: float
    transform_loss: float
    coding_loss: float
    factor_correlations: list[list[float]]
    expected_importances: list[float]
    traversals: list[Traversal]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain dicts, lists, numbers and text."""
        table = {name: getattr(self, name) for name in self.__dataclass_fields__}
        table["latents"] = [asdict(latent) for latent in self.latents]
        table["traversals"] = [traversal.to_dict() for traversal in self.traversals]
        return table

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> ImagesRun:
        """Return the run that :meth:`to_dict` wrote."""
        latents = [ImageLatent(**row) for row in table["latents"]]
        rows = [Traversal.from_dict(row) for row in table["traversals"]]
        return cls(**{**table, "latents": latents, "traversals": rows})


def run_images(
    images: ImageSet,
    config: ImagesConfig,
    loss: LossName,
    seed: int,
    *,
    device: torch.device,
    progress: Callable[[Progress], None] | None = None,
) -> ImagesRun:
    """Train on all images but those held out by the seed, and measure on these."""
    begun = time.monotonic()
    order = np.random.default_rng(seed).permutation(len(images.x))
    held_out, rows = np.split(order, [min(_MEASURED, len(order) // 5)])
    shape = ImageShape(images.channels, images.size, config.latent_dim, config.filters)
    distortion = distortion_of(config.distortion, images.channels, images.size)
    with _threads_for(config.batch_size * shape.width):
        model = train(
            images.x[rows], shape, config, loss, seed=seed, device=device, progress=progress
        )
        found = measure(model, distortion, images.x[held_out], config.beta)
    factors = None if images.factors is None else images.factors[held_out]
    norms = [latent.norm_mean for latent in found.latents if latent.meaningful]
    return ImagesRun(
        loss=loss,
        seed=seed,
        latents=found.latents,
        meaningful=len(norms),
        norm_mean=float(np.mean(norms)) if norms else 0.0,
        norm_sd=float(np.std(norms)) if norms else 0.0,
        transform_loss=found.transform_loss,
        coding_loss=found.coding_loss,
        factor_correlations=[] if factors is None else _correlations(found, factors),
        expected_importances=_expected(images.size, distortion, factors),
        traversals=traversals(model, found.latents),
        seconds=time.monotonic() - begun,
    )


@contextmanager
def _threads_for(values: int) -> Iterator[None]:
    """Give a batch of ``values`` the threads that it can use: a second one slows small nets."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if values <= _ONE_THREAD_VALUES else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _expected(
    size: int, distortion: Distortion, factors: NDArray[np.float64] | None
) -> list[float]:
    if factors is None:
        return []
    return [float(variance) for variance in metric_variances(factors, size, distortion)]


def _correlations(found: Measurement, factors: NDArray[np.float64]) -> list[list[float]]:
    n = found.means.shape[1]
    together = np.asarray(np.corrcoef(np.hstack([found.means, factors]).T))
    rows: list[list[float]] = together[:n, n:].tolist()
    return rows
