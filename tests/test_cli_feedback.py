"""The verb ``feedback``."""

from __future__ import annotations

import pytest

from tests.plain import config
from tests.test_lifecycle_history import SCHEMA, add
from vaeiso_monitor.cli import main
from vaeiso_monitor.lifecycle import AlertHistory, HistoryConfig, Spool


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Return a function that calls the verb with a config whose lifecycle is in tmp_path."""
    path = config(tmp_path, tmp_path / "records.jsonl")
    monkeypatch.setenv("VAEISO_LIFECYCLE__PATH", str(tmp_path / "state"))
    return lambda *words: main(["feedback", *words, "--config", str(path)])


@pytest.fixture
def state(tmp_path):
    history = AlertHistory(HistoryConfig(), SCHEMA, tmp_path / "state")
    add(history, 0xABC << 116, 0xABD << 116, 5)
    history.close()
    return tmp_path / "state"


def requests(state):
    return Spool(state / "requests").pending()


def test_leaves_a_request_for_the_daemon(told, state, capsys):
    assert told("abc", "--normal", "--note", "pump test") == 0
    (request,) = requests(state)
    assert request.kind == "feedback"
    whole = "abc" + "0" * 29
    assert request.body == {"alert_id": whole, "verdict": "normal", "note": "pump test"}
    assert f"alert {whole} is called normal" in capsys.readouterr().out
    assert told(whole, "--anomaly") == 0
    assert requests(state)[-1].body["verdict"] == "anomaly"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["abc"], "either --normal or --anomaly"),
        (["abc", "--normal", "--anomaly"], "either --normal or --anomaly"),
        (["cafe", "--normal"], "no alert begins with 'cafe'"),
        (["ab", "--normal"], "several alerts begin with 'ab'"),
        (["abc", "--normal", "--note", "n" * 3000], "note is a text of at most"),
    ],
)
def test_a_wrong_call_leaves_nothing(told, state, capsys, words, error):
    assert told(*words) == 2
    assert error in capsys.readouterr().err
    assert requests(state) == []


def test_without_a_history_the_id_is_taken_as_it_is(told, tmp_path, capsys):
    assert told("cafe", "--anomaly") == 0
    assert requests(tmp_path / "state")[0].body["alert_id"] == "cafe"
    assert "the id was not looked up" in capsys.readouterr().out
