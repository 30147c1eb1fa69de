"""The process that trains: bounded, and gone without a trace however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.daemons import trainers, until
from tests.plain import RECIPE, SCHEMA, documents, raw
from vaeiso_monitor.lifecycle import (
    ChildTrainer,
    Effort,
    LocalTrainer,
    TrainerConfig,
    TrainingFailed,
    TrainingSet,
)
from vaeiso_monitor.lifecycle.training_set import load_records, save_records
from vaeiso_monitor.model import TrainingConfig
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.types import Records

NOW = 1_800_000_000.0
ENDLESS = replace(RECIPE, training=TrainingConfig(max_steps=100_000_000, patience=1.0))


@pytest.fixture(scope="module")
def records() -> Records:
    return Decoder(SCHEMA).decode(raw(list(documents(800))))[0]


def trainer(folder: Path, config: TrainerConfig | None = None) -> ChildTrainer:
    return ChildTrainer(config or TrainerConfig(), SCHEMA, folder / "training", lambda: NOW)


def left_in(folder: Path) -> list[Path]:
    return list((folder / "training").iterdir())


def test_a_training_set_comes_back_as_it_was(tmp_path: Path) -> None:
    numbers = np.array([[1.5, np.nan], [-0.0, 3e300]])
    given = Records(numbers, [["a", None], ["", "ü"]], np.arange(2, dtype=np.int64))
    save_records(given, tmp_path / "records.arrow")
    found = load_records(tmp_path / "records.arrow")
    np.testing.assert_array_equal(found.numbers, numbers)
    assert found.categories == [["a", None], ["", "ü"]]
    assert found.rows.tolist() == [0, 1]


def test_the_child_trains_what_would_be_trained_here(tmp_path: Path, records: Records) -> None:
    efforts: list[Effort] = []
    given = TrainingSet(records, {"which": "normal"})
    bundle = trainer(tmp_path).train(given, RECIPE, report=efforts.append, stop=lambda: False)
    assert bundle.summary["training_set"] == {"which": "normal"}
    assert bundle.created.timestamp() == NOW
    assert max(effort.memory_bytes for effort in efforts) > 50_000_000
    assert left_in(tmp_path) == []
    here = LocalTrainer(SCHEMA, lambda: NOW).train(
        given, RECIPE, report=efforts.append, stop=lambda: False
    )
    np.testing.assert_array_equal(here.model.weights.numpy(), bundle.model.weights.numpy())


@pytest.mark.usefixtures("unmeasured")
def test_a_deadline_a_memory_cap_and_a_stop_end_it(tmp_path: Path, records: Records) -> None:
    for config, stop, words in (
        (TrainerConfig(deadline_seconds=0.5), False, "longer than trainer.deadline_seconds = 0.5"),
        (TrainerConfig(memory_limit_bytes=100_000_000), False, "trainer.memory_limit_bytes"),
        (TrainerConfig(), True, "stopped"),
    ):
        with pytest.raises(TrainingFailed, match=words):
            trainer(tmp_path, config).train(
                TrainingSet(records), ENDLESS, report=lambda _: None, stop=lambda stop=stop: stop
            )
        assert left_in(tmp_path) == []


def test_records_that_cannot_be_trained_on_are_told(tmp_path: Path, records: Records) -> None:
    same = Records(np.ones_like(records.numbers), [["a"] * len(records)], records.rows)
    for each in (trainer(tmp_path), LocalTrainer(SCHEMA)):
        with pytest.raises(TrainingFailed, match="cannot be trained on: no column varies"):
            each.train(TrainingSet(same), RECIPE, report=lambda _: None, stop=lambda: False)
    assert left_in(tmp_path) == []


@pytest.mark.usefixtures("unmeasured")
def test_a_child_that_is_killed_is_told_and_leaves_nothing(
    tmp_path: Path, records: Records
) -> None:
    """At whatever moment: between its start and its first steps."""
    me = os.getpid()
    for delay in np.random.default_rng(4).uniform(0.0, 4.0, size=3):
        killer = threading.Timer(delay, lambda: [os.kill(p, signal.SIGKILL) for p in trainers(me)])
        killer.start()
        with pytest.raises(TrainingFailed, match="killed by signal 9"):
            trainer(tmp_path).train(
                TrainingSet(records), ENDLESS, report=lambda _: None, stop=lambda: False
            )
        killer.join()
        assert left_in(tmp_path) == []


_PARENT = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.plain import RECIPE, SCHEMA, documents, raw
from vaeiso_monitor.lifecycle import ChildTrainer, TrainerConfig, TrainingSet
from vaeiso_monitor.model import TrainingConfig
from vaeiso_monitor.records import Decoder

ENDLESS = replace(RECIPE, training=TrainingConfig(max_steps=100_000_000, patience=1.0))
records = Decoder(SCHEMA).decode(raw(list(documents(300))))[0]
trainer = ChildTrainer(TrainerConfig(), SCHEMA, Path(sys.argv[1]) / "training")
trainer.train(TrainingSet(records), ENDLESS, report=lambda _: None, stop=lambda: False)
"""


@pytest.mark.usefixtures("unmeasured")
def test_the_child_goes_with_its_parent_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)]) as parent:
        try:
            child = until(lambda: trainers(parent.pid), "it trains")[0]
            begun = tmp_path / "training"
            until(lambda: any(begun.glob("*/errors.log")), "the training begins")
        finally:
            parent.kill()
    until(lambda: not Path(f"/proc/{child}/exe").exists(), "the child goes")
    assert left_in(tmp_path)
    trainer(tmp_path).clean()
    assert not (tmp_path / "training").exists()
