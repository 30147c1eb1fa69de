"""The daemon as in a container: process 1 on a read-only root file system, without a HOME."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.boxes import boxed
from tests.brokers import wait_until
from tests.plain import anomaly, config, documents

PROGRAM = [sys.executable, "-m", "vaeiso_monitor"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder as it is in the box: records, and a config that names them as seen there."""
    lines = [*documents(800), anomaly(800), *documents(200, seed=1, start=801)]
    (tmp_path / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    path = config(
        tmp_path, tmp_path / "records.jsonl", follow=True, extra="[retrain]\nmin_records = 500\n"
    )
    path.write_text(path.read_text().replace(str(tmp_path), "/run/box"))
    return tmp_path


def written_outside(words):
    """Return what a program in the box may not do."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


def test_the_box_is_one(folder):
    assert "Read-only file system" in written_outside(boxed(folder, "/usr/bin/touch", "/etc/mine"))
    script = "import os; print(os.getpid(), 'HOME' in os.environ)"
    words = boxed(folder, sys.executable, "-c", script)
    assert subprocess.check_output(words, text=True).split() == ["1", "False"]


def events(log, name):
    lines = [json.loads(line) for line in log.read_bytes().splitlines() if line.startswith(b"{")]
    return [line for line in lines if line["event"] == name]


def scored(client):
    return client.get("/api/v1/status").json()["records"]["scored"]


def inner(process):
    """Return the process in the box: the only child of unshare."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(children.read_text().split()[0])


def test_a_life_in_a_box(folder):
    log = folder / "log"
    with log.open("wb") as errors:
        words = boxed(folder, *PROGRAM, "run", "config.toml")
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        wait_until(lambda: events(log, "listening"), 90, "it to listen")
        with httpx.Client(base_url=events(log, "listening")[0]["url"]) as client:
            wait_until(lambda: scored(client) == 1001, 60, "all records to be scored")
            assert client.get("/readyz").status_code == 200
            # a child trains there too, and leaves nothing behind
            assert client.post("/api/v1/retrain", json={}).status_code in (202, 409)
            wait_until(lambda: events(log, "training_ended"), 60, "the training to end")
        os.kill(inner(process), signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert events(log, "stopped")[0]["scored"] == 1001
    (alert, *_) = [
        each
        for each in map(json.loads, (folder / "alerts.jsonl").read_bytes().splitlines())
        if each["record_key"] == 800
    ]
    assert alert["severity"] == "critical"
    assert not [line for line in events(log, "training_ended") if line["status"] == "failed"]
    assert all(line.startswith(b"{") for line in log.read_bytes().splitlines())
