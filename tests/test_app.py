"""The daemon in a process of its own: its HTTP answers, signals, crashes and restarts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from benchmarks.daemons import Fork, Nursery
from tests.plain import anomaly, config, documents
from vaeiso_monitor import app, settings
from vaeiso_monitor.bundle import Bundle, BundleStore, StoreConfig
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.model import Progress
from vaeiso_monitor.telemetry import State, Status

_PATIENCE_SECONDS = 150.0  # of each wait: on a busy machine a start alone takes a while
COMMAND = [sys.executable, "-m", "vaeiso_monitor"]


def until(holds: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> Any:
    """Poll until ``holds()`` is true, and return it; fail when time is up or the process ended."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := holds():
            return found
        assert process is None or process.poll() is None, "the daemon ended"
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


class Daemon:
    """``vaeiso-monitor run`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes] | Fork, log: Path) -> None:
        self.process = process
        self._log = log
        self._client = httpx.Client(timeout=30)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self._log.read_bytes().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.startswith(b"{") and line[-1:] == b"\n"]
        return [event for event in found if event["event"] == name]

    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, holds: Callable[[], Any]) -> Any:
        return until(holds, self.process)

    def get(self, path: str) -> httpx.Response:
        url = self.wait_for(lambda: self.events("listening"))[0]["url"]
        return self._client.get(url + path)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        url = self.wait_for(lambda: self.events("listening"))[0]["url"]
        return self._client.post(url + path, json=body)

    def status(self) -> dict[str, Any]:
        return self.get("/api/v1/status").json()  # type: ignore[no-any-return]

    def ready(self) -> bool:
        return self.get("/readyz").status_code == 200

    def scored(self) -> int:
        return int(self.status()["records"]["scored"])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE_SECONDS)

    def close(self) -> None:
        self._client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Run(Protocol):
    """Starts a daemon: a fork of one that has loaded everything, or from nothing as users do."""

    def __call__(self, path: Path, *, from_nothing: bool = False) -> Daemon: ...


@pytest.fixture
def run(tmp_path: Path, nursery: Nursery) -> Iterator[Run]:
    """Return a function that starts a daemon; all of them are gone afterwards."""
    daemons: list[Daemon] = []

    def started(path: Path, *, from_nothing: bool = False) -> Daemon:
        log = tmp_path / f"log-{len(daemons)}"
        log.touch()
        words = ["run", str(path)]
        process = _spawned(words, log) if from_nothing else nursery.fork(words, log)
        daemons.append(Daemon(process, log))
        return daemons[-1]

    yield started
    for daemon in daemons:
        daemon.close()


def _spawned(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as errors:
        return subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=errors)


def serve(folder: Path, bundle: Bundle) -> None:
    store = BundleStore(StoreConfig(path=str(folder / "store")))
    store.add(bundle)
    store.promote(bundle.version)


def append(path: Path, lines: list[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


def found(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}\n")]


def keys(folder: Path) -> list[int]:
    return [alert["record_key"] for alert in found(folder / "alerts.jsonl")]


def adds_up(records: dict[str, int]) -> bool:
    return records["received"] == records["scored"] + records["rejected"] + records["waiting"]


@pytest.mark.timeout(600)
def test_a_life_from_cold_start_to_restart(tmp_path: Path, run: Run) -> None:
    records = tmp_path / "records.jsonl"
    append(records, documents(200))
    path = config(tmp_path, records, follow=True)
    daemon = run(path, from_nothing=True)

    # warming up: alive, not ready, and it says how far it is
    daemon.wait_for(lambda: daemon.status()["warm_up"]["rows"] == 200)
    assert daemon.get("/healthz").status_code == 200
    not_ready = daemon.get("/readyz")
    assert not_ready.status_code == 503
    assert "warming up: 200 of 600" in not_ready.text
    status = daemon.status()
    assert status["state"] == "warming_up"
    assert status["records"]["waiting"] == status["records"]["received"] == 200
    assert not (tmp_path / "alerts.jsonl").exists()

    # the rest arrives: it trains, and scores what it held back as well
    append(records, [anomaly(200), *documents(500, seed=1, start=201), b"broken"])
    daemon.wait_for(daemon.ready)
    daemon.wait_for(lambda: daemon.scored() == 701)
    append(records, [anomaly(701)])
    daemon.wait_for(lambda: daemon.scored() == 702)
    status = daemon.status()
    assert status["state"] == "running"
    assert status["records"]["received"] == 703
    assert status["records"]["rejected"] == status["records"]["dead_letters_sent"] == 1
    assert adds_up(status["records"])
    assert status["records"]["waiting"] == 0
    assert status["records"]["anomalies"] == status["records"]["alerts_sent"] == len(keys(tmp_path))
    assert {200, 701} <= set(keys(tmp_path))
    metrics = daemon.get("/metrics").text
    for line in (
        "vaeiso_records_scored_total 702.0",
        'vaeiso_records_rejected_total{reason="not_json"} 1.0',
        "vaeiso_warmup_rows_required 600.0",
    ):
        assert line in metrics

    # SIGTERM: it ends by itself, everything is committed
    assert daemon.end() == 0
    stopped = daemon.events("stopped")[0]
    assert (stopped["received"], stopped["scored"]) == (703, 702)
    before = keys(tmp_path)
    version = daemon.events("serving")[0]["version"]

    # a restart serves at once, from where the first ended
    append(records, [anomaly(702)])
    again = run(path)
    again.wait_for(lambda: again.scored() == 1)
    assert again.ready()
    assert not again.events("cold_start")
    assert again.events("serving")[0]["version"] == version
    assert again.end(signal.SIGINT) == 0
    assert keys(tmp_path) == [*before, 702]


def stream() -> list[bytes]:
    """Return records of which every fifth is anomalous and some are broken."""
    normal = documents(800, seed=7)
    for i in range(0, 800, 5):
        normal[i] = anomaly(i)
    for i in range(3, 800, 50):
        normal[i] = b"broken %d" % i
    return normal


def test_no_alert_is_lost_by_a_kill(tmp_path: Path, run: Run, bundle: Bundle) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    lines = stream()
    for folder in (whole, torn):
        folder.mkdir()
        serve(folder, bundle)
    records = tmp_path / "records.jsonl"
    append(records, lines)
    run_here(config(whole, records, batch_records=7))
    expected = {alert["alert_id"]: alert for alert in found(whole / "alerts.jsonl")}
    assert set(range(0, 800, 5)) <= set(keys(whole))

    # the other one gets the same file piece by piece, and is killed wherever it happens to be
    records.unlink()
    path = config(torn, records, batch_records=7, follow=True)
    daemon = run(path)
    for start in range(0, 400, 40):
        append(records, lines[start : start + 40])
        last_anomaly = start + 35
        daemon.wait_for(lambda due=last_anomaly: due in keys(torn))
    append(records, lines[400:700])
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    append(records, lines[700:])
    last = run(path)
    last.wait_for(lambda: expected.keys() <= {a["alert_id"] for a in found(torn / "alerts.jsonl")})
    assert last.end() == 0
    alerts = found(torn / "alerts.jsonl")
    assert {alert["alert_id"] for alert in alerts} == expected.keys()
    for alert in alerts:
        same = expected[alert["alert_id"]]
        assert alert["record_key"] == same["record_key"]
        assert alert["nats"] == pytest.approx(same["nats"], rel=1e-4)
    letters = [{letter["raw"] for letter in found(f / "dead_letters.jsonl")} for f in (whole, torn)]
    assert letters[0] == letters[1] == {line.decode() for line in lines if line[:1] == b"b"}


def test_a_second_signal_ends_it_at_once(tmp_path: Path, run: Run) -> None:
    records = tmp_path / "records.jsonl"
    append(records, documents(100))
    path = config(tmp_path, records, follow=True)
    # one look for records lasts an hour: only force can end it before
    path.write_text(path.read_text().replace("linger_seconds = 0.05", "linger_seconds = 3600"))
    daemon = run(path)
    daemon.wait_for(lambda: daemon.status()["warm_up"]["rows"] == 100)

    def ended() -> bool:
        daemon.process.send_signal(signal.SIGTERM)
        return daemon.process.poll() is not None

    until(ended)
    assert daemon.process.returncode == -signal.SIGTERM


class Quiet:
    """A reporter that shows nothing, and may act on the first progress of training."""

    def __init__(self, on_training: Callable[[], None] = lambda: None) -> None:
        self._on_training = on_training

    def collecting(self, records: int, required: int) -> None: ...

    def training(self, progress: Progress) -> None:
        self._on_training()

    def finished(self) -> None: ...


def run_here(path: Path, stop: app.Stop | None = None, reporter: Quiet | None = None) -> Status:
    return app.run(settings.load(path), stop or app.Stop(), reporter or Quiet())


def test_a_stop_during_the_first_training_leaves_everything_to_be_read_again(
    tmp_path: Path,
) -> None:
    records = tmp_path / "records.jsonl"
    append(records, documents(700))
    path = config(tmp_path, records)
    stop = app.Stop()
    status = run_here(path, stop, Quiet(stop.wish))
    assert status.model is None
    assert status.records.received == status.records.waiting >= 600
    assert not (tmp_path / "store" / "serving").exists()
    status = run_here(path)
    assert status.model is not None
    assert status.records.received == status.records.scored == 700
    again = run_here(path)
    assert again.records.received == 0


def test_time_ends_it_as_well(tmp_path: Path, bundle: Bundle) -> None:
    serve(tmp_path, bundle)
    records = tmp_path / "records.jsonl"
    append(records, documents(30))
    path = config(tmp_path, records, follow=True)
    status = run_here(path, app.Stop(after_seconds=0.5))
    assert status.records.waiting == 0
    assert status.state is State.DRAINING


def test_without_a_server_it_says_so(tmp_path: Path, bundle: Bundle) -> None:
    serve(tmp_path, bundle)
    records = tmp_path / "records.jsonl"
    append(records, documents(30))
    path = config(tmp_path, records)
    path.write_text(path.read_text().replace("port = 0", "enabled = false"))
    urls: list[str | None] = []
    app.run(settings.load(path), app.Stop(), Quiet(), urls.append)
    assert urls == [None]


def test_what_was_not_delivered_is_not_committed(tmp_path: Path, bundle: Bundle) -> None:
    serve(tmp_path, bundle)
    records = tmp_path / "records.jsonl"
    append(records, [*documents(30), anomaly(30)])
    path = config(tmp_path, records)
    (tmp_path / "alerts.jsonl").mkdir()
    with pytest.raises(TransientError, match="cannot write"):
        run_here(path)
    (tmp_path / "alerts.jsonl").rmdir()
    run_here(path)
    assert 30 in keys(tmp_path)


def test_a_store_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    append(records, documents(700))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "bundles").touch()
    trained: list[bool] = []
    with pytest.raises(ConfigError, match=r"store\.path"):
        run_here(config(tmp_path, records), reporter=Quiet(lambda: trained.append(True)))
    assert not trained


def test_signals_ask_once_and_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = app.Stop()
    with app.stopped_by_signals(stop):
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
