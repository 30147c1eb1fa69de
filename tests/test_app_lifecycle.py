"""A daemon that keeps its model true while it scores, in a process with children of its own."""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from tests.plain import anomaly, config, documents
from tests.test_app import Run, append, found, run, serve
from tests.test_lifecycle_retraining import novice
from vaeiso_monitor.bundle import Bundle, BundleStore, StoreConfig
from vaeiso_monitor.cli import main

__all__ = ["novice", "run"]  # the fixtures

LIFECYCLE = """
[window]
flush_seconds = 0.2

[retrain]
interval_seconds = 86400
min_records = 300
retry_seconds = 3600

[gate]
min_records = 40

[trainer]
niceness = 0

[reload]
interval_seconds = 0.1
"""


def written(folder: Path, extra: str = LIFECYCLE) -> Path:
    records = folder / "records.jsonl"
    records.touch()
    path = config(folder, records, follow=True, extra=extra)
    text = path.read_text()
    path.write_text(text.replace("latent_dim = 2", "latent_dim = 1"))  # with nothing to be skew to
    return path


def stream(start: int, count: int, seed: int) -> list[bytes]:
    """Return records of which every fiftieth is anomalous."""
    lines = documents(count, seed=seed, start=start)
    for i in range(0, count, 50):
        lines[i] = anomaly(start + i)
    return lines


def store(folder: Path) -> BundleStore:
    return BundleStore(StoreConfig(path=str(folder / "store")))


def clean(folder: Path) -> bool:
    """Say whether every bundle is whole and nothing half written is left."""
    left = [p.name for p in (folder / "store").rglob(".*")]
    left += [p.name for p in (folder / "state").glob("training/*")]
    for version in store(folder).versions():
        store(folder).load(version)
    return not left and store(folder).current() is not None


def verb(*words: str) -> str:
    """Run a verb of the command line beside the daemon, and return what it prints."""
    said = io.StringIO()
    with redirect_stdout(said):
        assert main(list(words)) == 0
    return said.getvalue()


@pytest.mark.timeout(600)
def test_it_retrains_and_swaps_while_it_scores(tmp_path: Path, run: Run, novice: Bundle) -> None:
    serve(tmp_path, novice)
    path = written(tmp_path)
    records = tmp_path / "records.jsonl"
    daemon = run(path)
    append(records, stream(0, 3000, seed=3))
    daemon.wait_for(lambda: daemon.scored() == 3000)
    verb("retrain", "-c", str(path))

    written_so_far = 3000

    def more() -> bool:
        nonlocal written_so_far
        if daemon.scored() == written_so_far:
            append(records, stream(written_so_far, 200, seed=written_so_far))
            written_so_far += 200
        return bool(daemon.events("training_ended"))

    daemon.wait_for(more)
    ended = daemon.events("training_ended")[0]
    assert (ended["status"], ended["reason"]) == ("promoted", "request"), daemon.log()
    version = ended["version"]
    assert store(tmp_path).serving() == version
    assert daemon.status()["model"]["version"] == version
    append(records, stream(written_so_far, 400, seed=1))
    written_so_far += 400
    daemon.wait_for(lambda: daemon.scored() == written_so_far)

    # an operator goes back; the daemon follows, and goes on
    assert verb("models", "rollback", "-c", str(path)).startswith(novice.version)
    daemon.wait_for(lambda: daemon.status()["model"]["version"] == novice.version)
    append(records, stream(written_so_far, 400, seed=2))
    written_so_far += 400
    daemon.wait_for(lambda: daemon.scored() == written_so_far)
    metrics = daemon.get("/metrics").text
    assert 'vaeiso_retrains_total{reason="request",status="promoted"} 1.0' in metrics
    assert 'vaeiso_model_swaps_total{status="swapped"} 2.0' in metrics
    assert 'vaeiso_gate_check_passed{check="nats"} 1.0' in metrics
    assert daemon.end() == 0

    alerts = found(tmp_path / "alerts.jsonl")
    seen = Counter(alert["record_key"] for alert in alerts)
    assert set(seen.values()) == {1}
    assert set(range(0, written_so_far, 50)) <= seen.keys()
    assert {alert["model"]["version"] for alert in alerts} == {novice.version, version}
    assert clean(tmp_path)
    shown = json.loads(verb("models", "show", version, "-c", str(path), "--json"))
    assert shown["verdict"]["accepted"] is True
    assert shown["training_set"]["records"] > 1000
    assert "agreement" in verb("models", "show", version, "-c", str(path))
    told = verb("models", "compare", novice.version, version, "-c", str(path))
    assert "accepted" in told


