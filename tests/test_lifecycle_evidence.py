"""What a candidate learns from where a regime is adopted: not from what stands out even there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.plain import SCHEMA, documents, raw
from vaeiso_monitor.lifecycle import GateConfig, Window, WindowConfig
from vaeiso_monitor.lifecycle.evidence import gathered, standing_out
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.types import Records

NONE = Decoder(SCHEMA).decode(raw([]))[0]


class Alerts:
    """An alert history without alerts, which remembers what it was asked."""

    def __init__(self) -> None:
        self.records: Records = NONE
        self.asked: list[float | None] = []

    def recent_rows(self, limit: int, before: float | None = None) -> Alerts:
        assert limit > 0
        self.asked.append(before)
        return self


def test_few_that_cost_far_more_than_their_neighbours_stand_out():
    rng = np.random.default_rng(0)
    level = np.repeat([100.0, 5000.0, 20.0], 400)  # another model, or another hour of the day
    nats = level + 3 * rng.standard_normal(1200)
    assert standing_out(nats).sum() == 0
    nats[[40, 41, 42, 600, 1100]] += [60, 60, 60, 60, 200]
    assert np.flatnonzero(standing_out(nats)).tolist() == [40, 41, 42, 600, 1100]
    assert standing_out(nats[:0]).tolist() == []


def test_a_regime_is_adopted_without_its_faults_and_held_to_the_alerts_before(tmp_path: Path):
    now = 1_750_000_000.0
    window = Window(WindowConfig(), SCHEMA, tmp_path, lambda: now)
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(1000))))
    nats = 100 + np.random.default_rng(1).standard_normal(1000)
    nats[300:320] += 50
    window.keep(records, nats, np.ones(1000, bool))
    alerts = Alerts()
    gate = GateConfig(min_records=40)
    material = gathered(window, alerts, gate, champion_since=0.0, adopt_since=now - 60)
    ledger = material.given.ledger
    left_out = ledger["left_out_standing_out"]
    assert 10 <= left_out <= 20  # some may be held out for the gate
    assert len(material.given.records) == 1000 - left_out - ledger["held_out_for_the_gate"]
    assert alerts.asked == [None, now - 60]
    assert material.evidence.earlier is not None
    window.close()
