"""``explain``: why a record scores as it does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaeiso_monitor.alerts import Alert
    from vaeiso_monitor.settings import Settings


def explain(
    alert_id: Annotated[
        str | None,
        typer.Argument(metavar="ALERT_ID", help="An alert's id, or the beginning of it."),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="JSON",
            help="A record instead of an alert; - reads it from standard input.",
        ),
    ] = None,
    alerts: Annotated[
        Path | None,
        typer.Option(
            "--alerts",
            metavar="FILE",
            help="Where to look the alert up. Default: the file sinks of [alerts].",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Score one record again and split its nats: every feature, every latent, no remainder.

    An alert is looked up in the alert file and scored by the bundle that raised it.
    """
    from vaeiso_monitor import settings

    loaded = settings.load(config)
    if (alert_id is None) == (record is None):
        msg = "name either an ALERT_ID or a --record"
        raise ConfigError(msg)
    if alert_id is not None:
        found = _find(alert_id, _files(loaded, alerts))
        if found["record"] is None:
            msg = f"alert {found['alert_id']} holds no record (alerts.include_record = false)"
            raise ConfigError(msg)
        raw = msgspec.json.encode(_with_numbers(found["record"], loaded))
        version, before = found["model"]["version"], found["nats"]
    else:
        raw = sys.stdin.buffer.read() if record == "-" else str(record).encode()
        version, before = None, None
    alert = _explained(loaded, raw, version)
    if as_json:
        print(json.dumps({**msgspec.to_builtins(alert), "nats_before": before}, indent=2))
    else:
        _print(alert, before)


def _files(settings: Settings, named: Path | None) -> list[Path]:
    from vaeiso_monitor.sinks import FileSinkConfig

    if named is not None:
        return [named]
    sinks = [Path(s.path) for s in settings.alerts.sinks if isinstance(s, FileSinkConfig)]
    files = [file for path in sinks for file in sorted(path.parent.glob(f"{path.name}*"))]
    if not files:
        msg = (
            "no alert file to look in: name one with --alerts, or give [alerts] a sink of type file"
        )
        raise ConfigError(msg)
    return files


def _find(alert_id: str, files: list[Path]) -> dict[str, Any]:
    hits = {
        alert["alert_id"]: alert
        for alert in _alerts(files)
        if alert["alert_id"].startswith(alert_id)
    }
    if len(hits) == 1:
        return next(iter(hits.values()))
    looked = ", ".join(str(file) for file in files)
    what = "no alert begins" if not hits else f"{len(hits)} alerts begin"
    msg = f"{what} with {alert_id!r} in {looked}"
    raise ConfigError(msg)


def _alerts(files: list[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        try:
            with file.open("rb") as lines:
                yield from filter(None, map(_alert, lines))
        except OSError as error:
            msg = f"--alerts {file}: {error.strerror}"
            raise ConfigError(msg) from error


def _alert(line: bytes) -> dict[str, Any] | None:
    """Return the alert of a line; None for one that a crash tore, or that is something else."""
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) and "alert_id" in found else None


def _with_numbers(record: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the record with numbers where a CSV file had texts."""
    from vaeiso_monitor.records.texts import parse_number, parse_truth

    parsed = {}
    for column in settings.record_schema.number_columns:
        text = record.get(column.name)
        if isinstance(text, str):
            value = parse_number(text) if column.kind == "number" else parse_truth(text)
            parsed[column.name] = value if isinstance(value, float) else text
    return {**record, **parsed}


def _explained(settings: Settings, raw: bytes, version: str | None) -> Alert:
    """Return the alert that ``raw`` would raise, with all its features and latents listed."""
    from datetime import UTC, datetime

    from vaeiso_monitor.alerts import AlertsConfig, AlertWriter
    from vaeiso_monitor.cli.serving import engine_of
    from vaeiso_monitor.types import RawBatch, Span

    engine = engine_of(settings, version)
    bundle = engine.bundle
    try:
        scored = engine.launch(RawBatch([raw], [Span("cli", "record", 0, 0, [0])])).wait()
        if scored.rejects:
            reject = scored.rejects[0]
            msg = f"the record does not fit the schema: {reject.reason.value}: {reject.detail}"
            raise ConfigError(msg)
        everything = AlertsConfig(
            top_features=len(bundle.encoder.features), top_latents=bundle.model.latent_dim
        )
        return AlertWriter(everything).write(engine, scored, np.array([0]), datetime.now(UTC))[0]
    finally:
        engine.close()


def _print(alert: Alert, before: float | None) -> None:
    constant = alert.nats - alert.distortion_nats - alert.rate_nats
    verdict = "anomaly" if alert.anomaly_score > 1 else "normal"
    table = Table(
        "part",
        "value",
        "expected",
        "nats",
        title=f"{alert.nats:.3f} nats: {verdict} (alert line {alert.threshold_nats:.3f})",
    )
    for feature in alert.features:
        unit = f" {feature.unit}" if feature.unit else ""
        value = "missing" if feature.imputed else f"{feature.value}{unit}"
        expected = (
            f"{feature.expected:.5g}"
            if isinstance(feature.expected, float)
            else str(feature.expected)
        )
        extreme = f" (extreme: {feature.extreme_nats:.3f})" if feature.extreme_nats >= 0.05 else ""
        table.add_row(feature.name, value, expected, f"{feature.nats:.3f}{extreme}")
    table.add_section()
    for latent in alert.latents:
        moved = ", ".join(latent.moves)
        table.add_row(f"latent {latent.index}", moved, "", f"{latent.nats:.3f}")
    if (mode := alert.mode) is not None:
        share = f"{100 * mode.share:.2g} % of normal operation"
        table.add_row("operating mode", str(mode.index), share, f"{mode.nats:.3f}")
    table.add_section()
    table.add_row("constant (m/2) ln(pi beta)", "", "", f"{constant:.3f}")
    table.add_row("total", "", "", f"{alert.nats:.3f}")
    console = Console(markup=False)  # names and texts may hold brackets
    console.print(table)
    console.print(
        f"anomaly_score {alert.anomaly_score:.3f} (1.0 is the alert line), tail probability "
        f"{alert.tail_probability:.3g}, model {alert.model['version']}"
    )
    if before is not None:
        off = abs(alert.nats - before)
        console.print(f"the alert said {before:.3f} nats; scored again it is {off:.2g} nats off")
