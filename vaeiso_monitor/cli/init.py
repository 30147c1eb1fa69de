"""``init``: a config from a sample of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from vaeiso_monitor.types import RawBatch, Source

_PATIENCE_POLLS = 20  # half a second each: how long an idle topic is waited for


def init(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="JSON lines, CSV, Parquet or Arrow IPC.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", help="A Kafka topic of JSON records instead.")
    ] = None,
    bootstrap_servers: Annotated[
        str,
        typer.Option("--bootstrap-servers", help="host:port, more of them separated by commas."),
    ] = "localhost:9092",
    records: Annotated[int, typer.Option("--records", min=1, help="Size of the sample.")] = 2000,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="CONFIG", help="Where to write; default: standard output."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """Write a commented config from a sample of records: columns, kinds, ranges, key and time.

    Look it over, then try it: `vaeiso-monitor check CONFIG`.
    """
    if (file is None) == (topic is None):
        msg = "name either a FILE or a --topic to take a sample from"
        raise ConfigError(msg)
    if out is not None and out.exists() and not force:
        msg = f"{out} exists already; --force overwrites it"
        raise ConfigError(msg)
    if file is not None:
        text = _from_file(file, records)
    else:
        text = _from_topic(str(topic), bootstrap_servers.split(","), records)
    if out is None:
        print(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"--out {out}: cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error
    print(f"{out} written. Look it over, then: vaeiso-monitor check {out}")


def _from_file(file: Path, count: int) -> str:
    from vaeiso_monitor.sources import FileSourceConfig, open_source

    if not file.exists():
        msg = f"{file}: no such file"
        raise ConfigError(msg)
    config = FileSourceConfig(path=str(file))
    sample = _sample(open_source(config, max_record_bytes=1 << 24), count)
    return _config(
        sample,
        str(file),
        f'type = "file"\npath = {json.dumps(str(file))}\n'
        'position_file = "state/position.json"  # where reading goes on after a restart\n'
        "follow = false  # true: wait for more records, through rotation",
    )


def _from_topic(topic: str, servers: list[str], count: int) -> str:
    from vaeiso_monitor.sources import KafkaSourceConfig, open_source

    config = KafkaSourceConfig(
        bootstrap_servers=tuple(servers),
        topics=(topic,),
        group_id=f"vaeiso-monitor-init-{topic}",  # it never commits, so it leaves no position
        auto_offset_reset="earliest",
    )
    source = open_source(config, max_record_bytes=1 << 24)
    source.check()
    return _config(
        _sample(source, count),
        topic,
        f'type = "kafka"\nbootstrap_servers = {json.dumps(servers)}\n'
        f"topics = [{json.dumps(topic)}]\n"
        'group_id = "vaeiso-monitor"\n'
        'auto_offset_reset = "latest"  # where a new group starts; "earliest": at the beginning',
    )


def _sample(source: Source, count: int) -> list[RawBatch]:
    """Return at least ``count`` records if they come within some seconds."""
    batches: list[RawBatch] = []
    idle = 0
    try:
        while sum(map(len, batches)) < count and idle < _PATIENCE_POLLS:
            polled = source.poll(count, 0.5)
            if polled is None:
                break
            idle = 0 if polled.batch.received else idle + 1
            if len(polled.batch):
                batches.append(polled.batch)
    finally:
        source.close()
    if not batches:
        msg = "no records came: nothing to take a sample from"
        raise ConfigError(msg)
    return batches


def _config(batches: list[RawBatch], origin: str, source: str) -> str:
    from vaeiso_monitor.records import inspect_sample, write_schema_toml

    found = inspect_sample(_joined(batches))
    schema = write_schema_toml(found.schema, found)
    return _TEMPLATE.format(origin=origin, records=found.records, source=source, schema=schema)


def _joined(batches: list[RawBatch]) -> list[bytes | None] | pa.Table:
    import pyarrow as pa

    payloads = [batch.payload for batch in batches]
    if not isinstance(payloads[0], pa.RecordBatch):
        return [raw for payload in payloads for raw in payload]
    try:
        return pa.Table.from_batches(payloads)
    except (pa.ArrowException, TypeError) as error:
        msg = f"the files do not have the same columns, name one of them: {error}"
        raise ConfigError(msg) from error


_TEMPLATE = """\
# Written from {records:,} records of {origin}. Every key is described in docs/configuration.md.

[source]
{source}

[threshold]
alert_budget = 0.001  # share of normal records that may raise an alert

[cold_start]
min_records = 5000  # without a bundle, so many records are collected and trained on

[store]
path = "state/store"

[[alerts.sinks]]
type = "stdout"
format = "readable"

[[alerts.sinks]]
type = "file"
path = "state/alerts.jsonl"

[[dead_letters.sinks]]
type = "file"
path = "state/dead_letters.jsonl"

[server]
port = 8490  # http://127.0.0.1:8490: /metrics /healthz /readyz /api/v1/status

# Columns are scored; key, time and entity only name a record. What does not fit goes to the dead
# letters. Units and valid ranges are yours to tell: uncomment what holds.
{schema}"""
