"""``reproduce images``: Figures 4 to 6, on a folder of images or on a generated set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vaeiso_monitor.cli.options import JsonOption
from vaeiso_monitor.cli.terminal import reporting
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vaeiso_monitor.experiments.images import ImagesConfig, ImageSet, ImagesResult
    from vaeiso_monitor.experiments.images.run import ImagesRun
    from vaeiso_monitor.model import Progress

_GENERATED_SEED = 0  # of the images; --seeds are those of the training

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Take the PNG and JPEG files below this folder instead."
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Run seeds 0 to this less one.")]
Count = Annotated[
    int | None,
    typer.Option("--images", min=100, help="Take this many images at most (8,000; 20,000 files)."),
]
Grey = Annotated[bool, typer.Option("--grey", help="Take the files as grey images.")]
Metric = Annotated[
    Literal["ssim", "squared-error"], typer.Option("--distortion", help="What D is.")
]
Beta = Annotated[
    float | None, typer.Option("--beta", help="Beta, for D as a sum over the values of an image.")
]
Latents = Annotated[int | None, typer.Option("--latents", min=1, help="Number of latents.")]
Steps = Annotated[
    int | None, typer.Option("--max-steps", min=1, help="Train for this many steps instead.")
]
Device = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda" or "cuda:N".')]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Where results go; finished runs there are kept."
    ),
]


def images(
    folder: Folder = None,
    seeds: Seeds = 1,
    output: Output = Path("reproduction"),
    count: Count = None,
    grey: Grey = False,
    distortion: Metric = "ssim",
    beta: Beta = None,
    latents: Latents = None,
    max_steps: Steps = None,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Reproduce Figures 4 to 6: is an image VAE isometric, and what does it learn?

    Exit code 1 where a run misses what the theory and the paper let expect.
    """
    from vaeiso_monitor.experiments.images import run_series, usual_config

    usual = usual_config(distortion, photographs=folder is not None)
    config = replace(
        _with_beta(usual, beta),
        latent_dim=latents or usual.latent_dim,
        max_steps=max_steps or usual.max_steps,
    )
    where = _known(device)
    with _told() as tell:
        taken = _images(folder, count, grey, lambda p: tell("reading images", p))
        results = run_series(taken, range(seeds), output, config, device=where, progress=tell)
    if as_json:
        print((output / "images.json").read_text(encoding="utf-8"), end="")
    else:
        _print(taken, results, output)
    if not all(target.met for result in results for target in result.targets):
        raise typer.Exit(1)


def _with_beta(config: ImagesConfig, beta: float | None) -> ImagesConfig:
    if beta is None:
        return config
    if not 0 < beta < float("inf"):
        msg = f"--beta must be positive, not {beta}"
        raise ConfigError(msg)
    return replace(config, beta=beta, first_beta=max(config.first_beta, beta))


def _images(
    folder: Path | None,
    count: int | None,
    grey: bool,
    tell: Callable[[Progress], None],
) -> ImageSet:
    from vaeiso_monitor.experiments.images import folder_set, generated_set
    from vaeiso_monitor.model import Progress

    if folder is None:
        return generated_set(count or 8000, 32, _GENERATED_SEED)
    return folder_set(
        folder,
        size=64,
        grey=grey,
        most=count or 20_000,
        seed=0,
        tell=lambda done, of: tell(Progress(done, of, None, 0.0)),
    )


@contextmanager
def _told() -> Iterator[Callable[[str, Progress], None]]:
    with reporting() as reporter:
        yield lambda name, progress: reporter.training(progress, name)


def _known(name: str) -> torch.device:
    from vaeiso_monitor.model import resolve_device

    try:
        return resolve_device(name)
    except ValueError as error:
        msg = f"--device: {error}"
        raise ConfigError(msg) from error


def _print(taken: ImageSet, results: Sequence[ImagesResult], output: Path) -> None:
    console = Console()
    print(f"{len(taken.x)} images of {taken.channels} x {taken.size} x {taken.size}: {taken.name}")
    if taken.left_out:
        print(f"left out, as they cannot be read: {taken.left_out} files")
    for result in results:
        console.print(_latent_table(result.run, taken.factor_names))
    console.print(_target_table(results))
    pictures = "images-plain.png, images-decomposed.png and images-traversal.png"
    print(f"written: {output / 'images.json'}, and {pictures} beside it")


def _latent_table(run: ImagesRun, factors: Sequence[str]) -> Table:
    known = bool(run.factor_correlations)
    more = ("expected", "follows") if known else ()
    table = Table("z", "KL, nats", "norm (SD)", "off-diag.", "importance", *more)
    table.title = f"{run.loss} loss, seed {run.seed}, {run.seconds:.0f} s"
    for i, row in enumerate(run.latents):
        cells = [f"z{row.latent}", f"{row.kl_nats:.2f}", f"{row.norm_mean:.3f} ({row.norm_sd:.3f})"]
        cells += [f"{row.orthogonality_error:.2f}", f"{row.importance:.1f}"]
        if known:
            cells += [_expected(run, i), _follows(run, i, factors)]
        table.add_row(*cells, style=None if row.meaningful else "dim")
    return table


def _expected(run: ImagesRun, i: int) -> str:
    expected = run.expected_importances
    return f"{expected[i]:.1f}" if i < len(expected) else ""


def _follows(run: ImagesRun, i: int, factors: Sequence[str]) -> str:
    if not run.latents[i].meaningful:
        return ""
    row = run.factor_correlations[i]
    named = sorted(zip(row, factors, strict=True), key=lambda pair: -abs(pair[0]))
    return ", ".join(f"{name} {r:+.2f}" for r, name in named if abs(r) >= 0.3)


def _target_table(results: Sequence[ImagesResult]) -> Table:
    from vaeiso_monitor.experiments.images import PUBLISHED

    table = Table("loss", "seed", "figure", "wanted", "found")
    for result in results:
        for target in result.targets:
            found = escape(target.found) if target.met else f"[bold red]{target.found} missed[/]"
            names = (result.run.loss, str(result.run.seed), target.what, target.wanted)
            table.add_row(*map(escape, names), found)
    published = (f"{loss} {mean} (SD {sd})" for loss, (mean, sd) in PUBLISHED.items())
    table.caption = f"norms in the paper, on CelebA: {', '.join(published)}"
    return table