def test_requests_come_over_http_as_well(tmp_path: Path, run: Run, novice: Bundle) -> None:
    serve(tmp_path, novice)
    path = written(tmp_path)
    daemon = run(path)
    append(tmp_path / "records.jsonl", stream(0, 200, seed=3))
    daemon.wait_for(lambda: daemon.ready() and daemon.scored() == 200)
    alert = found(tmp_path / "alerts.jsonl")[0]["alert_id"]
    said = {"alert_id": alert, "verdict": "anomaly"}
    judged = daemon.post("/api/v1/feedback", said)
    assert judged.status_code == 200, judged.text
    assert judged.json()["changed"] is True
    assert daemon.post("/api/v1/feedback", said | {"alert_id": "none"}).status_code == 404
    assert daemon.post("/api/v1/feedback", {"verdict": "perhaps"}).status_code == 422
    refused = daemon.post("/api/v1/retrain", {})
    assert refused.status_code == 409
    assert "retrain.min_records" in refused.json()["detail"]
    daemon.wait_for(lambda: daemon.events("training_skipped"))
    assert "retrain.min_records" in daemon.events("training_skipped")[0]["because"]
    assert daemon.end() == 0


def test_a_restart_resumes_the_schedule(tmp_path: Path, run: Run, novice: Bundle) -> None:
    serve(tmp_path, novice)
    path = written(tmp_path)
    for _ in range(2):
        daemon = run(path)
        daemon.wait_for(daemon.ready)
        due = daemon.wait_for(lambda d=daemon: d.status()["retrain"]["next_at"])
        expected = np.datetime64(novice.created.replace(tzinfo=None)) + np.timedelta64(86400, "s")
        assert np.datetime64(due.partition("+")[0]) == expected
        assert daemon.end() == 0
        assert not daemon.events("training_started")


def test_a_second_daemon_on_the_same_folder_is_refused(
    tmp_path: Path, run: Run, novice: Bundle
) -> None:
    serve(tmp_path, novice)
    path = written(tmp_path)
    first = run(path)
    first.wait_for(first.ready)
    second = run(path)
    assert second.process.wait(60) == 2
    assert "in use by another daemon" in second.log()
    assert first.end() == 0


def test_a_changed_config_is_taken_up(tmp_path: Path, run: Run, novice: Bundle) -> None:
    serve(tmp_path, novice)
    path = written(tmp_path)
    good = path.read_text()
    daemon = run(path)
    daemon.wait_for(daemon.ready)
    before = daemon.wait_for(lambda: daemon.status()["retrain"]["next_at"])

    path.write_text(good.replace("interval_seconds = 86400", "interval_seconds = -1"))
    daemon.wait_for(lambda: daemon.events("config_refused"))
    assert "retrain.interval_seconds" in daemon.events("config_refused")[0]["error"]
    assert daemon.status()["retrain"]["next_at"] == before

    changed = good.replace("interval_seconds = 86400", "interval_seconds = 90000")
    path.write_text(changed.replace("batch_records = 256", "batch_records = 128"))
    daemon.wait_for(lambda: daemon.events("config_reloaded"))
    event = daemon.events("config_reloaded")[0]
    assert (event["applied"], event["need_a_restart"]) == (["retrain"], ["pipeline"])
    assert daemon.status()["retrain"]["next_at"] != before
    metrics = daemon.get("/metrics").text
    for line in (
        'vaeiso_config_reloads_total{status="applied"} 1.0',
        'vaeiso_config_reloads_total{status="refused"} 1.0',
        "vaeiso_config_restart_needed 1.0",
        "vaeiso_config_last_reload_successful 1.0",
    ):
        assert line in metrics
    path.write_text(good)
    daemon.wait_for(lambda: "vaeiso_config_restart_needed 0.0" in daemon.get("/metrics").text)
    assert daemon.end() == 0
