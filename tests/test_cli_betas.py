"""The curve over beta as ``train`` and ``models show`` tell it."""

import json
from dataclasses import replace

import pytest

from tests.plain import RECIPE, SCHEMA, config, documents, raw
from vaeiso_monitor.bundle import BundleStore, StoreConfig, beta_curve
from vaeiso_monitor.cli import main
from vaeiso_monitor.cli.betas import beta_table, training_in_words
from vaeiso_monitor.detector import train
from vaeiso_monitor.records import Decoder


def training(*nats, winner=0, **more):
    betas = [0.3, 0.01, 0.1]
    members = [
        {"beta": beta, "held_out_nats": value, "best_step": 10, "stopped": "behind"}
        for beta, value in zip(betas, nats, strict=True)
    ]
    report = {"members": members, "winner": winner, "steps": 1200, "seconds": 3.4}
    return {**report, "stopped": "converged", "held_out_rows": 70, "folds": 1, **more}


def test_the_curve_is_in_the_order_of_beta():
    curve = beta_curve(training(4.0, 6.0, 3.5, winner=2))
    assert [row["beta"] for row in curve] == [0.01, 0.1, 0.3]
    assert [row["held_out_nats"] for row in curve] == [6.0, 3.5, 4.0]
    assert [row["winner"] for row in curve] == [False, True, False]


def test_a_bar_is_as_long_as_a_beta_is_far_from_the_best():
    table = dict(beta_table(beta_curve(training(4.0, 8.0, 2.0, winner=2))))
    bars = {name: words.count("█") for name, words in table.items()}
    assert bars == {"beta 0.01": 20, "beta 0.1": 1, "beta 0.3": 7}
    assert table["beta 0.1"].endswith("<- kept")
    assert "given up" in table["beta 0.3"]


@pytest.mark.parametrize("nats", [(None, 1.0, 2.0), (None, None, None)])
def test_a_member_that_diverged_is_told(nats):
    table = dict(beta_table(beta_curve(training(*nats, winner=1))))
    assert "diverged" in table["beta 0.3"]


def test_one_beta_needs_no_bar():
    single = training(4.0, 8.0, 2.0)
    single["members"] = single["members"][:1]
    ((name, words),) = beta_table(beta_curve(single))
    assert (name, words) == ("beta 0.3", "judged      4.00 nats  <- kept")


def test_how_training_ended_is_told():
    words = training_in_words(training(1.0, 2.0, 3.0))
    assert words == (
        "1,200 steps in 3 s: a further round gained nothing; judged on 70 held-out records"
    )
    words = training_in_words(training(1.0, 2.0, 3.0, folds=5, stopped="time_budget"))
    assert words.endswith("budget was over; each of 70 records held out of one of 5 folds")


@pytest.fixture(scope="module")
def few():
    """A bundle of few records, for which two betas raced."""
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(45))))
    model = replace(RECIPE.model, beta="auto", betas=(0.1, 30.0))
    return train(records, SCHEMA, replace(RECIPE, model=model))


@pytest.fixture
def place(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = BundleStore(StoreConfig(str(tmp_path / "store")))
    store.add(few)
    return str(config(tmp_path, tmp_path / "records.jsonl"))


def test_models_show_has_the_curve_and_draws_it(place, few, capsys, tmp_path):
    picture = tmp_path / "plots" / "betas.png"
    assert main(["models", "show", few.version, "-c", place, "--plot", str(picture)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "beta 30 " in shown
    assert "<- kept" in shown
    assert "45 records are too few for" in shown
    assert "of one of 5 folds" in shown
    assert main(["models", "show", few.version, "-c", place, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [row["beta"] for row in table["beta_curve"]] == [0.1, 30.0]
    assert [row["winner"] for row in table["beta_curve"]] == [True, False]
    assert len(table["training"]["members"][0]["curve"]) > 10


def test_a_picture_that_cannot_be_written_is_an_error(place, few, capsys, tmp_path):
    (tmp_path / "taken").write_text("a file")
    path = str(tmp_path / "taken" / "betas.png")
    assert main(["models", "show", few.version, "-c", place, "--plot", path]) != 0
    assert "cannot be written" in capsys.readouterr().err


def test_train_tells_what_it_did(place, capsys, tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b"\n".join(documents(45)) + b"\n")
    assert main(["train", place]) == 0
    said = capsys.readouterr().out
    assert "45 records, beta 0.1, judged" in said
    assert "each of 45 records held out of one of 5 folds" in said
    assert "45 records are too few for" in said
