"""``models``: what the store holds, what the gate said of it, and which bundle serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vaeiso_monitor.cli.betas import beta_table, draw, training_in_words
from vaeiso_monitor.cli.compare import compare
from vaeiso_monitor.cli.isometry import modes_in_words
from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from vaeiso_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaeiso_monitor.bundle import Bundle, BundleStore

models = typer.Typer(
    name="models", help="List, show, compare and promote bundles.", no_args_is_help=True
)

models.command()(compare)

Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="A version, or a unique beginning or end of it.")
]


@models.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the bundles of the store, oldest first; * marks the one that serves."""
    store = _store(config)
    rows = [_row(store, version) for version in store.versions()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print(f"no bundles in {store.path}: `run` or `train` makes the first")
        return
    table = Table("")
    table.add_column("version", no_wrap=True)
    for heading in ("records", "beta", "held-out nats", "alert line", "isometry", "gate"):
        table.add_column(heading)
    for row in rows:
        if "error" in row:
            table.add_row("!", row["version"], "", "", "", "", row["error"], "")
            continue
        table.add_row(
            "*" if row["serving"] else "",
            row["version"],
            f"{row['records']:,}",
            f"{row['beta']:g}",
            f"{row['held_out_nats']:.2f}",
            f"{row['threshold_nats']:.2f}",
            {True: "healthy", False: "NOT healthy", None: "not measured"}[row["isometry_healthy"]],
            {True: "accepted", False: "rejected", None: "not judged"}[row["accepted"]],
        )
    Console(markup=False).print(table)


@models.command()
def show(
    version: Version,
    config: ConfigOption = DEFAULT_CONFIG,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="PNG", help="Draw held-out nats over beta into this file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one bundle: how it was trained, its alert line, and its latents."""
    from vaeiso_monitor.bundle import beta_curve

    store = _store(config)
    bundle = store.load(version)
    facts = {
        **_facts(store, bundle),
        "threshold_note": bundle.threshold.note,
        **bundle.summary,
        "beta_curve": beta_curve(bundle.summary["training"]),
        "verdict": store.verdict(bundle.version),
    }
    if plot is not None:
        draw(facts["beta_curve"], bundle.version, plot)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    Console(markup=False).print(_shown(bundle, facts))


@models.command()
def promote(version: Version, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let a bundle serve, whatever the gate said; a running daemon takes it up within seconds."""
    store = _store(config)
    name = store.resolve(version)
    store.promote(name)
    print(f"{name} serves: a running daemon takes it up within seconds, any other when it starts")


@models.command()
def rollback(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let the bundle serve again that served before; a running daemon takes it up in seconds."""
    store = _store(config)
    before = store.serving()
    print(f"{store.rollback()} serves again instead of {before}")


def _store(config: Path) -> BundleStore:
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import BundleStore

    return BundleStore(settings.load(config).store)


def _row(store: BundleStore, version: str) -> dict[str, Any]:
    try:
        return _facts(store, store.load(version))
    except BundleError as error:
        return {"version": version, "error": str(error)}


def _facts(store: BundleStore, bundle: Bundle) -> dict[str, Any]:
    from vaeiso_monitor.bundle import facts_of

    facts = facts_of(bundle, store.verdict(bundle.version))
    return {"version": bundle.version, "serving": bundle.version == store.serving()} | facts


def _shown(bundle: Bundle, facts: dict[str, Any]) -> Table:
    table = Table(title=bundle.version, show_header=False)
    table.add_row("serving", "yes" if facts["serving"] else "no")
    table.add_row("trained", f"{facts['created']} on {facts['records']:,} records")
    table.add_row("", training_in_words(facts["training"]))
    if note := facts["training"].get("note"):
        table.add_row("", note)
    for row in beta_table(facts["beta_curve"]):
        table.add_row(*row)
    table.add_row(
        "alert line", f"{facts['threshold_nats']:.2f} nats at a budget of {facts['alert_budget']:g}"
    )
    if facts["threshold_note"]:
        table.add_row("", facts["threshold_note"])
    table.add_row("isometry", str(facts["isometry"].get("verdict", "")))
    if facts["isometry"].get("mode_shares"):
        table.add_row("modes", modes_in_words(facts["isometry"]))
    if facts["verdict"] is None:
        table.add_row("gate", "not judged: trained by hand, or the first")
    else:
        table.add_row("gate", facts["verdict"]["sentence"])
        for check in facts["verdict"]["checks"]:
            table.add_row(f"  {check['name']}", f"{_mark(check)} {check['words']}")
    if facts.get("training_set"):
        table.add_row("training set", _ledger(facts["training_set"]))
    for row in _columns(bundle):
        table.add_row(*row)
    return table


def _columns(bundle: Bundle) -> Iterator[tuple[str, str]]:
    yield "columns", ", ".join(feature.name for feature in bundle.encoder.features)
    for kind, names in bundle.encoder.transforms().items():
        yield f"  {kind}", ", ".join(names)
    if bundle.extremes is not None:
        yield "extremes", bundle.extremes.in_words()


def _mark(check: dict[str, Any]) -> str:
    if check["waived"]:
        return "(waived)"
    return "passed:" if check["passed"] else "FAILED:"


def _ledger(ledger: dict[str, Any]) -> str:
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in ledger["left_out"].items())
    return (
        f"{ledger['records']:,} records from {ledger['first_seen']} to {ledger['last_seen']}"
        f"{f'; left out: {left_out}' if left_out else ''}"
    )
