import dataclasses
import re
import socket
import threading

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.telemetry import ModelFacts, State, Telemetry
from vaeiso_monitor.web import Behind, ServerConfig, serve, web_app

ANY_PORT = ServerConfig(port=0, stall_seconds=30)
MODEL = ModelFacts("v1", 100.0, 0.01, 8, "cpu", 30.5, 0.001)


@pytest.fixture
def telemetry():
    return Telemetry(CollectorRegistry(), version="1.0")


@pytest.fixture
def client(telemetry):
    app = web_app(telemetry.status, telemetry.registry, config=ANY_PORT)
    with serve(app, ANY_PORT) as served, httpx.Client(base_url=served.url) as client:
        yield client


def test_metrics_come_as_text_by_default(client, telemetry):
    telemetry.records_received("kafka", "t", 12, 100)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'vaeiso_records_received_total{source="kafka",topic="t"} 12.0' in answer.text


def test_metrics_come_as_openmetrics_to_those_who_ask(client):
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"vaeiso_build", "vaeiso_nats", "process_resident_memory_bytes"} <= names


def test_metrics_can_be_chosen_by_name(client):
    answer = client.get("/metrics", params={"name[]": "vaeiso_ready"})
    samples = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert samples == ["vaeiso_ready 0.0"]


def test_readiness_names_what_is_missing_until_there_is_nothing(client, telemetry):
    telemetry.state_changed(State.WARMING_UP)
    telemetry.warming_up(20, 500)
    telemetry.sink_connected("webhook", connected=False)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "reasons": [
            "warming up: 20 of 500 records collected",
            "sink webhook is not connected",
        ],
    }
    telemetry.sink_connected("webhook", connected=True)
    telemetry.model_serving(MODEL)
    telemetry.state_changed(State.RUNNING)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "reasons": []}


def test_health_follows_the_heartbeat(telemetry):
    late = 0.0

    def status():
        now = telemetry.status()
        return dataclasses.replace(now, now=now.now + late)

    app = web_app(status, telemetry.registry, config=ANY_PORT)
    with serve(app, ANY_PORT) as served:
        assert httpx.get(f"{served.url}/healthz").json() == {"healthy": True, "reasons": []}
        late = 300.0
        answer = httpx.get(f"{served.url}/healthz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the loop has made no turn for 300 seconds"]


def test_health_ends_with_the_daemon(client, telemetry):
    telemetry.failed("the disk is full")
    telemetry.state_changed(State.FAILED)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["failed: the disk is full"]


def test_not_ready_is_not_ill(client, telemetry):
    telemetry.state_changed(State.TRAINING)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_status_is_json(client, telemetry):
    telemetry.records_received("kafka", "t", 12, 100)
    shown = client.get("/api/v1/status").json()
    assert shown["records"]["received"] == 12
    assert shown["records"]["waiting"] == 12
    assert shown["ready"] is False
    assert shown["version"] == "1.0"


