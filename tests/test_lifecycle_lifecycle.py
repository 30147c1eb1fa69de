"""What runs by the clock and by request: plans, retries, requests, a regime that is adopted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.plain import SCHEMA, anomaly, documents, raw
from tests.test_lifecycle_retraining import DAY, Plant, beginner
from vaeiso_monitor.alerts import DriftAlert
from vaeiso_monitor.bundle import Bundle
from vaeiso_monitor.lifecycle import (
    DriftConfig,
    DriftHistory,
    Feedback,
    InputDrift,
    IsometryDrift,
    IsometryDriftConfig,
    Keeper,
    Lifecycle,
    Parts,
    RegimeConfig,
    RegimeWatch,
    RetrainConfig,
    Spool,
    Watches,
)
from vaeiso_monitor.records import Decoder

RETRAIN = RetrainConfig(min_records=300, retry_seconds=100, retry_limit_seconds=1000)
SHIFTS = RegimeConfig(
    on_regime_shift="adopt", interval_seconds=10, min_records=10, persistence=2, budget_factor=2
)


class Living:
    """A lifecycle over a plant; its clock is moved by the test and no thread of it runs."""

    def __init__(self, plant: Plant, drift: DriftConfig | None = None) -> None:
        self.plant = plant
        drift = drift or DriftConfig()
        checks = DriftHistory(plant.folder / "drift.json")
        ruler = IsometryDrift(drift.isometry, checks, plant.telemetry.drift, plant.clock)
        inputs = InputDrift(drift.inputs, checks, plant.telemetry.drift, plant.clock)
        self.keeper = Keeper(plant.window, plant.history, inputs, plant.clock)
        self.regime = RegimeWatch(SHIFTS, 0.02, plant.folder / "regime.json", clock=plant.clock)
        self.spool = Spool(plant.folder / "requests", plant.clock)
        self.watches = Watches(
            ruler,
            inputs,
            past=plant.window,
            serving=lambda: plant.swap.serving,
            tell=self.keeper.tell,
            retrain=lambda: self.lifecycle.drifted(),
        )
        parts = Parts(
            store=plant.store,
            swap=plant.swap,
            retraining=plant.retraining,
            watches=self.watches,
            regime=self.regime,
            feedback=Feedback(plant.history, plant.window, plant.clock),
            spool=self.spool,
            window=plant.window,
            history=plant.history,
        )
        self.lifecycle = Lifecycle(
            parts,
            RETRAIN,
            drift,
            flush_seconds=5.0,
            telemetry=plant.telemetry.lifecycle,
            clock=plant.clock,
        )

    @property
    def due(self) -> float:
        due = self.plant.telemetry.lifecycle.retrain.next_at
        assert due is not None
        return due - self.plant.now

    def watch(self, records: int, anomalies: int) -> None:
        self.regime.observe(records, anomalies, self.plant.now)
        self.regime.settle()


@pytest.fixture
def plant(tmp_path: Path):
    made = Plant(tmp_path, beginner())
    yield made
    made.close()


def test_failures_come_again_soon_and_more_and_more_seldom(plant: Plant) -> None:
    living = Living(plant)
    plant.see(1000, seed=40)
    plant.trainer.fails = True
    waits = []
    for _ in range(5):
        assert living.lifecycle.retrain("schedule").status == "failed"
        waits.append(living.due)
    assert waits == [100, 200, 400, 800, 1000]
    plant.trainer.fails = False
    assert living.lifecycle.retrain("retry").status == "promoted"
    assert living.due == pytest.approx(DAY, abs=1)


def test_with_too_few_records_it_looks_again_soon(plant: Plant) -> None:
    living = Living(plant)
    assert living.lifecycle.retrain("schedule").status == "skipped"
    assert living.due == 100


def test_requests_are_carried_out_and_what_is_none_is_set_aside(plant: Plant) -> None:
    living = Living(plant)
    plant.see(1000, seed=40)
    for kind, body in (
        ("retrain", {"adopt": False}),
        ("feedback", {"alert_id": "unknown", "verdict": "normal"}),
        ("retrain", {"adopt": "yes"}),
        ("dance", {}),
    ):
        living.spool.put(kind, body)
    living.lifecycle.look()
    assert living.spool.pending() == []
    assert len(list((plant.folder / "requests").glob("*.refused"))) == 2
    assert living.lifecycle.timer._scheduler.get_job("retrain_now") is not None


def test_a_training_that_cannot_start_is_not_promised(plant: Plant) -> None:
    living = Living(plant)
    job = living.lifecycle.timer._scheduler.get_job
    plant.see(20, seed=40)
    said = living.lifecycle.ask_for_training()
    assert not said["started"]
    assert "of 300 records (retrain.min_records) are there" in said["words"]
    assert job("retrain_now") is None
    said = living.lifecycle.ask_for_training(adopt=True)
    assert not said["started"]
    assert "retrain.adopt_min_records" in said["words"]
    plant.see(1000, seed=41)
    assert living.lifecycle.ask_for_training()["started"]
    assert job("retrain_now") is not None


def test_a_new_regime_is_adopted_as_soon_as_enough_of_it_was_seen(plant: Plant) -> None:
    living = Living(plant)
    plant.see(300, seed=40)
    living.lifecycle.adopt_if_shifted()
    assert not plant.trainer.began.is_set()
    for _ in range(8):
        living.watch(100, 90)
        plant.now += 10
    assert living.regime.shifted is not None
    living.lifecycle.adopt_if_shifted()  # nothing of it is in the window yet
    assert not plant.trainer.began.is_set()
    plant.see(1000, seed=50)
    living.lifecycle.adopt_if_shifted()
    last = plant.telemetry.lifecycle.retrain.last
    assert last is not None
    assert last["reason"] == "regime_shift"
    versions = plant.store.versions()
    verdict = plant.store.verdict(versions[-1])
    assert verdict is not None
    assert verdict["adopted"] is True
    living.lifecycle.adopt_if_shifted()  # not again at once, though the shift goes on
    assert plant.store.versions() == versions


def test_a_second_adoption_learns_from_the_beginning_of_the_regime(plant: Plant) -> None:
    living = Living(plant)
    serving = plant.slot.engine.bundle
    created = serving.created.timestamp()
    assert living.lifecycle._adoptable_since() == created
    ledger = {"adopted_since": datetime.fromtimestamp(created - 3600, UTC).isoformat()}
    summary = {**serving.summary, "training_set": ledger}
    plant.slot.engine.bundle = replace(serving, summary=summary)
    assert living.lifecycle._adoptable_since() == created - 3600
    plant.now = created + 86400
    assert living.lifecycle._adoptable_since() == created


def test_a_bent_ruler_is_told_and_retrained_once(plant: Plant) -> None:
    bent = replace(plant.champion, model=_bent(plant.champion))
    config = IsometryDriftConfig(action="retrain", persistence=1, of_checks=1, min_records=50)
    living = Living(plant, DriftConfig(isometry=config))
    plant.see(1000, seed=40)
    plant.slot.engine.bundle = bent
    living.watches.check_ruler()
    news = living.keeper.news()
    assert [type(message) for message in news] == [DriftAlert]
    alert = news[0]
    assert isinstance(alert, DriftAlert)
    assert (alert.kind, alert.status, alert.action) == ("isometry", "started", "retrain")
    assert "ruler bent" in alert.to_text()
    assert b'"type":"drift"' in alert.to_json()
    assert living.keeper.news() == []
    assert plant.trainer.began.is_set()
    tried = plant.metrics().count('reason="drift"')
    living.watches.check_ruler()
    assert plant.metrics().count('reason="drift"') == tried


def _bent(champion: Bundle):
    weights = champion.model.weights.clone()
    weights[0, -weights.shape[1] // 2 :] *= 1.5
    return champion.model.with_weights(weights, champion.model.betas)


def test_the_keeper_hands_a_batch_on(plant: Plant) -> None:
    living = Living(plant)
    engine = plant.slot.engine
    scored = engine.launch(raw([*documents(50), anomaly(50)])).wait()
    anomalous = engine.bundle.threshold.anomalous(scored.nats)
    living.keeper.keep(scored, anomalous, [])
    assert len(plant.window.snapshot()) == int(np.count_nonzero(~anomalous))
    assert len(Decoder(SCHEMA).decode(scored.batch)[0]) == 51
