"""Every query of every dashboard finds data in a Prometheus that scrapes a daemon at work."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.monitors import Prometheus, missing, until
from vaeiso_monitor.sources.plant import PLANT_SCHEMA
from vaeiso_monitor.telemetry import catalogue as metrics

FOLDER = Path(__file__).parent.parent / "vaeiso_monitor" / "dashboards"
NEEDS = ("prometheus", "promtool")
JOB = "vaeiso-monitor"
# the part of a query that no daemon here can answer, and why
EXCUSED = {metrics.GPU_MEMORY.name: "it has no GPU"}

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing(*NEEDS)), reason=missing(*NEEDS) or "it is there"),
]

CONFIG = """\
[source]
type = "plant"
rate_per_second = 400
history_records = 1500
faults_after = 3000
fault_share = 0.05

[cold_start]
min_records = 1500

[model]
beta = 0.2
hidden = [32]

[training]
max_steps = 600

[threshold]
alert_budget = 0.01

[retrain]
min_records = 1000
interval_seconds = {hours}00

[gate]
max_rate_factor = 50
max_worse_nats = 10

[window]
flush_seconds = 0.5

[drift.isometry]
interval_seconds = 2

[drift.inputs]
interval_seconds = 2
window_seconds = 8
min_records = 200

[alerts]
cooldown_seconds = 2

[[alerts.sinks]]
type = "file"
path = "{folder}/alerts.jsonl"

[[alerts.sinks]]
type = "stdout"

[[dead_letters.sinks]]
type = "file"
path = "{folder}/dead_letters.jsonl"

[store]
path = "{folder}/store"

[lifecycle]
path = "{folder}/state"

[reload]
interval_seconds = 0.5

[server]
port = 0

[log]
format = "json"
level = "info"

{schema}"""
# some of the records do not fit, so that dead letters have something to show
SCHEMA = PLANT_SCHEMA.replace('name = "chlorine"', 'name = "chlorine"\nmissing = "reject"')

# As vaeiso-monitor's own rules would be: one that fires, so that the sheet of rules has a line.
RULES = """\
groups:
- name: always
  rules:
  - alert: VaeisoTest
    expr: vaeiso_ready == 1
    labels: {severity: warning}
"""


def panels() -> Iterator[Any]:
    """Yield each query as (expression, whether it is instant), named by where it stands."""
    for path in sorted(FOLDER.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                name = f"{path.stem}: {panel['title']}: {target['refId']}"
                yield pytest.param(target["expr"], target["instant"], id=name)


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def filled(expression: str) -> str:
    """Put in what Grafana would put in for its variables, at a scrape every two seconds."""
    known = {
        "$__rate_interval": "10s",
        "$__range": "5m",
        "$job": JOB,
        "$instance": "127.0.0.1:.*",
    }
    for name, value in known.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def found(prometheus: Prometheus, expression: str, instant: bool) -> bool:
    """Tell whether a query gives a number, one that is not NaN."""
    query = filled(expression)
    if instant:
        samples = [one["value"] for one in prometheus.instant(query)]
    else:
        samples = [pair for one in prometheus.range(query, 120) for pair in one["values"]]
    return any(not math.isnan(float(value)) for _, value in samples)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a daemon to which everything a dashboard shows has happened."""
    folder = tmp_path_factory.mktemp("dashboards")
    path, log, rules = folder / "config.toml", folder / "log", folder / "rules.yml"
    path.write_text(CONFIG.format(folder=folder, hours=36, schema=SCHEMA))
    rules.write_text(RULES)
    with ExitStack() as stack:
        words = [sys.executable, "-m", "vaeiso_monitor", "run", str(path)]
        with log.open("wb") as out, (folder / "out").open("wb") as told:
            daemon = subprocess.Popen(words, stdout=told, stderr=out)
        stack.callback(_end, daemon)
        url = until(lambda: _event(log, "listening", daemon), "it listens")["url"]
        targets = {JOB: url}
        server = stack.enter_context(
            closing(Prometheus(folder / "prometheus", targets, rules=rules))
        )
        with httpx.Client(base_url=url, timeout=10) as client:
            _happen(client, path, folder, daemon)
        yield server


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(20)
    daemon.kill()
    daemon.wait()


def _event(log: Path, name: str, daemon: subprocess.Popen[bytes]) -> Any:
    assert daemon.poll() is None, log.read_text()[-2000:]
    for line in log.read_bytes().split(b"\n")[:-1]:
        if line.startswith(b"{") and (event := json.loads(line))["event"] == name:
            return event
    return None


def _happen(
    client: httpx.Client, path: Path, folder: Path, daemon: subprocess.Popen[bytes]
) -> None:
    """Let there be alerts and a judgement of one, a training, a reload, and checks for drift."""
    alerts = folder / "alerts.jsonl"

    def running() -> bool:
        assert daemon.poll() is None, (folder / "log").read_text()[-2000:]
        return client.get("/readyz").status_code == 200

    until(running, "it is ready", 120)
    until(lambda: alerts.exists() and alerts.read_bytes().count(b"\n") > 3, "there are alerts")
    one = json.loads(alerts.read_bytes().split(b"\n")[0])["alert_id"]
    assert client.post("/api/v1/feedback", json={"alert_id": one, "verdict": "anomaly"}).is_success
    path.write_text(CONFIG.format(folder=folder, hours=72, schema=SCHEMA))
    time.sleep(1)  # what was scored by now is on the disk when the training takes its copy

    def scraped(line: str) -> bool:
        assert daemon.poll() is None, (folder / "log").read_text()[-2000:]
        return re.search(line, client.get("/metrics").text, re.M) is not None

    def promoted() -> bool:
        if scraped(r"^vaeiso_last_retrain_success_timestamp_seconds "):
            return True
        if scraped(r"^vaeiso_retrain_in_progress 0"):  # the gate may have said no: once more
            assert client.post("/api/v1/retrain", json={}).is_success
            until(lambda: scraped(r"^vaeiso_retrain_in_progress 1"), "a training runs")
        return False

    until(promoted, "a candidate is accepted", 120)
    for line in (
        r"^vaeiso_gate_accepted ",
        r"^vaeiso_feedback_precision_ratio ",
        r"^vaeiso_config_last_reload_successful ",
        r'^vaeiso_latent_kl_nats{latent="',
        r'^vaeiso_input_psi{feature="',
        r'^vaeiso_dead_letters_sent_total{sink="file",status="delivered"} [1-9]',
    ):
        until(lambda line=line: scraped(line), line, 120)


@pytest.mark.parametrize(("expression", "instant"), [*panels()])
def test_a_query_finds_data(prometheus: Prometheus, expression: str, instant: bool) -> None:
    excuses = [why for name, why in EXCUSED.items() if name in expression]
    if excuses:
        assert not found(prometheus, expression, instant), f"it does, so {excuses[0]} is no excuse"
        return
    until(lambda: found(prometheus, expression, instant), filled(expression), 40)


@pytest.mark.parametrize("board", boards(), ids=lambda board: board["uid"])
def test_the_variables_find_what_there_is_to_choose(
    prometheus: Prometheus, board: dict[str, Any]
) -> None:
    said = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            form = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert form
            said[variable["name"]] = prometheus.values(form[2], filled(form[1]))
    assert said["job"] == [JOB]
    assert [name.split(":")[0] for name in said["instance"]] == ["127.0.0.1"]


@pytest.mark.parametrize("board", boards(), ids=lambda board: board["uid"])
def test_the_annotations_are_queries(prometheus: Prometheus, board: dict[str, Any]) -> None:
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            prometheus.range(filled(annotation["expr"]), 60)
