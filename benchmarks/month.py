"""A month in minutes: the simulated station under a script, with the lifecycle and without it.

    python -m benchmarks.month --out out/month
    python -m benchmarks.month --out out/month --report-only

Stationary weeks, a slow drift, another regime from one hour to the next, a week of faults, a day's
alerts wrongly called normal, a dead sensor. month.json keeps every hour, every verdict and whether
the aims were met; month.md and month.png show them.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import torch

from benchmarks.lifetime import Clock, Lifetime, Plan
from benchmarks.month_aims import aims
from benchmarks.month_report import draw, tables
from benchmarks.month_run import DAY, HOUR, Month, Run
from benchmarks.station import SCHEMA, Phase, Station
from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.detector import Recipe, ThresholdConfig, train
from vaeiso_monitor.lifecycle import (
    DriftConfig,
    InputDriftConfig,
    IsometryDriftConfig,
    RegimeConfig,
    RetrainConfig,
    WindowConfig,
    concatenate,
)
from vaeiso_monitor.model import ModelConfig, TrainingConfig
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.types import RawBatch, Span

START = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
RECIPE = Recipe(
    model=ModelConfig(beta=0.03, latent_dim=12, hidden=(32, 32)),
    training=TrainingConfig(max_steps=700, learning_rate=6e-3, seed=1),
    threshold=ThresholdConfig(alert_budget=0.005),
    device="cpu",
)
WHOLE = Month(
    cold=24,
    phases=(
        Phase("stationary", 7 * 24),
        Phase("slow drift", 5 * 24, drifts=True),
        Phase("stationary, aged", 3 * 24 + 10),
        Phase("new regime", 2 * 24 + 14, renewed=True),
        Phase("faults 5 %", 4 * 24, faults=0.05),
        Phase("faults 5 %, poisoned", 2 * 24, faults=0.05, poisoned=True),
        Phase("faults 5 %, mended", 24, faults=0.05),
        Phase("stationary, new", 2 * 24),
        Phase("broken sensor", 36, broken=True),
        Phase("repaired", 36),
    ),
    called_normal=12,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the month and write what came of it; the exit status is 1 where an aim was missed."""
    args = _parsed(arguments)
    _quiet()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.report_only:
        result = json.loads((args.out / "month.json").read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run(WHOLE, RECIPE, Path(folder), action=args.on_regime_shift)
        (args.out / "month.json").write_text(json.dumps(result, indent=1))
    result["aims"] = aims(result)
    (args.out / "month.md").write_text(tables(result))
    draw(result, args.out / "month.png")
    print(tables(result))
    return 0 if all(aim["met"] for aim in result["aims"]) else 1


def run(month: Month, recipe: Recipe, folder: Path, *, action: str = "alert") -> dict[str, Any]:
    """Let a month go by in ``folder``; return its hours, its trainings and its figures."""
    began, clock = time.monotonic(), Clock(START)
    cold = Phase("cold start", month.cold, faults=0.0)
    station = Station((cold, *month.phases), month.rate)
    clock.now += month.cold * HOUR
    first = first_bundle(station, month, recipe, clock())
    life = Lifetime(_plan(month, recipe, action), SCHEMA, first, folder, clock)
    going = Run(month, station, first, life)
    life.run(going.batches())
    return {
        "budget": first.threshold.budget,
        "rate": month.rate,
        "on_regime_shift": action,
        "first": first.version,
        "phases": _phases(month),
        "hours": [asdict(tally) for tally in going.hours],
        "trainings": [asdict(judged) for judged in going.judged],
        "news": going.news,
        "seconds": round(time.monotonic() - began, 1),
    }


def first_bundle(station: Station, month: Month, recipe: Recipe, now: float) -> Bundle:
    """Train on the first hours of the station, as a cold start does."""
    decoder, parts = Decoder(SCHEMA), []
    for hour in range(month.cold):
        payload = station.take(month.rate).payload
        span = Span("station", "0", 0, 0, range(len(payload)))
        parts.append(decoder.decode(RawBatch(payload, [span]))[0])
        del hour
    ledger = {
        "first_seen": datetime.fromtimestamp(now - month.cold * HOUR, UTC).isoformat(),
        "last_seen": datetime.fromtimestamp(now, UTC).isoformat(),
    }
    created = datetime.fromtimestamp(now, UTC)
    return train(concatenate(parts), SCHEMA, recipe, ledger=ledger, created=created)


def _plan(month: Month, recipe: Recipe, action: str) -> Plan:
    """Return the defaults, but for what the size of a month in minutes asks for."""
    regime = RegimeConfig(on_regime_shift="adopt" if action == "adopt" else "alert")
    return Plan(
        recipe=recipe,
        window=WindowConfig(
            max_rows=month.window_rows,
            unfiltered_rows=month.window_rows,
            max_age_seconds=7 * DAY,
            flush_seconds=HOUR / 2,
        ),
        retrain=RetrainConfig(min_records=month.min_records, retry_seconds=HOUR),
        drift=DriftConfig(
            isometry=IsometryDriftConfig(interval_seconds=4 * HOUR),
            inputs=InputDriftConfig(interval_seconds=4 * HOUR),
        ),
        regime=replace(regime, persistence=5),
    )


def _phases(month: Month) -> list[dict[str, Any]]:
    start, found = 0, []
    for phase in month.phases:
        found.append({**asdict(phase), "start": start, "stop": start + phase.hours})
        start += phase.hours
    return found


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("out/month"))
    parser.add_argument("--on-regime-shift", choices=("alert", "adopt"), default="alert")
    parser.add_argument("--report-only", action="store_true")
    return parser.parse_args(arguments)


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


if __name__ == "__main__":
    sys.exit(main())
