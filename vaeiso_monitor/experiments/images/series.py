"""The image experiment over losses and seeds: resumed, judged against targets, written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaeiso_monitor.experiments.images.figures import rows_of_traversals, scree_of_run
from vaeiso_monitor.experiments.images.pixels import ImageSet
from vaeiso_monitor.experiments.images.run import ImagesRun, run_images
from vaeiso_monitor.experiments.images.training import ImagesConfig, LossName
from vaeiso_monitor.experiments.pictures import save
from vaeiso_monitor.experiments.records import store, stored, write_json
from vaeiso_monitor.experiments.toy_series import Target
from vaeiso_monitor.model import Progress

LOSSES: tuple[LossName, ...] = ("plain", "decomposed")
# mean and SD of the meaningful latents' norms on CelebA: Figures 4 and 5
PUBLISHED: dict[LossName, tuple[float, float]] = {"plain": (1.83, 0.13), "decomposed": (0.92, 0.04)}
_VERSION = 1  # of what a run measures: raised, it makes stored runs void


@dataclass(frozen=True, slots=True)
class ImagesResult:
    """One run, and what it should have reached."""

    run: ImagesRun
    targets: list[Target]


def run_series(
    images: ImageSet,
    seeds: Sequence[int],
    folder: Path,
    config: ImagesConfig,
    *,
    device: torch.device,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[ImagesResult]:
    """Run both losses with every seed, except what ``folder`` holds already.

    Writes images.json, and the pictures of the first seed: images-plain.png (Figure 4),
    images-decomposed.png (Figure 5) and images-traversal.png (Figure 6, the decomposed loss).
    """
    digest, results = images.digest(), []
    for loss in LOSSES:
        for seed in seeds:
            tell = partial(progress, f"{loss}, seed {seed}") if progress is not None else None
            settings = {"version": _VERSION, "loss": loss, "seed": seed, "images": digest}
            path = folder / f"images-{loss}-{seed}.json"
            kept = stored(path, settings | asdict(config))
            if kept is None:
                run = run_images(images, config, loss, seed, device=device, progress=tell)
                kept = run.to_dict()
                store(path, settings | asdict(config), kept)
            run = ImagesRun.from_dict(kept)
            results.append(ImagesResult(run, list(targets(run))))
    write_json(folder / "images.json", _document(images, config, results))
    _draw(images, folder, results)
    return results


def targets(run: ImagesRun) -> Iterator[Target]:
    """Yield what the theory and the paper let expect of a run."""
    found = f"{run.norm_mean:.3f} (SD {run.norm_sd:.3f})"
    if run.loss == "plain":
        off = abs(run.norm_mean - 1) >= 0.25
        yield Target("norm over the meaningful latents", "off 1 by 0.25 or more", found, off)
        return
    near = abs(run.norm_mean - 0.92) <= 0.1
    yield Target("norm over the meaningful latents", "0.92 +- 0.1", found, near)
    large = [row.change for row in run.traversals if row.group == "large"]
    small = [row.change for row in run.traversals if row.group == "small"]
    if large and small:
        ratio = min(large) / max(*small, 1e-9)
        yield Target(
            "change along large latents over small", "5 or more", f"{ratio:.1f}", ratio >= 5
        )


def _document(
    images: ImageSet, config: ImagesConfig, results: list[ImagesResult]
) -> dict[str, Any]:
    runs = []
    for result in results:
        table = {**result.run.to_dict(), "targets": [asdict(target) for target in result.targets]}
        for row in table["traversals"]:
            del row["images"]  # those are in the run's own file and in the picture
        runs.append(table)
    return {
        "published": {loss: {"norm_mean": m, "norm_sd": s} for loss, (m, s) in PUBLISHED.items()},
        "images": {
            "name": images.name,
            "count": len(images.x),
            "channels": images.channels,
            "size": images.size,
            "left_out": images.left_out,
            "factors": list(images.factor_names),
        },
        "config": asdict(config),
        "runs": runs,
        "met": all(target.met for result in results for target in result.targets),
    }


def _draw(images: ImageSet, folder: Path, results: list[ImagesResult]) -> None:
    first = {result.run.loss: result.run for result in reversed(results)}
    for loss, run in first.items():
        save(scree_of_run(run), folder / f"images-{loss}.png")
    rows = first["decomposed"].traversals
    if rows:
        picture = rows_of_traversals(rows, images.channels, images.size)
        save(picture, folder / "images-traversal.png")
