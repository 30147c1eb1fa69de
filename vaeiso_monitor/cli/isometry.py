"""``isometry``: whether the embedding measures the data, and what each latent is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.settings import Settings

_RECORDS = 100_000  # read of a file; the table is measured on a few thousand of them


def isometry(
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="VERSION", help="A bundle. Default: the one that serves."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="FILE",
            help="Normal records to measure on; may be repeated. Default: the table kept at "
            "training, of the records held out.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="PNG", help="Draw importances and norms into this file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that the latents measure the data; exit code 1 where they do not.

    A row for each latent: what it carries (KL), its importance (a variance, as of PCA), its norm
    (1 is isometric), how far it is from orthogonal (0 is), and the features that move with it.
    """
    from vaeiso_monitor import settings

    loaded = settings.load(config)
    bundle = _bundle(loaded, model)
    table = _stored(bundle) if not data else _measured(bundle, _encoded(loaded, bundle, data))
    if plot is not None:
        from vaeiso_monitor.experiments.pictures import save, scree_of_latents

        save(scree_of_latents(table["latents"], f"{bundle.version}\n{table['verdict']}"), plot)
    if as_json:
        print(json.dumps({"version": bundle.version, **table}, indent=2))
    else:
        _print(bundle.version, table)
    if not table["healthy"]:
        raise typer.Exit(1)


def _bundle(settings: Settings, version: str | None) -> Bundle:
    from vaeiso_monitor.bundle import BundleStore

    store = BundleStore(settings.store)
    bundle = store.current() if version is None else store.load(version)
    if bundle is None:
        msg = f"no bundle serves in {store.path} yet"
        raise ConfigError(msg)
    return bundle


def _stored(bundle: Bundle) -> dict[str, Any]:
    from vaeiso_monitor.model import Isometry

    table = bundle.summary.get("isometry")
    if not table:
        msg = f"bundle {bundle.version} keeps no table: measure one with --data FILE"
        raise ConfigError(msg)
    nothing: list[list[Any]] = [[] for _ in range(bundle.model.latent_dim)]
    kept = bundle.summary.get("loadings", nothing)
    return {**Isometry.from_dict(table).to_dict(), "loadings": kept, "measured_on": "training"}


def _measured(bundle: Bundle, x: NDArray[np.float32]) -> dict[str, Any]:
    from vaeiso_monitor.bundle import latent_meanings, meanings_state
    from vaeiso_monitor.model import isometry as measure

    table = measure(bundle.model, x).to_dict()
    meanings = meanings_state(latent_meanings(bundle.model, bundle.encoder, x))
    return {**table, "loadings": meanings, "measured_on": "data"}


def _encoded(settings: Settings, bundle: Bundle, paths: Sequence[Path]) -> NDArray[np.float32]:
    from vaeiso_monitor.cli.train import read_records

    schema = settings.record_schema
    if (difference := bundle.differs_from(schema)) is not None:
        msg = f"bundle {bundle.version} cannot encode records of this config: {difference}"
        raise ConfigError(msg)
    return bundle.encoder.encode(read_records(settings, list(paths), _RECORDS))


def modes_in_words(table: dict[str, Any]) -> str:
    """Return how many operating modes the records of an isometry table are of, and the largest."""
    shares = sorted(enumerate(table["mode_shares"]), key=lambda pair: -pair[1])
    largest = ", ".join(f"{index} ({share:.1%})" for index, share in shares[:8] if share >= 0.001)
    return f"{table['effective_modes']:.1f} of {len(shares)} operating modes in effect: {largest}"


def _print(version: str, table: dict[str, Any]) -> None:
    from vaeiso_monitor.bundle import Loading

    shown = Table("latent", "KL, nats", "importance", "norm", "SD", "off-diagonal")
    shown.title = f"{version}, {table['records']:,} records, beta {table['beta']:g}"
    pairs = zip(table["latents"], table["loadings"], strict=True)
    rows = sorted(pairs, key=lambda pair: -pair[0]["importance"])
    for row, _ in rows:
        shown.add_row(
            str(row["latent"]),
            f"{row['kl_nats']:.3f}",
            f"{row['importance']:.4g}",
            f"{row['norm_mean']:.3f}",
            f"{row['norm_sd']:.3f}",
            f"{row['orthogonality_error']:.3f}",
            style=None if row["meaningful"] else "dim",
        )
    console = Console(markup=False)
    console.print(shown)
    console.print("what each latent moves (the rest carries too little):")
    for row, found in rows:
        if row["meaningful"]:
            words = ", ".join(str(Loading(**loading)) for loading in found)
            console.print(f"  {row['latent']:>3}  {words}", highlight=False)
    if table["mode_shares"]:
        console.print(modes_in_words(table))
    console.print(
        f"effective dimension {table['effective_dimension']:.2f}, transform/coding loss "
        f"{table['transform_coding_ratio']:.3f}"
    )
    console.print(table["verdict"], style="green" if table["healthy"] else "bold red")
