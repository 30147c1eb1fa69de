"""``train``: a bundle from files of normal records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaeiso_monitor.cli.betas import training_in_words
from vaeiso_monitor.cli.options import ConfigArgument
from vaeiso_monitor.cli.readings import batches
from vaeiso_monitor.cli.terminal import complain, reporting
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.types import Records


def train(
    config: ConfigArgument,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="FILE",
            help="Normal records; may be repeated. Default: the files of [source].",
        ),
    ] = None,
    max_records: Annotated[
        int, typer.Option("--max-records", min=2, help="Read no more than this many records.")
    ] = 1_000_000,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Let the new bundle serve.")
    ] = True,
) -> None:
    """Train a bundle on files of normal records and put it into the store."""
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.detector import train as train_bundle
    from vaeiso_monitor.telemetry import configure_logging

    loaded = settings.load(config)
    configure_logging(loaded.log)
    loaded.torch_device()
    store = BundleStore(loaded.store)
    store.prepare()
    records = read_records(loaded, data or _files(loaded), max_records)
    with reporting() as reporter:
        try:
            bundle = train_bundle(
                records, loaded.record_schema, loaded.recipe, progress=reporter.training
            )
        except ValueError as error:
            msg = f"these records cannot be trained on: {error}"
            raise ConfigError(msg) from error
    store.add(bundle)
    if promote:
        store.promote(bundle.version)
    _tell(bundle, "" if promote else " (not promoted)")


def _tell(bundle: Bundle, end: str) -> None:
    training = bundle.summary["training"]
    tried = len(training["members"])
    print(
        f"{bundle.version}: {bundle.summary['records']:,} records, beta {bundle.model.betas[0]:g}"
        f"{f' ({tried} were tried)' if tried > 1 else ''}, "
        f"judged {training['members'][training['winner']]['held_out_nats']:.2f} nats "
        f"(held-out mean {bundle.summary['held_out_nats']:.2f}), "
        f"alert line {bundle.threshold.nats:.2f} nats{end}"
    )
    print(training_in_words(training))
    for note in (training["note"], bundle.threshold.note):
        if note:
            print(note)


def _files(settings: Settings) -> list[Path]:
    from vaeiso_monitor.sources import FileSourceConfig
    from vaeiso_monitor.sources.formats import ready_to_read
    from vaeiso_monitor.sources.trail import matching

    if isinstance(settings.source, FileSourceConfig):
        found = sorted(matching(settings.source.path))
        files = [path for path in found if path.is_file() and ready_to_read(path)]
        if files:
            return files
    msg = (
        "no records to train on: name a file with --data (a Kafka source trains by itself in `run`)"
    )
    raise ConfigError(msg)


def read_records(settings: Settings, paths: list[Path], max_records: int) -> Records:
    """Return the records of some files; ConfigError where none of them fits the schema."""
    from vaeiso_monitor.lifecycle import concatenate, first_of
    from vaeiso_monitor.records import Decoder

    schema = settings.record_schema
    decoder = Decoder(schema)
    parts: list[Records] = []
    reasons: Counter[str] = Counter()
    count = 0
    for batch in batches(paths, schema.max_record_bytes, "reading", settings.source):
        records, rejects = decoder.decode(batch)
        parts.append(first_of(records, max_records - count))
        reasons.update(reject.reason.value for reject in [*batch.rejects, *rejects])
        count += len(records)
        if count > max_records:
            complain(f"only the first {max_records:,} records are used (--max-records)")
            break
    if reasons:
        complain(f"{sum(reasons.values()):,} records do not fit the schema: {dict(reasons)}")
    if not count:
        msg = f"no record of {', '.join(map(str, paths))} fits the schema"
        raise ConfigError(msg)
    return concatenate(parts)
