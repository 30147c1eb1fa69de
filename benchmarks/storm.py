"""A storm of faults, watched as an operator would: which alert rules fire, which resolve, and when.

A real Prometheus scrapes a real daemon that follows a file, with the rules that `vaeiso-monitor
rules` writes for its config, and a real Alertmanager. Things are done to the daemon one after the
other: a third of the records become faulty, the webhook that takes the alerts refuses, the producer
sends garbage, the daemon is killed, the producer falls silent. Each must raise its rules and no
others, and each rule must resolve once the cause is gone.

    python -m benchmarks.storm --out out/storm

The waiting times and windows of the rules are divided by --speed (60: hours become minutes), which
`vaeiso-monitor rules --speed` does and says on every alert. At that speed a scrape every two
seconds is like one every two minutes: this tells that the right rule fires, not how soon it does.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.daemons import Daemon, Nursery
from benchmarks.storm_plant import Producer, Receiver
from benchmarks.storm_watch import Act, Watch, report
from tests.monitors import Alertmanager, Prometheus, free_port
from vaeiso_monitor.sources.plant import PLANT_SCHEMA

HISTORY = 20_000
RATE = 150
ACTS = (
    Act(
        "storm",
        "a third of the records become faulty",
        frozenset({"HighAnomalyRate", "RegimeShift", "AlertRateAboveBudget"}),
        lasts_on=frozenset({"AlertRateAboveBudget"}),
        says=frozenset({"VaeisoAnomaly", "VaeisoRegimeShift"}),
    ),
    Act(
        "refusal",
        "faults again, and the webhook refuses the alerts",
        frozenset({"HighWriteErrorRate"}),
        may=frozenset({"HighAnomalyRate"}),  # when what has waited is scored at last
    ),
    Act("garbage", "a tenth of the lines are no JSON", frozenset({"DeadLettersArriving"})),
    Act("kill", "the daemon is killed", frozenset({"ServiceDown"})),
    Act("silence", "the producer sends nothing", frozenset({"NoRecordsArriving"})),
)

CONFIG = """\
[source]
type = "file"
path = "{folder}/records.jsonl"
position_file = "{folder}/position.json"
follow = true
poll_interval_seconds = 0.1

[cold_start]
min_records = {history}

[training]
max_steps = 1500
held_out = "blocks"
held_out_share = 0.25

[threshold]
alert_budget = 0.005

[regime]
interval_seconds = 4

[store]
path = "{folder}/store"

[lifecycle]
path = "{folder}/state"

[alerts]
cooldown_seconds = 2
summary_seconds = 2

[[alerts.sinks]]
type = "file"
path = "{folder}/alerts.jsonl"

[[alerts.sinks]]
type = "webhook"
url = "{webhook}"

[[alerts.sinks]]
type = "alertmanager"
urls = ["{alertmanager}"]
resend_seconds = 5

[[dead_letters.sinks]]
type = "file"
path = "{folder}/dead_letters.jsonl"

[server]
port = {port}

[log]
format = "json"

{schema}"""


class Station:
    """The plant, the daemon and what watches them, each with a way to be disturbed."""

    def __init__(self, folder: Path, speed: float, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.producer = Producer(folder / "records.jsonl", HISTORY, RATE)
        self.receiver = stack.enter_context(closing(Receiver()))
        self._config = folder / "config.toml"
        self._port = free_port()
        self._alertmanager = Alertmanager(folder / "alertmanager")
        stack.enter_context(closing(self._alertmanager))
        self._write_config()
        self.watch = self._watch(speed)
        self._nursery = stack.enter_context(closing(Nursery()))
        self.daemon = self._start()
        stack.callback(self._end)

    def begin(self) -> None:
        """Let the daemon train and the producer send, and wait until nothing fires any more."""
        self.daemon.wait_for(self.daemon.ready, "the first model serves")
        self.producer.start()
        self._stack.callback(self.producer.stop)

    def kill(self) -> None:
        """Kill the daemon as the kernel would."""
        self.daemon.end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again, on the port that Prometheus knows."""
        self.daemon = self._start()
        self.daemon.wait_for(self.daemon.ready, "it is back")

    def _start(self) -> Daemon:
        return self._nursery.start(self._config, self._folder / "log")

    def _end(self) -> None:
        self.daemon.end()

    def _write_config(self) -> None:
        self._config.write_text(
            CONFIG.format(
                folder=self._folder,
                history=HISTORY,
                webhook=self.receiver.url,
                alertmanager=self._alertmanager.url,
                port=self._port,
                schema=PLANT_SCHEMA,
            )
        )

    def _watch(self, speed: float) -> Watch:
        rules = self._folder / "rules.yml"
        words = [sys.executable, "-m", "vaeiso_monitor", "rules", str(self._config)]
        subprocess.run([*words, "-o", str(rules), "--speed", f"{speed:g}"], check=True)
        subprocess.run(["promtool", "check", "rules", str(rules)], check=True)
        prometheus = Prometheus(
            self._folder / "prometheus",
            {"vaeiso-monitor": f"http://127.0.0.1:{self._port}"},
            rules=rules,
            alertmanager=self._alertmanager.url,
        )
        self._stack.enter_context(closing(prometheus))
        return Watch(prometheus, self._alertmanager)


def disturb(station: Station, patience: float) -> None:
    """Do one thing after the other, each until its rules fire and then until they resolve."""
    producer, receiver = station.producer, station.receiver
    doings: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "storm": (lambda: producer.storm(True), lambda: producer.storm(False)),
        "refusal": (
            lambda: (producer.storm(True), receiver.refuse(True))[1],
            lambda: (receiver.refuse(False), producer.storm(False))[1],
        ),
        "garbage": (lambda: producer.garbage(True), lambda: producer.garbage(False)),
        "kill": (station.kill, station.restart),
        "silence": (lambda: producer.pause(True), lambda: producer.pause(False)),
    }
    for act in ACTS:
        begin, end = doings[act.name]
        station.watch.act(act, begin, end, patience)
    station.watch.until_calm(patience, "everything has resolved")


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    words.add_argument("--out", type=Path, default=Path("out/storm"))
    words.add_argument("--speed", type=float, default=60.0)
    words.add_argument(
        "--patience", type=float, default=480.0, help="seconds for a rule to resolve"
    )
    given = words.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = given.out.resolve() / f"run-{time.strftime('%H%M%S')}"
    folder.mkdir()
    with ExitStack() as stack:
        station = Station(folder, given.speed, stack)
        station.begin()
        station.watch.until_calm(given.patience, "nothing fires on a healthy stream")
        station.watch.look_for(30.0)  # and goes on to fire nothing
        disturb(station, given.patience)
        found = report(station.watch, ACTS, given.speed)
    (given.out / "storm.json").write_text(json.dumps(found.as_json, indent=2) + "\n")
    (given.out / "storm.md").write_text(found.as_markdown)
    print(found.as_markdown)
    sys.exit(not found.as_expected)


if __name__ == "__main__":
    main()