def test_a_fault_of_ours_shows_no_traceback(telemetry):
    def status():
        raise RuntimeError("internal detail")

    with serve(web_app(status, telemetry.registry), ANY_PORT) as served:
        answer = httpx.get(f"{served.url}/api/v1/status")
        assert answer.status_code == 500
        assert answer.json() == {"detail": "an internal error: the daemon's log says more"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "internal detail" not in answer.text
        assert "Traceback" not in answer.text
        assert httpx.get(f"{served.url}/metrics").status_code == 200


def test_unknown_paths_and_methods_are_refused(client):
    answer = client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such path")
    answer = client.post("/api/v1/status")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert client.get("/api/v1/status/").status_code == 404


def test_the_description_for_people_loads_from_here_alone(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert "http" not in page.text
    named = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(named) == 3
    for path in named:
        assert client.get(f"/{path}").status_code == 200
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/api/v1/status", "/nothing"])
def test_every_answer_tells_the_browser_to_be_careful(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_a_port_in_use_is_a_config_error_that_names_the_key(telemetry):
    app = web_app(telemetry.status, telemetry.registry)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"server.port = {port} is in use"),
            serve(app, ServerConfig(port=port)),
        ):
            pass


@pytest.fixture
def guarded(monkeypatch):
    """A config with both tokens."""
    monkeypatch.setenv("READ", "read-" + "r" * 20)
    monkeypatch.setenv("WRITE", "write-" + "w" * 20)
    return ServerConfig(port=0, read_token_env="READ", write_token_env="WRITE")


def test_an_address_of_another_machine_is_a_config_error(telemetry, guarded):
    app = web_app(telemetry.status, telemetry.registry)
    config = dataclasses.replace(guarded, host="192.0.2.7")
    with pytest.raises(ConfigError, match="no address of this machine"), serve(app, config):
        pass


def test_the_thread_ends_with_the_block_and_the_port_is_free_again(telemetry):
    app = web_app(telemetry.status, telemetry.registry)
    with serve(app, ANY_PORT) as served:
        port = int(served.url.rsplit(":", 1)[1])
        assert served.alive
        assert any(thread.name == "web" for thread in threading.enumerate())
    assert not served.alive
    assert all(thread.name != "web" for thread in threading.enumerate())
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")
    with serve(app, ServerConfig(port=port)) as again:
        assert httpx.get(f"{again.url}/healthz").status_code == 200


def test_a_server_switched_off_has_no_thread(telemetry):
    app = web_app(telemetry.status, telemetry.registry)
    with serve(app, ServerConfig(enabled=False)) as served:
        assert served.url is None
        assert served.alive
        assert all(thread.name != "web" for thread in threading.enumerate())


class Asked:
    """Carries nothing out and remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.living = True

    def retrain(self, *, adopt):
        if not self.living:
            msg = "the daemon serves no model yet"
            raise TransientError(msg)
        self.asked.append(adopt)
        return {"started": len(self.asked) == 1, "words": "said"}

    def judge(self, alert_id, verdict, note):
        self.asked.append((alert_id, verdict, note))
        return {"known": alert_id == "a1"}


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def asking(telemetry, asked):
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(requests=asked))
    with serve(app, ANY_PORT) as served, httpx.Client(base_url=served.url) as client:
        yield client


def test_a_training_may_be_asked_for_once_at_a_time(asking, asked):
    assert asking.post("/api/v1/retrain").status_code == 202
    assert asking.post("/api/v1/retrain", json={"adopt": True}).status_code == 409
    assert asked.asked == [False, True]
    asked.living = False
    answer = asking.post("/api/v1/retrain", json={})
    assert answer.status_code == 503
    assert "serves no model" in answer.text


def test_a_verdict_is_passed_on(asking, asked):
    said = {"alert_id": "a1", "verdict": "normal", "note": "a test drive"}
    assert asking.post("/api/v1/feedback", json=said).status_code == 200
    assert asked.asked == [("a1", "normal", "a test drive")]
    assert asking.post("/api/v1/feedback", json=said | {"alert_id": "b"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"verdict": "normal"}', b'{"alert_id": "a1", "verdict": "odd"}', b"\xff"],
)
def test_a_body_that_is_no_verdict_is_refused_in_words(asking, asked, body):
    answer = asking.post("/api/v1/feedback", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert not asked.asked
    assert asking.post("/api/v1/feedback", content=b" " * 70_000).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"origin": "null"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
def test_a_foreign_page_in_a_browser_here_is_refused(asking, asked, headers):
    assert asking.post("/api/v1/retrain", headers=headers).status_code == 403
    assert not asked.asked


def test_its_own_page_may_ask(asking, asked):
    origin = str(asking.base_url).rstrip("/")
    assert asking.post("/api/v1/retrain", headers={"origin": origin}).status_code == 202


def test_without_someone_to_ask_nothing_changes_anything(client):
    assert client.post("/api/v1/retrain").status_code == 404


def test_requests_are_described(asking):
    paths = asking.get("/openapi.json").json()["paths"]
    body = paths["/api/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]
    name = body["schema"]["$ref"].rpartition("/")[2]
    schemas = asking.get("/openapi.json").json()["components"]["schemas"]
    assert schemas[name]["required"] == ["alert_id", "verdict"]
