"""The daemon as a child process on a real broker: kill -9, restart, nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from benchmarks.daemons import Fork, Nursery
from tests.brokers import Broker, free_port, wait_until
from tests.plain import anomaly, documents
from vaeiso_monitor.bundle import Bundle, BundleStore, StoreConfig
from vaeiso_monitor.records import write_schema_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kafka

RECORDS = 12_000
EVERY = 40  # one record in so many is an anomaly
_PATIENCE_SECONDS = 180.0  # of each wait: on a busy machine a start alone takes a while

CONFIG = """
[source]
type = "kafka"
bootstrap_servers = ["{address}"]
topics = ["{topic}"]
group_id = "{group}"
auto_offset_reset = "earliest"
session_timeout_seconds = {session}
heartbeat_interval_seconds = 0.5
commit_interval_seconds = 0.1
[pipeline]
batch_records = 50
[threshold]
alert_budget = 0.02
[store]
path = "{folder}/store"

[lifecycle]
path = "{folder}/{group}-state"
[[alerts.sinks]]
type = "file"
path = "{folder}/{group}.jsonl"
[[dead_letters.sinks]]
type = "file"
path = "{folder}/{group}-dead.jsonl"
[server]
port = {port}
{schema}
"""


class Daemon:
    """One group of the daemon: its config, its alert file, and how to run it."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        topic: str,
        group: str,
        bundle: Bundle,
        nursery: Nursery | None = None,
    ) -> None:
        self._nursery = nursery
        self.alert_file = folder / f"{group}.jsonl"
        self._config = folder / f"{group}.toml"
        self._log = folder / f"{group}.log"
        self._port = free_port()
        self._config.write_text(
            CONFIG.format(
                port=self._port,
                address=broker.address,
                topic=topic,
                group=group,
                session=6,
                folder=folder,
                schema=write_schema_toml(bundle.schema),
            )
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes] | Fork]:
        self._log.touch()
        process = self._started(["run", str(self._config)])
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _started(self, words: list[str]) -> subprocess.Popen[bytes] | Fork:
        """Start it as a fork of what has loaded everything, or from nothing without a nursery."""
        if self._nursery is not None:
            return self._nursery.fork(words, self._log)
        with self._log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "vaeiso_monitor", *words], stderr=log)

    def scored(self) -> int:
        """Return how many records the running daemon says it has scored."""
        try:
            status = httpx.get(f"http://127.0.0.1:{self._port}/api/v1/status").json()
        except httpx.TransportError:
            return 0
        return status["records"]["scored"]

    def alerts(self) -> list[dict]:
        if not self.alert_file.exists():
            return []
        lines = self.alert_file.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def ids(self) -> set[str]:
        return {alert["alert_id"] for alert in self.alerts()}

    def kill_after(self, count: int) -> None:
        """Run until more than ``count`` alerts are there, then kill -9."""
        with self.running() as process:
            wait_until(lambda: len(self.ids()) > count, _PATIENCE_SECONDS, f"{count} alerts")
            process.send_signal(signal.SIGKILL)
            process.wait()

    def run_until(self, count: int, what: str) -> None:
        """Run until ``count`` different alerts are there, then stop as an operator would."""
        with self.running() as process:
            wait_until(
                lambda: len(self.ids()) >= count or process.poll() is not None,
                _PATIENCE_SECONDS,
                what,
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE_SECONDS) == 0, self._log.read_text()[-3000:]


@pytest.fixture(scope="module")
def topic(broker: Broker) -> str:
    name = broker.topic(4)
    records: list[bytes | None] = list(documents(RECORDS, seed=21))
    for row in range(0, RECORDS, EVERY):
        records[row] = anomaly(row)
    broker.produce(name, records)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    path = tmp_path_factory.mktemp("daemon")
    store = BundleStore(StoreConfig(str(path / "store")))
    store.add(bundle)
    store.promote(bundle.version)
    return path


@pytest.mark.timeout(600)
def test_kill_9_loses_no_alert_and_repeats_carry_their_id(
    broker: Broker, topic: str, folder: Path, bundle: Bundle, nursery: Nursery
) -> None:
    whole = Daemon(folder, broker, topic, "whole", bundle)
    with whole.running() as process:
        wait_until(lambda: whole.scored() == RECORDS, _PATIENCE_SECONDS, "everything is scored")
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_SECONDS) == 0
    expected = whole.ids()
    assert len(expected) == len(whole.alerts())  # without a crash nothing is repeated
    assert set(range(0, RECORDS, EVERY)) <= {alert["record_key"] for alert in whole.alerts()}

    broken = Daemon(folder, broker, topic, "broken", bundle, nursery)
    for share in (0.1, 0.4):
        broken.kill_after(int(share * len(expected)))
        assert broken.ids() <= expected
    broken.run_until(len(expected), "the rest after two crashes")

    assert broken.ids() == expected
    by_id = {alert["alert_id"]: alert for alert in whole.alerts()}
    for alert in broken.alerts():  # repeats, too, are the same alerts
        same = by_id[alert["alert_id"]]
        assert (alert["record_key"], alert["source"]) == (same["record_key"], same["source"])
        assert alert["nats"] == pytest.approx(same["nats"], rel=1e-4)
