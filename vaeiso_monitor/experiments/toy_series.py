"""The toy experiment over losses and seeds: resumed, judged against targets, written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaeiso_monitor.experiments.paper import PUBLISHED, LossName
from vaeiso_monitor.experiments.records import store, stored, write_json
from vaeiso_monitor.experiments.toy import ESTIMATES, Points, ToyConfig, ToyRun, run_toy
from vaeiso_monitor.experiments.toy_data import VARIANCES
from vaeiso_monitor.model import Progress

LOSSES: tuple[LossName, ...] = ("squared-error", "downward-convex")
_VERSION = 1  # of what a run measures: raised, it makes stored runs void


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that a run should reach."""

    what: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class ToyResult:
    """One run, the points of its scatter plots, and what it should have reached."""

    run: ToyRun
    points: Points
    targets: list[Target]


def run_series(
    seeds: Sequence[int],
    folder: Path,
    config: ToyConfig,
    *,
    device: str = "auto",
    progress: Callable[[str, Progress], None] | None = None,
) -> list[ToyResult]:
    """Run every loss with every seed, except what ``folder`` holds already, and write toy.json."""
    results = []
    for loss in LOSSES:
        for seed in seeds:
            tell = partial(progress, f"{loss}, seed {seed}") if progress is not None else None
            results.append(_one(loss, seed, folder, config, device, tell))
    write_json(folder / "toy.json", _document(results))
    return results


def targets(run: ToyRun) -> Iterator[Target]:
    """Yield what the theory and the paper's tables let expect of a run."""
    for name, latent in zip(("z1", "z2", "z3"), run.latents, strict=True):
        good = 0.90 <= latent.norm_mean <= 1.05 and latent.norm_sd <= 0.17
        found = f"{latent.norm_mean:.3f} (SD {latent.norm_sd:.3f})"
        yield Target(f"norm of {name}", "0.90..1.05 (SD at most 0.17)", found, good)
    rows = zip(("z1", "z2", "z3"), run.latents, VARIANCES, strict=True)
    for name, latent, variance in rows:
        off = latent.importance / variance - 1
        found = f"{latent.importance:.4f} ({off:+.1%})"
        yield Target(
            f"(beta/2) E[sigma^-2] of {name}", f"{variance:.4f} within 10 %", found, abs(off) <= 0.1
        )
    if run.loss == "squared-error":
        for latent, ratio in zip(run.latents[1:], (4, 16), strict=True):
            good, found = abs(latent.ratio / ratio - 1) <= 0.1, f"{latent.ratio:.2f}"
            yield Target(
                f"ratio of E[sigma^-2] to that of z1, {ratio}", f"{ratio} within 10 %", found, good
            )
    yield from _correlation_targets(run)


def _correlation_targets(run: ToyRun) -> Iterator[Target]:
    found = run.correlations
    if run.loss == "squared-error":
        r = found["objective"]
        yield Target("R of exp(-Lx/beta)", "at least 0.90", f"{r:.3f}", r >= 0.90)
        return
    for name in ("corrected_prior", "corrected_objective"):
        r = found[name]
        yield Target(f"R, {LABELS[name]}", "at least 0.91", f"{r:.3f}", r >= 0.91)
    least = min(found["corrected_prior"], found["corrected_objective"])
    for name in ("prior", "objective"):
        r = found[name]
        yield Target(f"R, {LABELS[name]}", "below the corrected ones", f"{r:.3f}", r < least)


LABELS = {
    "prior": "p(mu)",
    "objective": "exp(-Lx/beta)",
    "corrected_prior": "a^(3/2) p(mu) prod sigma",
    "corrected_objective": "a^(3/2) exp(-Lx/beta)",
}


def _one(
    loss: LossName,
    seed: int,
    folder: Path,
    config: ToyConfig,
    device: str,
    progress: Callable[[Progress], None] | None,
) -> ToyResult:
    path = folder / f"toy-{loss}-{seed}.json"
    settings = {"version": _VERSION, "loss": loss, "seed": seed, **asdict(config)}
    kept = stored(path, settings)
    if kept is None:
        run, points = run_toy(loss, seed, config, device=device, progress=progress)
        rows = {name: row.tolist() for name, row in zip(("true", *ESTIMATES), points, strict=True)}
        kept = {"figures": asdict(run), "points": rows}
        store(path, settings, kept)
    run = ToyRun.from_dict(kept["figures"])
    points = np.array([kept["points"][name] for name in ("true", *ESTIMATES)])
    return ToyResult(run, points, list(targets(run)))


def _document(results: list[ToyResult]) -> dict[str, Any]:
    return {
        "published": {loss: asdict(published) for loss, published in PUBLISHED.items()},
        "shapes": "s1 logistic, s2 gamma of order 8, s3 two normals at +-1.35 of their SD",
        "runs": [
            {**asdict(result.run), "targets": [asdict(target) for target in result.targets]}
            for result in results
        ],
        "met": all(target.met for result in results for target in result.targets),
    }
