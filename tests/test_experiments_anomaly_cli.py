"""The verb ``reproduce anomaly``, run as a user runs it."""

import json

import numpy as np
import pytest

from vaeiso_monitor.cli import main

pytest.importorskip("sklearn")


@pytest.fixture
def brief(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = (np.arange(160) % 20 == 0).astype(np.int8)
    x = rng.normal(size=(160, 4)) + 5 * y[:, None]
    np.savez(tmp_path / "thyroid.npz", X=x.astype(np.float32), y=y)
    monkeypatch.setenv("VAEISO_DATA", str(tmp_path))
    words = ["reproduce", "anomaly", "--dataset", "thyroid", "--seeds", "2"]
    return [*words, "-o", str(tmp_path / "out")]


def test_it_prints_the_table_and_says_where_it_is(brief, tmp_path, capsys):
    assert main([*brief, "--methods", "mahalanobis, k-nn"]) == 0
    shown = capsys.readouterr().out
    assert "mahalanobis" in shown
    assert "results.jsonl" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.jsonl",
        "anomaly.json",
        "anomaly.md",
        "anomaly.png",
    }


def test_it_writes_json_for_machines(brief, capsys):
    assert main([*brief, "--methods", "mahalanobis", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["protocol"] == "Z"
    assert [(row["method"], row["seeds"]) for row in document["table"]] == [("mahalanobis", 2)]
    assert document["table"][0]["auroc"] > 0.99


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--methods", "gan"], 'no method "gan"'),
        (["--dataset", "iris"], 'no data set "iris"'),
        (["--device", "tpu"], "--device"),
    ],
)
def test_what_is_wrong_with_a_call_is_said_in_a_sentence(brief, wrong, words, capsys):
    assert main([*brief, *wrong]) == 2
    assert words in capsys.readouterr().err
