"""The pictures of the image experiment: Figures 4 and 5 as scree plots, Figure 6 as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from vaeiso_monitor.experiments.images.run import ImagesRun
from vaeiso_monitor.experiments.images.traversal import POSITIONS, Traversal
from vaeiso_monitor.experiments.pictures import scree_of_latents

_NAMES = {"plain": "Figure 4: plain loss", "decomposed": "Figure 5: decomposed loss"}


def scree_of_run(run: ImagesRun) -> Figure:
    """Draw Figure 4 or 5: importance and norm of each latent of one run."""
    words = f"norm {run.norm_mean:.2f} (SD {run.norm_sd:.2f}) over {run.meaningful} latents"
    title = f"{_NAMES[run.loss]}, {words}"
    return scree_of_latents([asdict(latent) for latent in run.latents], title)


def rows_of_traversals(rows: Sequence[Traversal], channels: int, size: int) -> Figure:
    """Draw Figure 6: one row of images for each latent, from -2 to 2."""
    across = len(POSITIONS)
    figure = Figure(figsize=(1.05 * across + 2.4, 1.1 * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), across, squeeze=False)
    for axes_row, row in zip(panels, rows, strict=True):
        for axes, image in zip(axes_row, row.images, strict=True):
            picture = image.reshape(channels, size, size).transpose(1, 2, 0)
            axes.imshow(np.broadcast_to(picture, (size, size, 3)))
            axes.set_xticks([])
            axes.set_yticks([])
        axes_row[0].set_ylabel(
            f"{row.group}: z{row.latent}\nE[1/sigma²] {row.precision:.1f}\nchange {row.change:.3f}",
            rotation=0,
            ha="right",
            va="center",
            fontsize=9,
        )
    for axes, position in zip(panels[0], POSITIONS, strict=True):
        axes.set_title(f"{position:+.1f}", fontsize=9)
    return figure
