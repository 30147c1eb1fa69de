"""``reproduce``: the paper's experiments from scratch, beside its published numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vaeiso_monitor.cli.options import JsonOption
from vaeiso_monitor.cli.reproduce_anomaly import anomaly
from vaeiso_monitor.cli.reproduce_images import images
from vaeiso_monitor.cli.terminal import reporting
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.experiments.rate_distortion import CurvePoint
    from vaeiso_monitor.experiments.toy_series import ToyResult
    from vaeiso_monitor.model import Progress

reproduce = typer.Typer(
    name="reproduce", help="Run the paper's experiments from scratch.", no_args_is_help=True
)
reproduce.command()(anomaly)
reproduce.command()(images)

Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Run seeds 0 to this less one.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The seed of data and training.")]
Steps = Annotated[
    int | None, typer.Option("--max-steps", min=1, help="Train for this many steps instead.")
]
Count = Annotated[
    int | None, typer.Option("--records", min=100, help="Draw this many records instead of 50,000.")
]
Device = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda" or "cuda:N".')]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Where results go; finished runs there are kept."
    ),
]


@reproduce.command()
def toy(
    seeds: Seeds = 3,
    output: Output = Path("reproduction"),
    max_steps: Steps = None,
    records: Count = None,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Reproduce Tables 1 and 2 and Figure 3: do norms, importances and densities come out right?

    Exit code 1 where a run misses what the theory and the paper let expect.
    """
    from vaeiso_monitor.experiments.pictures import save, scatter_of_probabilities
    from vaeiso_monitor.experiments.toy import ToyConfig
    from vaeiso_monitor.experiments.toy_series import LABELS, run_series

    usual = ToyConfig()
    config = replace(
        usual, max_steps=max_steps or usual.max_steps, records=records or usual.records
    )
    with _told() as tell:
        results = run_series(range(seeds), output, config, device=_known(device), progress=tell)
    save(scatter_of_probabilities(results, LABELS), output / "toy.png")
    if as_json:
        print((output / "toy.json").read_text(encoding="utf-8"), end="")
    else:
        _print_toy(results, output)
    if not all(target.met for result in results for target in result.targets):
        raise typer.Exit(1)


@reproduce.command("rate-distortion")
def rate_distortion(
    seed: Seed = 0,
    output: Output = Path("reproduction"),
    max_steps: Steps = None,
    records: Count = None,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure rate and distortion over a sweep of beta on Gaussian data, against PCA (Eq. 25).

    Exit code 1 where a point lies more than 3 % off the curve.
    """
    from vaeiso_monitor.experiments.pictures import curve_of_rates, save
    from vaeiso_monitor.experiments.rate_distortion import SweepConfig, sweep

    usual = SweepConfig()
    config = replace(
        usual, max_steps=max_steps or usual.max_steps, records=records or usual.records
    )
    with _told() as tell:
        points = sweep(
            output, config, seed, device=_known(device), progress=lambda p: tell("sweep", p)
        )
    save(curve_of_rates(points), output / "rate-distortion.png")
    if as_json:
        print((output / "rate-distortion.json").read_text(encoding="utf-8"), end="")
    else:
        Console().print(_curve_table(points))
        print(f"written: {output / 'rate-distortion.json'} and .png")
    if not all(point.met for point in points):
        raise typer.Exit(1)


@contextmanager
def _told() -> Iterator[Callable[[str, Progress], None]]:
    with reporting() as reporter:
        yield lambda name, progress: reporter.training(progress, name)


def _known(device: str) -> str:
    from vaeiso_monitor.model import resolve_device

    try:
        return str(resolve_device(device))
    except ValueError as error:
        msg = f"--device: {error}"
        raise ConfigError(msg) from error


def _print_toy(results: Sequence[ToyResult], output: Path) -> None:
    from vaeiso_monitor.experiments.toy_series import LOSSES

    console = Console()
    for loss in LOSSES:
        of_loss = [result for result in results if result.run.loss == loss]
        console.print(_latent_table(of_loss))
        console.print(_correlation_table(of_loss))
    console.print(_target_table(results))
    print(f"written: {output / 'toy.json'} and {output / 'toy.png'}")


def _latent_table(results: Sequence[ToyResult]) -> Table:
    from vaeiso_monitor.experiments.paper import PUBLISHED

    published = PUBLISHED[results[0].run.loss]
    table = Table("run", "z", "norm", "SD", "D'", "SD", "E[1/sigma²]", "ratio", "y and s")
    table.title = f"{published.table}: {results[0].run.loss}"
    least = published.latents[0].precision
    for j, row in enumerate(published.latents, start=1):
        figures = (row.norm_mean, row.norm_sd, row.slope_mean, row.slope_sd)
        texts = [f"{figure:.3f}" for figure in figures]
        ratio = f"{row.precision / least:.2f}"
        table.add_row("paper", f"z{j}", *texts, f"{row.precision:.1f}", ratio, "")
    for result in results:
        table.add_section()
        for j, latent in enumerate(result.run.latents, start=1):
            figures = (latent.norm_mean, latent.norm_sd, latent.slope_mean, latent.slope_sd)
            texts = [f"{figure:.3f}" for figure in figures]
            rest = (f"{latent.precision:.1f}", f"{latent.ratio:.2f}", f"{latent.source:.4f}")
            table.add_row(f"seed {result.run.seed}", f"z{j}", *texts, *rest)
    return table


def _correlation_table(results: Sequence[ToyResult]) -> Table:
    from vaeiso_monitor.experiments.paper import PUBLISHED
    from vaeiso_monitor.experiments.toy_series import LABELS

    published = PUBLISHED[results[0].run.loss]
    table = Table("R with p(x)", *LABELS.values(), "transform/coding", "seconds")
    known = [published.correlations.get(name) for name in LABELS]
    texts = ["" if r is None else f"{r:.3f}" for r in known]
    table.add_row("paper", *texts, f"{published.transform_coding_ratio:.3f}", "")
    for result in results:
        run = result.run
        texts = [f"{run.correlations[name]:.3f}" for name in LABELS]
        ratio = f"{run.transform_coding_ratio:.3f}"
        table.add_row(f"seed {run.seed}", *texts, ratio, f"{run.seconds:.0f}")
    return table


def _target_table(results: Sequence[ToyResult]) -> Table:
    table = Table("loss", "figure", "wanted", *(f"seed {seed}" for seed in _seeds(results)))
    rows: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        for target in result.targets:
            found = target.found if target.met else f"[bold red]{target.found} missed[/]"
            rows.setdefault((result.run.loss, target.what, target.wanted), []).append(found)
    for names, cells in rows.items():
        table.add_row(*map(escape, names), *cells)
    met = sum(target.met for result in results for target in result.targets)
    table.title = f"{met} of {sum(len(result.targets) for result in results)} targets are met"
    return table


def _seeds(results: Sequence[ToyResult]) -> list[int]:
    return sorted({result.run.seed for result in results})


def _curve_table(points: Sequence[CurvePoint]) -> Table:
    table = Table("beta", "rate, nats", "distortion", "PCA at best", "distortion", "off the curve")
    for p in points:
        found = (f"{p.found.rate_nats:.3f}", f"{p.found.distortion:.4f}")
        best = (f"{p.best.rate_nats:.3f}", f"{p.best.distortion:.4f}")
        table.add_row(f"{p.beta:g}", *found, *best, f"{p.off:+.2%}")
    return table
