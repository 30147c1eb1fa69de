"""``reproduce anomaly``: Table 3 from scratch, the VAE beside the systems it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from vaeiso_monitor.cli.options import JsonOption
from vaeiso_monitor.cli.terminal import reporting
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vaeiso_monitor.experiments.anomaly import AnomalyTable

Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="kddcup99, kddcup99-rev, thyroid or arrhythmia; may be repeated. All by default.",
    ),
]
Methods = Annotated[
    str | None,
    typer.Option("--methods", metavar="A,B,...", help="Run these methods only."),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Run seeds 0 to this less one.")]
MostRecords = Annotated[
    int | None,
    typer.Option("--max-train-records", min=100, help="Train on this many records at most."),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Where downloaded data sets are kept."),
]
Device = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda" or "cuda:N".')]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Where results go; finished runs there are kept."
    ),
]

_SHOWN = (0, 1, 2, 5, 6)  # columns of the table that fit a terminal; anomaly.md has them all


def anomaly(
    dataset: Datasets = None,
    methods: Methods = None,
    seeds: Seeds = 20,
    output: Output = Path("reproduction"),
    max_train_records: MostRecords = None,
    cache: Cache = None,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Reproduce Table 3: how well does Lx find anomalies, and how well do the others?

    The data sets are read from the folder in VAEISO_DATA, or downloaded where it is not set.
    """
    from vaeiso_monitor.experiments.anomaly import (
        DATASETS,
        DEFAULT_CACHE,
        METHODS,
        AnomalyConfig,
        run_anomaly,
    )

    config = AnomalyConfig(
        datasets=tuple(dataset or DATASETS),
        methods=METHODS if methods is None else _names(methods),
        seeds=tuple(range(seeds)),
        max_train_records=max_train_records,
        cache=cache or DEFAULT_CACHE,
    )
    with _told() as tell:
        table = run_anomaly(output, config, device=_known(device), tell=tell)
    if as_json:
        print((output / "anomaly.json").read_text(encoding="utf-8"), end="")
    else:
        _print(table, output)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _told() -> Iterator[Callable[[str, int, int], None]]:
    from vaeiso_monitor.model import Progress

    begun = time.monotonic()
    with reporting() as reporter:
        yield lambda what, done, of: reporter.training(
            Progress(done, of, None, time.monotonic() - begun), what
        )


def _known(name: str) -> torch.device:
    from vaeiso_monitor.model import resolve_device

    try:
        return resolve_device(name)
    except ValueError as error:
        msg = f"--device: {error}"
        raise ConfigError(msg) from error


def _print(table: AnomalyTable, output: Path) -> None:
    from vaeiso_monitor.experiments.anomaly.table import COLUMNS, cells

    console = Console()
    for name in dict.fromkeys(row.dataset for row in table.rows):
        shown = Table(title=name)
        for column in _SHOWN:
            shown.add_column(COLUMNS[column], no_wrap=column == _SHOWN[0])
        for row in table.rows:
            if row.dataset == name:
                texts = cells(row)
                shown.add_row(*(texts[column] for column in _SHOWN))
        console.print(shown)
    for row in table.short:
        print(f"below its published {row.published}: {row.method} on {row.dataset}, {row.f1:.4f}")
    print(f"written: {output / 'anomaly.json'}, .md and .png; runs are in results.jsonl there")
