"""What a candidate learns from where a regime is adopted: not from what stands out even there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.plain import SCHEMA, documents, raw
from vaeiso_monitor.lifecycle import GateConfig, Window, WindowConfig
from vaeiso_monitor.lifecycle.evidence import gathered, standing_out
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.types import Records

NONE = Decoder(SCHEMA).decode(raw([]))[0]


class Alerts:
    """An alert history, which remembers what it was asked; of itself it has no alerts."""

    def __init__(
        self,
        records: Records = NONE,
        seen: Sequence[float] = (),
        nats: Sequence[float] = (),
    ) -> None:
        self.records = records
        self.seen, self.nats = np.array(seen, np.float64), np.array(nats, np.float64)
        self.asked: list[float | None] = []

    def recent_rows(
        self, limit: int, before: float | None = None, severity: str | None = None
    ) -> Alerts:
        assert (limit, severity) == (500, "critical")
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
    assert ledger["adopted_since"] == "2025-06-15T15:05:40+00:00"
    assert 10 <= left_out <= 20  # some may be held out for the gate
    assert len(material.given.records) == 1000 - left_out - ledger["held_out_for_the_gate"]
    assert sorted(alerts.asked, key=str) == [now - 60, None]
    assert material.evidence.earlier is not None
    window.close()


def seen_by(tmp_path: Path, lines: Sequence[bytes], anomalous: Sequence[bool]) -> Window:
    """Return a window of 10 rows, with a sample of all, that saw these records at once."""
    window = Window(WindowConfig(max_rows=100), SCHEMA, tmp_path, lambda: 1_750_000_000.0, seed=0)
    records, _ = Decoder(SCHEMA).decode(raw(list(lines)))
    window.keep(records, np.full(len(records), 10.0), np.array(anomalous))
    return window


def test_what_alerted_once_and_is_normal_now_is_learned_from(tmp_path: Path) -> None:
    lines = documents(200)
    window = seen_by(tmp_path, lines, [i < 60 for i in range(200)])

    def normal_now(records: Records) -> NDArray[np.bool_]:
        assert len(records) == 60
        return np.arange(60) < 40

    gate = GateConfig(min_records=10)
    before = gathered(window, Alerts(), gate, champion_since=0.0)
    after = gathered(window, Alerts(), gate, champion_since=0.0, normal_now=normal_now)
    assert before.given.ledger["records"] == 140
    assert after.given.ledger["records"] == 180
    assert after.given.ledger["normal_since"] == after.evidence.over_line == 40
    held = after.given.ledger["held_out_for_the_gate"]
    assert len(after.given.records) + held == 180
    window.close()


def test_the_sample_adds_to_the_window_what_it_has_not(tmp_path: Path) -> None:
    window = seen_by(tmp_path, documents(400), [False] * 400)
    ledger = gathered(window, Alerts(), GateConfig(), champion_since=0.0).given.ledger
    kept = len(window.snapshot())
    assert kept <= 100
    assert ledger["records"] == 400
    assert ledger["sampled"] == 400 - kept
    window.close()


def test_alerts_that_cost_no_more_than_what_is_beside_them_do_not_count(tmp_path: Path) -> None:
    now = 1_750_000_000.0
    window = Window(WindowConfig(), SCHEMA, tmp_path, lambda: now)
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(300))))
    usual = 40 + np.random.default_rng(1).standard_normal(300)  # over a line that is out of date
    window.keep(records, usual, np.ones(300, bool))
    few, _ = Decoder(SCHEMA).decode(raw(list(documents(5, seed=3))))
    nats = [42.0, 60.0, np.nan, np.inf, 42.0]
    # nobody remembers the time of the last one
    alerts = Alerts(few, [now + 1] * 4 + [now - 9e5], nats)
    found = gathered(window, alerts, GateConfig(), champion_since=0.0).evidence.alerted
    assert found.numbers.tolist() == few.numbers[1:].tolist()
    window.close()
