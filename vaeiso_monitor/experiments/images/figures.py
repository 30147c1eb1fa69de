"""The pictures of the image experiment: Figures 4 and 5 as scree plots, Figure 6 as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from vaeiso_monitor.experiments.images.run import ImagesRun
from vaeiso_monitor.experiments.images.traversal import POSITIONS, Traversal
from vaeiso_monitor.experiments.pictures import scree_of_latents

_GAP = 3  # pixels between images of 32
_NAMES = {"plain": "Figure 4: plain loss", "decomposed": "Figure 5: decomposed loss"}


def scree_of_run(run: ImagesRun) -> Figure:
    """Draw Figure 4 or 5: importance and norm of each latent of one run."""
    words = f"norm {run.norm_mean:.2f} (SD {run.norm_sd:.2f}) over {run.meaningful} latents"
    title = f"{_NAMES[run.loss]}, {words}"
    return scree_of_latents([asdict(latent) for latent in run.latents], title)


def rows_of_traversals(rows: Sequence[Traversal], channels: int, size: int) -> Figure:
    """Draw Figure 6: one row of images for each latent, from -2 to 2."""
    across, step = len(POSITIONS), size + _GAP * size // 32
    mosaic = np.full((len(rows) * step, across * step, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row.images):
            picture = image.reshape(channels, size, size).transpose(1, 2, 0)
            mosaic[i * step : i * step + size, j * step : j * step + size] = picture
    figure = Figure(figsize=(1.05 * across + 2.4, 1.1 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mosaic)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
    places = np.arange(max(across, len(rows))) * step + size / 2
    axes.set_xticks(places[:across], [f"{position:+.1f}" for position in POSITIONS])
    words = [f"{r.group}: z{r.latent}\nE[1/sigma²] {r.precision:.1f}" for r in rows]
    words = [f"{text}\nchange {r.change:.3f}" for text, r in zip(words, rows, strict=True)]
    axes.set_yticks(places[: len(rows)], words, fontsize=9)
    return figure
