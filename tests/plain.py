"""A small schema, records that fit it, and a quickly trained bundle: for tests of the joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.detector import Recipe, ThresholdConfig, train
from vaeiso_monitor.model import ModelConfig, TrainingConfig
from vaeiso_monitor.records import Column, Decoder, Schema
from vaeiso_monitor.types import RawBatch, Span

SCHEMA = Schema(
    columns=(
        Column("flow", unit="m3/h", minimum=0, maximum=1000),
        Column("pressure", unit="bar"),
        Column("open", kind="boolean"),
        Column("mode", kind="category"),
    ),
    key="id",
    time="ts",
    entity="pump",
    max_record_bytes=2000,
)
RECIPE = Recipe(
    model=ModelConfig(beta=0.1, latent_dim=2, hidden=(16,)),
    training=TrainingConfig(max_steps=200, seed=1),
    threshold=ThresholdConfig(alert_budget=0.02),
)


def documents(count: int, seed: int = 0, start: int = 0) -> list[bytes]:
    """Return JSON records of normal operation."""
    rng = np.random.default_rng(seed)
    flow = 300 + 50 * rng.standard_normal(count)
    pressure = 2 + flow / 100 + 0.1 * rng.standard_normal(count)
    return [
        json.dumps(
            {
                "id": start + i,
                "ts": 1_750_000_000 + start + i,
                "pump": f"p{i % 3}",
                "flow": round(float(np.clip(flow[i], 1, 999)), 3),
                "pressure": round(float(pressure[i]), 3),
                "open": bool(i % 2),
                "mode": ["day", "night"][i // 2 % 2],
                "note": "not scored",
            }
        ).encode()
        for i in range(count)
    ]


def anomaly(number: int) -> bytes:
    """Return a record whose values are in range one by one, but never go together."""
    record = {"id": number, "ts": 1_750_000_000 + number, "pump": "p0", "flow": 300.0}
    return json.dumps(record | {"pressure": -60.0, "open": True, "mode": "day"}).encode()


def raw(payload: list[bytes | None], start: int = 0) -> RawBatch:
    """Return ``payload`` as a batch that was read from memory."""
    return RawBatch(payload, [Span("memory", "memory", 0, 0, range(start, start + len(payload)))])


def trained(count: int = 1500) -> Bundle:
    """Return a bundle trained on normal documents; takes about a second."""
    records, rejects = Decoder(SCHEMA).decode(raw(list(documents(count))))
    assert not rejects
    return train(records, SCHEMA, RECIPE)


def config(
    folder: Path,
    records: Path,
    *,
    min_records: int = 600,
    batch_records: int = 256,
    follow: bool = False,
    extra: str = "",
) -> Path:
    """Write a config that runs the plain schema over a file of records, and return its path."""
    path = folder / "config.toml"
    path.write_text(
        CONFIG.format(
            records=records,
            folder=folder,
            min_records=min_records,
            batch_records=batch_records,
            follow=str(follow).lower(),
            extra=extra,
        )
    )
    return path


CONFIG = """\
[source]
type = "file"
path = "{records}"
position_file = "{folder}/position.json"
commit_interval_seconds = 0
poll_interval_seconds = 0.02
follow = {follow}

[cold_start]
min_records = {min_records}

[model]
beta = 0.1
latent_dim = 2
hidden = [16]

[training]
max_steps = 200
seed = 1

[threshold]
alert_budget = 0.02

[pipeline]
batch_records = {batch_records}
linger_seconds = 0.05

[store]
path = "{folder}/store"

[lifecycle]
path = "{folder}/state"

[[alerts.sinks]]
type = "file"
path = "{folder}/alerts.jsonl"
fsync = false

[[dead_letters.sinks]]
type = "file"
path = "{folder}/dead_letters.jsonl"
fsync = false

[server]
port = 0

[log]
format = "json"
{extra}
[schema]
key = "id"
time = "ts"
entity = "pump"
max_record_bytes = 2000

[[schema.columns]]
name = "flow"
unit = "m3/h"
minimum = 0
maximum = 1000

[[schema.columns]]
name = "pressure"
unit = "bar"

[[schema.columns]]
name = "open"
kind = "boolean"

[[schema.columns]]
name = "mode"
kind = "category"
"""
