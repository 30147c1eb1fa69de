"""The compose file: its schema, what it promises, and its parts against real peers."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager

import httpx
import pytest

from tests.artefacts import DEPLOY, ROOT, SCRIPTS, document, program
from tests.brokers import wait_until
from vaeiso_monitor import settings
from vaeiso_monitor.records import Schema
from vaeiso_monitor.sources.plant import PLANT_SCHEMA

FOLDER = DEPLOY / "compose"
FILES = [FOLDER / "compose.yaml", FOLDER / "compose.cuda.yaml"]
CONFIG = FOLDER / "monitor" / "config.toml"
COMPOSE = document(FILES[0])
SERVICES = COMPOSE["services"]
RUNNING = sorted(SERVICES.keys() - {"setup", "topics"})
STATION = FOLDER / "station.py"


def test_the_files_have_the_shape_of_the_specification():
    words = [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *FILES]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("extra", [[], [FILES[1]]], ids=["cpu", "cuda"])
def test_compose_itself_takes_them(extra):
    compose = _compose()
    if compose is None:
        pytest.skip("needs docker compose: Debian's docker-compose, or Docker's compose plugin")
    words = [word for path in [FILES[0], *extra] for word in ("-f", str(path))]
    subprocess.run([*compose, *words, "config", "--quiet"], check=True)


def _compose():
    """Return the call of Compose that this machine has: the plugin, or the program by itself."""
    for call in (["docker", "compose"], ["docker-compose"]):
        found = shutil.which(call[0])
        if found and not subprocess.run([*call, "version"], capture_output=True).returncode:
            return call
    return None


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_confined_and_what_it_names_exists(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    repository, tag = service["image"].split(":")
    assert tag != "latest"
    assert repository.count("/") <= 1
    if name not in ("kafka", "topics"):  # Kafka's own image writes its config into itself
        assert service["read_only"] is True
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (FOLDER / source).resolve().exists(), source
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_is_used():
    used = {v.split(":")[0] for each in SERVICES.values() for v in each.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= used


@pytest.mark.parametrize("name", RUNNING)
def test_what_runs_is_started_again(name):
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_no_secret_is_in_the_files():
    for path in FILES:
        for service in document(path)["services"].values():
            names = service.get("environment", {})
            assert not re.search("PASSWORD|TOKEN|SECRET|_KEY", " ".join(names))


def test_the_config_of_the_daemon_is_valid_and_fits_the_other_services():
    loaded = settings.load(CONFIG)
    brokers = {"kafka:9092"}
    assert set(loaded.source.bootstrap_servers) == brokers
    script = SERVICES["topics"]["command"][0]
    topics = re.search(r"for topic in (.+); do", script)[1].split()
    assert {
        *loaded.source.topics,
        *(s.topic for s in loaded.alerts.sinks if s.type == "kafka"),
    } == {*topics}
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert all(broker in advertised for broker in brokers)
    mounted = {v.split(":")[1] for v in SERVICES["monitor"]["volumes"]}
    assert loaded.server.read_token_file == "/run/vaeiso/read"
    assert loaded.server.write_token_file == "/run/vaeiso/write"
    assert {"/run/vaeiso", "/etc/vaeiso", "/var/lib/vaeiso"} <= mounted
    for sink in loaded.alerts.sinks:
        if sink.type == "alertmanager":
            assert sink.urls[0].split("//")[1].split(":")[0] in SERVICES


def test_the_schema_is_that_of_the_station():
    ours, theirs = tomllib.loads(CONFIG.read_text())["schema"], tomllib.loads(PLANT_SCHEMA)
    assert ours == theirs["schema"]
    assert isinstance(settings.load(CONFIG).record_schema, Schema)


def set_up(folder, *, path=SCRIPTS):
    """Run setup.sh as the service does, with its volumes in a folder."""
    script = (FOLDER / "setup.sh").read_text()
    for there in ("vaeiso", "rules"):
        (folder / there).mkdir(parents=True, exist_ok=True)
        script = script.replace(f"/run/{there}/", f"{folder}/{there}/")
    script = script.replace("/etc/vaeiso/", f"{FOLDER}/monitor/")
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-c", script], check=True, env=environment)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    set_up(folder)
    return folder


def test_the_setup_makes_two_tokens_once(tmp_path):
    stub = tmp_path / "vaeiso-monitor"  # the rules are looked at below
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    tokens = []
    for _ in range(2):
        set_up(tmp_path, path=tmp_path)
        folder = tmp_path / "vaeiso"
        tokens.append({each.name: each.read_text().strip() for each in folder.iterdir()})
    assert tokens[0] == tokens[1]
    assert tokens[0].keys() == {"read", "write"}
    assert tokens[0]["read"] != tokens[0]["write"]
    assert all(len(token) >= 40 for token in tokens[0].values())


def test_prometheus_takes_its_config_and_the_rules(volumes, tmp_path):
    text = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    path = tmp_path / "prometheus.yml"
    path.write_text(text.replace("/run/", f"{volumes}/"))
    words = [program("promtool"), "check", "config", str(path)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert re.search(r"SUCCESS: \d+ rules found", said)
    (job,) = [j for j in document(path)["scrape_configs"] if j["job_name"] == "vaeiso-monitor"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f'job="{job["job_name"]}"' in (volumes / "rules" / "vaeiso-monitor.yml").read_text()


def test_alertmanager_takes_its_config():
    path = FOLDER / "alertmanager" / "alertmanager.yml"
    subprocess.run([program("amtool"), "check-config", str(path)], check=True, capture_output=True)


def test_grafana_finds_its_data_sources_and_dashboards():
    provisioning = DEPLOY / "grafana" / "provisioning"
    for source in document(provisioning / "datasources" / "prometheus.yaml")["datasources"]:
        assert source["url"].split("//")[1].split(":")[0] in SERVICES
    (provider,) = document(provisioning / "dashboards" / "vaeiso-monitor.yaml")["providers"]
    mounts = dict(v.removesuffix(":ro").split(":") for v in SERVICES["grafana"]["volumes"])
    (source,) = [s for s, target in mounts.items() if target == provider["options"]["path"]]
    assert len(list((FOLDER / source).resolve().glob("*.json"))) == 3


def test_the_overlay_for_a_gpu_changes_the_daemon_alone():
    overlay = document(FILES[1])["services"]
    assert set(overlay) == {"monitor"}
    assert overlay["monitor"]["build"]["target"] == "cuda"
    assert overlay["monitor"]["image"] != SERVICES["monitor"]["image"]


@contextmanager
def daemon(folder, broker, topics, volumes):
    """Run the daemon of the compose file: the same config, other addresses, less to train on."""
    records, alerts = topics
    variables = {
        "VAEISO_SOURCE__BOOTSTRAP_SERVERS": f'["{broker.address}"]',
        "VAEISO_SOURCE__TOPICS": f'["{records}"]',
        "VAEISO_SOURCE__GROUP_ID": records,
        "VAEISO_ALERTS__SINKS": (
            f'[{{"type": "kafka", "bootstrap_servers": ["{broker.address}"], "topic": "{alerts}"}}]'
        ),
        "VAEISO_SERVER__HOST": "127.0.0.1",
        "VAEISO_SERVER__PORT": "0",
        "VAEISO_SERVER__READ_TOKEN_FILE": f"{volumes}/vaeiso/read",
        "VAEISO_SERVER__WRITE_TOKEN_FILE": f"{volumes}/vaeiso/write",
        "VAEISO_COLD_START__MIN_RECORDS": "3000",
        "VAEISO_TRAINING__MAX_STEPS": "100",
        "VAEISO_MODEL__BETA": "0.1",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vaeiso_monitor", "run", str(CONFIG)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stderr=log,
            cwd=folder,
        )
    try:
        yield process, folder / "log"
    finally:
        process.kill()
        process.wait()


def produced(broker, topic, *words):
    command = [sys.executable, str(STATION), "--bootstrap-servers", broker.address]
    command += ["--topic", topic, "--rate", "0", *words]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.kafka
def test_station_and_daemon_work_together(broker, volumes, tmp_path):
    topics = broker.topic(), broker.topic()
    # Started again it goes on where its topic ends; Tansu takes the start of the last batch for it.
    counts = ("3000", "4000") if "aborted_transactions" in broker.can else ("4000",)
    for count in counts:
        produced(broker, topics[0], "--history", "3000", "--records", count)
    values = [value for _, value in broker.read(topics[0], 4000)]
    keys = [re.search(rb'"id":"PS1-0*(\d+)"', value)[1] for value in values]
    assert list(map(int, keys)) == list(range(4000))
    with daemon(tmp_path, broker, topics, volumes) as (process, log):
        url = re.compile(rb'"url": "([^"]+)"')
        wait_until(lambda: url.search(log.read_bytes()), 60, "the daemon to listen")
        address = url.search(log.read_bytes())[1].decode()
        assert httpx.get(f"{address}/metrics").status_code == 401
        token = (volumes / "vaeiso" / "read").read_text().strip()
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}) as client:
            scored = "vaeiso_records_scored_total 4000"
            wait_until(lambda: scored in client.get("/metrics").text, 60, "the records' scores")
        process.terminate()
        assert process.wait(30) == 0
    assert broker.read(topics[1], 1)
