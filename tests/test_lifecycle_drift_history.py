import json

import pytest

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import DriftHistory


def check(at, version="v1", departed=(), drifted=()):
    return {
        "at": at,
        "version": version,
        "departed": list(departed),
        "drifted": list(drifted),
        "figures": {"nats": 1.5},
    }


def test_checks_are_kept_by_kind_and_version_and_survive(tmp_path):
    path = tmp_path / "deep" / "drift.json"
    history = DriftHistory(path)
    history.keep("isometry", check(1.0))
    history.keep("isometry", check(2.0, "v2"))
    history.keep("inputs", check(3.0, departed=["flow"]))
    again = DriftHistory(path)
    assert again.checks("isometry") == [check(1.0), check(2.0, "v2")]
    assert again.checks("isometry", "v2") == [check(2.0, "v2")]
    assert again.checks("inputs") == [check(3.0, departed=["flow"])]
    assert [p.name for p in path.parent.iterdir()] == ["drift.json"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    DriftHistory(tmp_path / "drift.json").keep("inputs", check(1.0))
    (tmp_path / ".drift.json-0f").write_bytes(b"{")
    assert DriftHistory(tmp_path / "drift.json").checks("inputs") == [check(1.0)]
    assert [p.name for p in tmp_path.iterdir()] == ["drift.json"]


def test_the_history_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("vaeiso_monitor.lifecycle.drift_history.write_whole", lambda *_: None)
    history = DriftHistory(tmp_path / "drift.json")
    monkeypatch.setattr("vaeiso_monitor.lifecycle.drift_history._KEPT", 50)
    for i in range(60):
        history.keep("inputs", check(float(i), departed=[f"f{j}" for j in range(300)]))
    kept = history.checks("inputs")
    assert [each["at"] for each in kept] == list(range(10, 60))
    assert all(len(each["departed"]) == 100 for each in kept)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"checks": 1}',
        b'{"checks": {"inputs": [{"at": "x"}]}}',
        b'{"checks": {"inputs": [1]}}',
        b"\xff\xfe",
        json.dumps({"checks": {"isometry": [check(1.0) | {"departed": "no"}]}}).encode(),
    ],
)
def test_a_damaged_file_is_set_aside(tmp_path, content):
    path = tmp_path / "drift.json"
    path.write_bytes(content)
    history = DriftHistory(path)
    assert history.checks("inputs") == history.checks("isometry") == []
    assert (tmp_path / "drift.json.damaged").read_bytes() == content
    history.keep("inputs", check(1.0))
    assert DriftHistory(path).checks("inputs") == [check(1.0)]


def test_a_folder_that_cannot_be_written_names_the_key(tmp_path):
    (tmp_path / "taken").write_text("a file")
    history = DriftHistory(tmp_path / "drift.json")
    history._path = tmp_path / "taken" / "drift.json"
    with pytest.raises(ConfigError, match=r"lifecycle\.path"):
        history.keep("inputs", check(1.0))
