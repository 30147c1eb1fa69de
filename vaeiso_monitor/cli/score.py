"""``score``: nats, anomaly score and flag for every record of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import typer

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from vaeiso_monitor.cli.readings import batches
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Engine, Scored
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.sources import SourceConfig

_ENDINGS = (".csv", ".parquet", ".jsonl", ".ndjson")


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Finish the file."""


def score(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines, CSV, Parquet or Arrow IPC.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="OUT", help="What to write: .csv, .parquet or .jsonl."),
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="VERSION", help="Default: the bundle that serves."),
    ] = None,
    bundle_folder: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="A bundle's folder; needs no config."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score every record of FILE; memory stays bounded however long it is.

    OUT has one row for each record, in order: its number, key, time and entity, nats,
    anomaly_score (1.0 is the alert line), tail_probability, anomaly, and for a record that does not
    fit the schema the reason in `rejected`.
    """
    if out.suffix not in _ENDINGS:
        msg = f"--out {out}: the ending must be one of {', '.join(_ENDINGS)}"
        raise ConfigError(msg)
    if out.exists() and file.exists() and out.samefile(file):
        msg = f"--out {out} is FILE itself: name another"
        raise ConfigError(msg)
    engine, source = _engine(config, model, bundle_folder)
    counts = {"records": 0, "anomalies": 0, "rejected": 0}
    try:
        with _writer(out, _columns(engine.schema)) as writer:
            for scored in _scored(engine, file, source):
                table = _table(engine, scored)
                writer.write_table(table)
                _count(counts, table)
    finally:
        engine.close()
    if as_json:
        print(
            msgspec.json.encode(
                {**counts, "model": engine.bundle.version, "out": str(out)}
            ).decode()
        )
    else:
        print(
            f"{counts['records']:,} records of {file} -> {out}: {counts['anomalies']:,} anomalies, "
            f"{counts['rejected']:,} rejected (model {engine.bundle.version})"
        )


def _engine(
    config: Path, model: str | None, folder: Path | None
) -> tuple[Engine, SourceConfig | None]:
    """Return a bundle at work, and the source whose files are like the one to score."""
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import Bundle, Engine
    from vaeiso_monitor.cli.serving import engine_of
    from vaeiso_monitor.model import resolve_device

    if folder is not None:
        return Engine(Bundle.load(folder), resolve_device("auto")), None
    loaded = settings.load(config)
    return engine_of(loaded, model), loaded.source


def _scored(engine: Engine, file: Path, source: SourceConfig | None) -> Iterator[Scored]:
    """Yield scored batches, the next one being read while one is on the device."""
    launched = None
    for batch in batches([file], engine.schema.max_record_bytes, "scoring", source):
        following = engine.launch(batch)
        if launched is not None:
            yield launched.wait()
        launched = following
    if launched is not None:
        yield launched.wait()


_RESULTS = {
    "nats": pa.float64(),
    "anomaly_score": pa.float64(),
    "tail_probability": pa.float64(),
    "anomaly": pa.bool_(),
    "rejected": pa.string(),
}


def _columns(schema: Schema) -> pa.Schema:
    labels = {_heading(name): pa.string() for name in schema.labels}
    return pa.schema({"record": pa.int64(), **labels, **_RESULTS})


def _heading(label: str) -> str:
    """Return the column of a label; one called like a result steps aside: ``nats_``."""
    while label == "record" or label in _RESULTS:
        label += "_"
    return label


def _table(engine: Engine, scored: Scored) -> pa.Table:
    threshold = engine.bundle.threshold
    columns = _columns(engine.schema)
    batch, records, nats = scored.batch, scored.records, scored.nats
    numbers = np.concatenate(
        [np.asarray(span.offsets, dtype=np.int64) for span in batch.spans]
        or [np.empty(0, np.int64)]
    )
    refused = [*batch.rejects, *scored.rejects]
    order = np.argsort(
        np.concatenate([numbers[records.rows], [r.position.offset for r in refused]]), kind="stable"
    )
    empty: list[None] = [None] * len(refused)
    offsets = [*numbers[records.rows].tolist(), *(reject.position.offset for reject in refused)]
    values: dict[str, Sequence[Any]] = {
        "record": offsets,
        "nats": [*nats.tolist(), *empty],
        "anomaly_score": [*threshold.anomaly_score(nats).tolist(), *empty],
        "tail_probability": [*threshold.tail_probability(nats).tolist(), *empty],
        "anomaly": [*threshold.anomalous(nats).tolist(), *empty],
        "rejected": [*([None] * len(nats)), *(f"{r.reason.value}: {r.detail}" for r in refused)],
    }
    for role, found in (
        ("key", records.keys),
        ("time", records.times),
        ("entity", records.entities),
    ):
        name = getattr(engine.schema, role)
        if name is not None and found is not None:
            values[_heading(name)] = [*(None if v is None else str(v) for v in found), *empty]
    table = pa.table(
        [pa.array(values[field.name], field.type) for field in columns], schema=columns
    )
    return table.take(pa.array(order.astype(np.int64)))


def _count(counts: dict[str, int], table: pa.Table) -> None:
    counts["records"] += table.num_rows
    counts["rejected"] += table.num_rows - table["rejected"].null_count
    counts["anomalies"] += pa.compute.sum(table["anomaly"]).as_py() or 0


@contextmanager
def _writer(out: Path, columns: pa.Schema) -> Iterator[_Writer]:
    """Write beside and rename at the end, so that a broken run leaves no half file behind."""
    beside = out.with_name(f".{out.name}.part")
    try:
        writer = _open(beside, out.suffix, columns)
    except OSError as error:
        msg = f"--out {out}: cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error
    try:
        yield writer
        writer.close()
        beside.replace(out)
    finally:
        writer.close()
        beside.unlink(missing_ok=True)


def _open(path: Path, ending: str, columns: pa.Schema) -> _Writer:
    writer: _Writer
    match ending:
        case ".csv":
            writer = pyarrow.csv.CSVWriter(path, columns)
        case ".parquet":
            writer = pyarrow.parquet.ParquetWriter(path, columns)
        case _:
            writer = _JsonLines(path)
    return writer


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write_table(self, table: pa.Table) -> None:
        self._file.write(msgspec.json.Encoder().encode_lines(table.to_pylist()))

    def close(self) -> None:
        self._file.close()
