"""``models compare``: two bundles on the same records, as the gate would see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.lifecycle import Evidence, GateVerdict
    from vaeiso_monitor.settings import Settings


def compare(
    champion: Annotated[str, typer.Argument(metavar="A", help="The one to be measured against.")],
    candidate: Annotated[str, typer.Argument(metavar="B", help="The one to be judged.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="FILE",
            help="Normal records; may be repeated. Default: those that B keeps.",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Judge bundle B beside bundle A on the same normal records, as the gate would.

    Nothing is changed. Without --data these are the records that the training of B held out and
    the bundle keeps.
    """
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.lifecycle import Gate

    loaded = settings.load(config)
    store = BundleStore(loaded.store)
    a, b = store.load(champion), store.load(candidate)
    gate = Gate(loaded.gate, loaded.torch_device())
    verdict = gate.judge(a, b, _evidence(loaded, data, b))
    if as_json:
        print(json.dumps(verdict.to_dict(), indent=2))
        return
    Console(markup=False).print(_shown(verdict))


def _evidence(settings: Settings, data: list[Path] | None, candidate: Bundle) -> Evidence:
    """Return records to judge on, at most as many as the gate takes."""
    from vaeiso_monitor.cli.train import read_records
    from vaeiso_monitor.lifecycle import Evidence, first_of

    records = candidate.sample
    if data:
        records = read_records(settings, data, settings.gate.max_records)
    if records is None:
        msg = f"{candidate.version} keeps no records of its own: name some with --data"
        raise ConfigError(msg)
    none = first_of(records, 0)
    return Evidence(recent=records, alerted=none, unfiltered=none)


def _shown(verdict: GateVerdict) -> Table:
    table = Table(title=f"{verdict.candidate} beside {verdict.champion}", show_header=False)
    for check in verdict.checks:
        table.add_row(check.name, "passed" if check.passed else "FAILED", check.words)
    table.add_row("verdict", "accepted" if verdict.accepted else "rejected", "")
    return table
