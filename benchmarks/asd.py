"""A real drift: twelve servers in time order, retrained daily or with the first model frozen.

    VAEISO_DATA=/data python -m benchmarks.asd --out out/asd

VAEISO_DATA holds stream/asd/omi-*.npz of the Application Server Dataset: ``X_train`` (taken for
normal), ``X`` and ``y`` (1: anomalous), a record every five minutes. For each server the first
model is trained on the former, whose records are then in the window as a daemon would have them;
the latter are streamed in the time of the records, with the daemon's own lifecycle, and scored by
the frozen first model beside it. asd.json and asd.md show what came of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.lifetime import DEVICE, Clock, Lifetime, Plan
from vaeiso_monitor.bundle import Engine
from vaeiso_monitor.detector import Recipe, ThresholdConfig, train
from vaeiso_monitor.lifecycle import DriftConfig, RegimeConfig, RetrainConfig, WindowConfig
from vaeiso_monitor.lifecycle.drift_config import InputDriftConfig, IsometryDriftConfig
from vaeiso_monitor.model import ModelConfig, TrainingConfig
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.types import Records

STEP, DAY = 300.0, 86400.0
BATCH = 12  # an hour
START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
RECIPE = Recipe(
    model=ModelConfig(beta=0.1, latent_dim=8, hidden=(32,)),
    training=TrainingConfig(max_steps=300, learning_rate=6e-3, seed=1),
    threshold=ThresholdConfig(alert_budget=0.01),
    device="cpu",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Stream every server and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("out/asd"))
    parser.add_argument("--servers", type=int, default=12)
    parser.add_argument("--on-regime-shift", choices=("alert", "adopt"), default="alert")
    args = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    folder = Path(os.environ["VAEISO_DATA"]) / "stream" / "asd"
    paths = sorted(folder.glob("omi-*.npz"), key=lambda path: int(path.stem.split("-")[1]))
    found = []
    for path in paths[: args.servers]:
        with np.load(path) as held, tempfile.TemporaryDirectory() as state:
            found.append(
                {
                    "server": path.stem,
                    **server(
                        held["X_train"], held["X"], held["y"], Path(state), args.on_regime_shift
                    ),
                }
            )
        print(json.dumps(found[-1]), flush=True)
        (args.out / "asd.json").write_text(json.dumps(found, indent=1))
        (args.out / "asd.md").write_text(table(found))
    print(table(found))
    return 0


def server(
    past: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.int8],
    folder: Path,
    action: str = "alert",
) -> dict[str, Any]:
    """Stream one server; return AUROC and alert rates with the lifecycle and without."""
    began = time.monotonic()
    schema = Schema(columns=tuple(Column(f"m{i:02d}") for i in range(x.shape[1])))
    clock = Clock(START + len(past) * STEP)
    created = datetime.fromtimestamp(clock(), UTC)
    span = {
        "first_seen": datetime.fromtimestamp(START, UTC).isoformat(),
        "last_seen": created.isoformat(),
    }
    first = train(_records(past), schema, RECIPE, ledger=span, created=created)
    clock.now = START
    life = Lifetime(_plan(len(past), action), schema, first, folder, clock)
    frozen = Engine(first, DEVICE, schema)
    _remember(life, frozen, past)
    scores, anomalous = [], []
    served = first.version

    def batches() -> Iterator[Sequence[bytes]]:
        nonlocal served
        encoder, names = msgspec.json.Encoder(), [column.name for column in schema.columns]
        for start in range(0, len(x), BATCH):
            rows = x[start : start + BATCH].astype(np.float64).tolist()
            clock.now += len(rows) * STEP
            yield [encoder.encode(dict(zip(names, row, strict=True))) for row in rows]
            seen = life.last()
            scores.append(np.minimum(seen.bundle.threshold.anomaly_score(seen.scored.nats), 1e12))
            anomalous.append(seen.anomalous)
            served = life.serving.version

    life.run(batches())
    old = frozen.score(_records(x))
    frozen.close()
    statuses = [attempt.outcome.status for attempt in life.retraining.attempts]
    return {
        **_figures("with", np.concatenate(scores), np.concatenate(anomalous), y),
        **_figures("without", old, first.threshold.anomalous(old), y),
        "anomalous": float(np.mean(y)),
        "promoted": statuses.count("promoted"),
        "rejected": statuses.count("rejected"),
        "other": len(statuses) - statuses.count("promoted") - statuses.count("rejected"),
        "regime_shifts": len(
            [m for m in life.news.messages if getattr(m, "status", "") == "started"]
        ),
        "seconds": round(time.monotonic() - began, 1),
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the servers and their mean as a table in Markdown."""
    names = (
        "auroc_with",
        "auroc_without",
        "normal_with",
        "normal_without",
        "recall_with",
        "recall_without",
    )
    lines = [
        "| Server | AUROC: with | without | Alert rate, normal: with | without | Recall: with "
        "| without | Promoted, rejected |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        _line(each["server"], [each[n] for n in names], f"{each['promoted']}, {each['rejected']}")
        for each in found
    ]
    means = [float(np.mean([each[name] for each in found])) for name in names]
    total = [sum(each[name] for each in found) for name in ("promoted", "rejected")]
    lines.append(_line("**mean**", means, f"{total[0]}, {total[1]}"))
    return "\n".join([*lines, ""])


def _line(name: str, v: Sequence[float], trainings: str) -> str:
    rates = " | ".join(f"{100 * value:.1f} %" for value in v[2:])
    return f"| {name} | {v[0]:.3f} | {v[1]:.3f} | {rates} | {trainings} |"


def _plan(rows: int, action: str) -> Plan:
    regime = RegimeConfig(on_regime_shift="adopt" if action == "adopt" else "alert")
    quiet = DriftConfig(
        isometry=IsometryDriftConfig(interval_seconds=DAY),
        inputs=InputDriftConfig(interval_seconds=DAY),
    )
    return Plan(
        recipe=RECIPE,
        window=WindowConfig(
            max_rows=10_000, max_age_seconds=30 * DAY, unfiltered_rows=10_000, flush_seconds=DAY
        ),
        retrain=RetrainConfig(min_records=min(5000, rows // 2), adopt_min_records=288),
        drift=quiet,
        regime=replace(regime, min_records=BATCH, persistence=12),
    )


def _remember(life: Lifetime, engine: Engine, past: NDArray[np.float32]) -> None:
    """Let the window see what the first model was trained on, each record at its time."""
    for start in range(0, len(past), BATCH):
        records = _records(past[start : start + BATCH])
        life.clock.now += len(records) * STEP
        nats = engine.score(records)
        line = engine.bundle.threshold
        life.window.keep(records, nats, line.anomalous(nats), line)
        if start % (96 * BATCH) == 0:
            life.window.flush()


def _records(x: NDArray[np.float32]) -> Records:
    return Records(x.astype(np.float64), (), np.arange(len(x), dtype=np.int64))


def _figures(
    name: str, scores: NDArray[np.float64], anomalous: NDArray[np.bool_], y: NDArray[np.int8]
) -> dict[str, float]:
    return {
        f"auroc_{name}": float(roc_auc_score(y, scores)),
        f"normal_{name}": float(anomalous[y == 0].mean()),
        f"recall_{name}": float(anomalous[y == 1].mean()),
    }


if __name__ == "__main__":
    sys.exit(main())
