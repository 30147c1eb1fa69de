"""The simulated station, a bundle trained on it, and ways to bend that bundle or a sensor."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.detector import Recipe, train
from vaeiso_monitor.lifecycle import (
    DriftHistory,
    InputDrift,
    InputDriftConfig,
    IsometryDrift,
    IsometryDriftConfig,
    concatenate,
)
from vaeiso_monitor.model import VAE, ModelConfig, TrainingConfig
from vaeiso_monitor.records import Decoder, Schema
from vaeiso_monitor.sources.plant import PLANT_SCHEMA, PlantConfig, PlantSource
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Records

SCHEMA = Schema.from_mapping(tomllib.loads(PLANT_SCHEMA)["schema"])
TRAINED_ON = 6000
MINUTE = 60.0
_RECIPE = Recipe(
    model=ModelConfig(beta=0.1, latent_dim=8, hidden=(32,)),
    training=TrainingConfig(max_steps=600, learning_rate=0.008, seed=1),
    device="cpu",
)

Arrays = dict[str, np.ndarray]


def station(count: int, seed: int = 7) -> Records:
    """Return records of a healthy station that does not age, one a minute."""
    config = PlantConfig(seed=seed, rate_per_second=0, records=count, fault_share=0, drift=0)
    source, decoder, parts = PlantSource(config), Decoder(SCHEMA), []
    while (polled := source.poll(8192, 0.0)) is not None:
        parts.append(decoder.decode(polled.batch)[0])
    return concatenate(parts)


def some(records: Records, start: int, stop: int) -> Records:
    """Return the records from ``start`` up to and without ``stop``."""
    categories = [column[start:stop] for column in records.categories]
    return Records(records.numbers[start:stop], categories, np.arange(stop - start))


def shifted(records: Records, sensor: str, change: float, start: int = 0) -> Records:
    """Return the records with one sensor's values moved from ``start`` on."""
    numbers = records.numbers.copy()
    numbers[start:, SCHEMA.numbers.index(sensor)] += change
    return Records(numbers, records.categories, records.rows)


def trained_on_the_station() -> Bundle:
    """Return a bundle trained on the station's first records; takes about two seconds."""
    return train(some(station(TRAINED_ON), 0, TRAINED_ON), SCHEMA, _RECIPE)


def bent(bundle: Bundle, change: Callable[[Arrays], None]) -> Bundle:
    """Return the bundle with its weights changed, and everything else as it was."""
    meta, arrays = bundle.model.state()
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays)
    return replace(bundle, model=VAE.from_state(meta, arrays))


class Watch:
    """Both drifts over one history, one telemetry and a clock that stands still."""

    def __init__(
        self,
        folder: Path,
        *,
        isometry: IsometryDriftConfig | None = None,
        inputs: InputDriftConfig | None = None,
    ) -> None:
        self.now = 1_700_000_000.0
        self.telemetry = Telemetry(CollectorRegistry(), clock=self.clock)
        self.history = DriftHistory(folder / "drift.json")
        shared = (self.history, self.telemetry.drift, self.clock)
        self.isometry = IsometryDrift(isometry or IsometryDriftConfig(), *shared)
        self.inputs = InputDrift(inputs or InputDriftConfig(), *shared)

    def clock(self) -> float:
        return self.now

    def observe(self, records: Records, batch: int = 60) -> None:
        """Let records come, one a minute."""
        for start in range(0, len(records), batch):
            self.inputs.observe(some(records, start, min(start + batch, len(records))))
            self.now += batch * MINUTE
