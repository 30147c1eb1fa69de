"""One training from the window to the swap, with a clock and a trainer of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry, generate_latest

from tests.plain import RECIPE, SCHEMA, documents, raw
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine, StoreConfig
from vaeiso_monitor.detector import train
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.lifecycle import (
    AlertHistory,
    Gate,
    GateConfig,
    HistoryConfig,
    LocalTrainer,
    Retraining,
    Slot,
    Swap,
    Terms,
    TrainingFailed,
    Window,
    WindowConfig,
)
from vaeiso_monitor.lifecycle.evidence import gathered, held_out
from vaeiso_monitor.model import TrainingConfig
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.telemetry import Telemetry

DEVICE = torch.device("cpu")
GATE = GateConfig(min_records=40)
DAY = 86400.0


MODEL = replace(RECIPE.model, latent_dim=1)  # with nothing to be skew to


@pytest.fixture(scope="module")
def novice() -> Bundle:
    """A bundle that hardly learned anything: any training finds a better one."""
    return beginner()


def beginner() -> Bundle:
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(1500))))
    recipe = replace(RECIPE, model=MODEL, training=TrainingConfig(max_steps=10, seed=1))
    return train(records, SCHEMA, recipe)


class Trainer(LocalTrainer):
    """Trains here, but may be made to wait or to fail."""

    def __init__(self, clock) -> None:
        super().__init__(SCHEMA, clock)
        self.wait: Event | None = None
        self.began = Event()
        self.fails = False

    def train(self, given, recipe, *, report, stop) -> Bundle:
        self.began.set()
        if self.wait is not None:
            assert self.wait.wait(60)
        if self.fails:
            msg = "it was struck by lightning"
            raise TrainingFailed(msg)
        return super().train(given, recipe, report=report, stop=stop)


@dataclass
class Plant:
    """A store with a serving bundle, a window that fills, and a retraining over them."""

    folder: Path
    champion: Bundle
    now: float = 0.0
    served: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = self.champion.created.timestamp() + 10
        self.telemetry = Telemetry(CollectorRegistry(), clock=self.clock)
        self.store = BundleStore(StoreConfig(path=str(self.folder / "store")), self.clock)
        self.store.add(self.champion)
        self.store.promote(self.champion.version)
        self.slot = Slot(Engine(self.champion, DEVICE))
        self.window = Window(WindowConfig(), SCHEMA, self.folder / "window", self.clock)
        self.history = AlertHistory(HistoryConfig(), SCHEMA, self.folder)
        self.swap = Swap(
            self.store,
            self.slot,
            device=DEVICE,
            schema=SCHEMA,
            rows=64,
            telemetry=self.telemetry.lifecycle,
            on_serving=lambda engine: self.served.append(engine.bundle.version),
        )
        self.trainer = Trainer(self.clock)
        self.retraining = Retraining(
            self.terms(),
            trainer=self.trainer,
            past=self.window,
            alerts=self.history,
            store=self.store,
            swap=self.swap,
            telemetry=self.telemetry.lifecycle,
            stop=lambda: False,
        )

    def terms(self, steps: int = 600) -> Terms:
        recipe = replace(RECIPE, model=MODEL, training=TrainingConfig(max_steps=steps, seed=1))
        return Terms(recipe, Gate(GATE, DEVICE, self.clock), GATE, 300, 200)

    def clock(self) -> float:
        return self.now

    def see(self, count: int, seed: int) -> None:
        for part in range(10):
            records, _ = Decoder(SCHEMA).decode(raw(list(documents(count // 10, seed + part))))
            nats = self.slot.engine.score(records)
            self.window.keep(records, nats, self.champion.threshold.anomalous(nats))
            self.now += 60
            self.window.flush()

    def metrics(self) -> str:
        return generate_latest(self.telemetry.registry).decode()

    def close(self) -> None:
        self.slot.close()
        self.history.close()
        self.window.close()


@pytest.fixture
def plant(tmp_path: Path, novice: Bundle):
    made = Plant(tmp_path, novice)
    yield made
    made.close()


def test_it_trains_judges_stores_and_swaps(plant: Plant) -> None:
    plant.see(1500, seed=40)
    outcome = plant.retraining.attempt("schedule")
    assert outcome.status == "promoted", outcome.words
    assert outcome.version == plant.store.serving() == plant.swap.serving.version
    assert plant.served == [outcome.version]
    stored = plant.store.load(outcome.version)
    assert stored.created.timestamp() == int(plant.now)
    ledger = stored.summary["training_set"]
    assert ledger["which"] == "normal"
    assert ledger["held_out_for_the_gate"] + stored.summary["records"] == ledger["records"]
    verdict = plant.store.verdict(outcome.version)
    assert verdict is not None
    assert verdict["accepted"] is True
    assert 'vaeiso_retrains_total{reason="schedule",status="promoted"} 1.0' in plant.metrics()
    assert "vaeiso_models_stored 2.0" in plant.metrics()

    # the same again is no better than itself: it is kept, with its verdict, and does not serve
    plant.now += DAY
    plant.see(600, seed=60)
    plant.retraining.terms = plant.terms(steps=5)
    second = plant.retraining.attempt("schedule")
    assert second.status == "rejected"
    assert second.version is not None
    assert plant.store.serving() == outcome.version
    verdict = plant.store.verdict(second.version)
    assert verdict is not None
    assert verdict["accepted"] is False
    assert plant.store.last_trained() == int(plant.now)


def test_what_overlaps_or_comes_too_early_is_skipped_and_counted(plant: Plant) -> None:
    assert plant.retraining.attempt("schedule").status == "skipped"
    assert not plant.trainer.began.is_set()
    plant.see(1000, seed=40)
    plant.trainer.wait = Event()
    first = Thread(target=plant.retraining.attempt, args=("schedule",))
    first.start()
    assert plant.trainer.began.wait(60)
    assert plant.retraining.running
    again = plant.retraining.attempt("request")
    assert (again.status, again.words) == ("skipped", "another training runs")
    plant.trainer.wait.set()
    first.join()
    assert not plant.retraining.running
    assert 'vaeiso_retrains_total{reason="request",status="skipped"} 1.0' in plant.metrics()


def test_a_failure_is_told_and_leaves_all_as_it_was(plant: Plant) -> None:
    plant.see(1000, seed=40)
    plant.trainer.fails = True
    outcome = plant.retraining.attempt("drift")
    assert (outcome.status, outcome.words) == ("failed", "it was struck by lightning")
    assert plant.store.versions() == [plant.champion.version]
    assert "vaeiso_retrain_in_progress 0.0" in plant.metrics()
    last = plant.telemetry.status().to_dict()["retrain"]["last"]
    assert (last["status"], last["reason"]) == ("failed", "drift")


def test_to_adopt_it_learns_only_from_what_came_since(plant: Plant) -> None:
    plant.see(600, seed=40)
    since = plant.now
    plant.see(600, seed=50)
    found = gathered(plant.window, plant.history, GATE, champion_since=0.0, adopt_since=since)
    assert found.given.ledger["which"] == "unfiltered"
    assert len(found.given.records) + len(found.evidence.recent) <= 600
    assert plant.retraining.attempt("regime_shift", since).status in {"promoted", "rejected"}


def test_the_gate_judges_on_what_neither_has_seen(plant: Plant) -> None:
    plant.see(500, seed=40)
    since = plant.now
    plant.see(500, seed=50)
    snapshot = plant.window.snapshot()
    rows = held_out(snapshot, GATE, since)
    assert len(rows) == round(0.2 * len(snapshot))
    assert (snapshot.seen[rows] > since).all()
    assert (np.diff(rows) > 0).all()
    assert np.count_nonzero(np.diff(rows) == 1) > len(rows) // 2  # runs of neighbours
    old = held_out(snapshot, GATE, plant.now + DAY)
    assert len(old) == len(rows)


def test_the_daemon_follows_the_pointer_and_puts_a_bad_one_back(plant: Plant) -> None:
    plant.see(1500, seed=40)
    version = plant.retraining.attempt("schedule").version
    assert version is not None
    assert plant.store.rollback() == plant.champion.version
    plant.swap.follow()
    assert plant.swap.serving.version == plant.champion.version
    with pytest.raises(BundleError, match="has made way"):
        plant.swap.adopt(version, instead_of=version)

    arrays = plant.folder / "store" / "bundles" / version / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    (plant.folder / "store" / "serving").write_text(f"{version}\n{plant.champion.version}\n")
    plant.swap.follow()
    assert plant.swap.serving.version == plant.champion.version == plant.store.serving()
    assert 'vaeiso_model_swaps_total{status="failed"} 1.0' in plant.metrics()


def test_an_engine_is_closed_when_its_last_batch_is_finished(bundle: Bundle) -> None:
    old, new = Engine(bundle, DEVICE), Engine(bundle, DEVICE)
    slot = Slot(old)
    x = np.zeros((4, bundle.encoder.width), np.float32)
    assert slot.borrow() is slot.borrow() is old
    slot.put(new)
    assert slot.engine is new
    slot.give_back(old)
    old._scorer.score(x)
    slot.give_back(old)
    with pytest.raises(RuntimeError, match="shutdown"):
        old._scorer.score(x)
    assert slot.borrow() is new
    slot.close()
