"""The HTTP API of a real daemon in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.daemons import Nursery
from tests.plain import anomaly, config, documents
from tests.test_app import Daemon, append, serve
from vaeiso_monitor.bundle import Bundle

READ, WRITE = "read-0123456789abcdef", "write-0123456789abcdef"
SERVER = """
[server]
port = 0
read_token_file = "{folder}/read"
write_token_file = "{folder}/write"
max_score_records = 100
"""


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, nursery: Nursery, bundle: Bundle
) -> Iterator[Daemon]:
    """A daemon that has seen 200 records, every tenth of them anomalous; two tokens guard it."""
    folder = tmp_path_factory.mktemp("daemon")
    serve(folder, bundle)
    lines = documents(200, seed=5)
    lines[::10] = [anomaly(i) for i in range(0, 200, 10)]
    append(folder / "records.jsonl", lines)
    path = config(folder, folder / "records.jsonl", follow=True)
    text = path.read_text()
    path.write_text(text.replace("[server]\nport = 0\n", SERVER.format(folder=folder)))
    (folder / "read").write_text(READ)
    (folder / "write").write_text(WRITE)
    log = folder / "log"
    log.touch()
    started = Daemon(nursery.fork(["run", str(path)], log), log)
    yield started
    started.close()


@pytest.fixture(scope="module")
def url(daemon: Daemon) -> str:
    return str(daemon.wait_for(lambda: daemon.events("listening"))[0]["url"])


@pytest.fixture(scope="module")
def client(daemon: Daemon, url: str) -> Iterator[httpx.Client]:
    """One who may write, once all records are scored."""
    headers = {"Authorization": f"Bearer {WRITE}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as found:
        daemon.wait_for(lambda: found.get("/readyz").status_code == 200)
        daemon.wait_for(lambda: found.get("/api/v1/status").json()["records"]["scored"] == 200)
        yield found


def alerts(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["alerts"])


def test_the_status_says_what_is_wrong_in_words(client: httpx.Client) -> None:
    status = client.get("/api/v1/status").json()
    assert status["ready"]
    assert status["regime_shift"] is None
    assert status["verdict"] is None
    assert status["drift"] == {"isometry": None, "inputs": None}
    assert [problem["severity"] for problem in status["problems"]] == ["warning"]
    assert "held-out records" in status["problems"][0]["text"]


def test_alerts_come_in_pages(client: httpx.Client) -> None:
    everything = alerts(client, limit=200)
    numbers = [alert["number"] for alert in everything]
    assert len(everything) >= 20
    assert numbers == sorted(numbers, reverse=True)
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = {"limit": 7} | ({} if cursor is None else {"before": cursor})
        page = client.get("/api/v1/alerts", params=query).json()
        found += page["alerts"]
        if (cursor := page["next"]) is None:
            break
        assert len(page["alerts"]) == 7
    assert found == everything


def test_alerts_can_be_filtered(client: httpx.Client) -> None:
    everything = alerts(client, limit=200)
    for severity in ("warning", "critical"):
        wanted = [a for a in everything if a["severity"] == severity]
        assert alerts(client, limit=200, severity=severity) == wanted
    wanted = [a for a in everything if a["entity"] == {"pump": "p1"}]
    assert alerts(client, limit=200, entity="p1") == wanted
    assert alerts(client, since="2100-01-01") == []
    assert alerts(client, limit=200, since="2020-01-01T00:00:00Z") == everything
    assert alerts(client, limit=200, since="1600000000") == everything
    for wrong in ({"severity": "odd"}, {"limit": 0}, {"since": "noon"}, {"before": 2**64}):
        answer = client.get("/api/v1/alerts", params=wrong)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(next(iter(wrong)))
    answer = client.get("/api/v1/alerts?since=2020-01-01&since=2021-01-01")
    assert (answer.status_code, answer.json()["detail"]) == (422, "since: given 2 times")


def test_one_alert_is_explained(client: httpx.Client) -> None:
    alert = alerts(client, severity="critical")[0]
    for name in (alert["alert_id"], alert["alert_id"][:12]):
        assert client.get(f"/api/v1/alerts/{name}").json() == alert
    top = alert["features"][0]
    assert (top["name"], top["value"], top["unit"]) == ("pressure", -60.0, "bar")
    assert top["expected"] is not None
    assert alert["record"]["pressure"] == -60.0
    assert alert["latents"]
    assert alert["feedback"] is None
    assert client.get("/api/v1/alerts/unknown").status_code == 404


def test_a_verdict_arrives_and_can_be_changed(client: httpx.Client) -> None:
    alert_id = alerts(client, verdict="none")[-1]["alert_id"]
    said = {"alert_id": alert_id, "verdict": "normal", "note": "pump test"}
    answer = client.post("/api/v1/feedback", json=said)
    assert answer.status_code == 200
    assert "next training learns" in answer.json()["words"]
    shown = client.get(f"/api/v1/alerts/{alert_id}").json()["feedback"]
    assert (shown["verdict"], shown["note"]) == ("normal", "pump test")
    assert [a["alert_id"] for a in alerts(client, verdict="normal")] == [alert_id]
    client.post("/api/v1/feedback", json=said | {"verdict": "anomaly"})
    assert [a["alert_id"] for a in alerts(client, verdict="anomaly")] == [alert_id]
    answer = client.post("/api/v1/feedback", json=said | {"alert_id": "unknown"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no alert unknown is remembered"


def test_posted_records_are_scored_as_the_stream_is(client: httpx.Client) -> None:
    alert = alerts(client, severity="critical")[0]
    broken = {"id": 9, "flow": 5000.0}
    answer = client.post("/api/v1/score", json={"records": [alert["record"], broken, 7]})
    assert answer.status_code == 200
    found = answer.json()
    assert found["model"] == alert["model"]["version"]
    first, second, third = found["results"]
    assert first["score_nats"] == pytest.approx(alert["nats"], rel=1e-4)
    assert first["anomaly_score"] == pytest.approx(alert["anomaly_score"], rel=1e-4)
    assert first["severity"] == "critical"
    assert first["features"][0]["name"] == "pressure"
    assert second["rejected"] == "out_of_range"
    assert "flow" in second["detail"]
    assert third["rejected"] == "not_an_object"
    before = client.get("/api/v1/status").json()["records"]
    assert before["received"] == 200  # what is posted is no part of the stream
    read = {"Authorization": f"Bearer {READ}"}
    body = {"records": [alert["record"]]}
    assert client.post("/api/v1/score", json=body, headers=read).status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "required field"),
        (b'{"records": []}', "length >= 1"),
        (b'{"records": [' + b"{}," * 100 + b"{}]}", "at most 100"),
        (b'{"records": {}}', "Expected `array`"),
        (b'{"records": [{}], "more": 1}', "unknown field"),
        (b'{"records": [\xff]}', "body"),
        (b'{"records": [' + b"[" * 20_000, "body"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(
    client: httpx.Client, body: bytes, says: str
) -> None:
    answer = client.post("/api/v1/score", content=body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_models_and_their_verdicts_are_shown(client: httpx.Client, bundle: Bundle) -> None:
    (model,) = client.get("/api/v1/models").json()["models"]
    assert (model["version"], model["serving"], model["accepted"]) == (bundle.version, True, None)
    shown = client.get(f"/api/v1/models/{bundle.version[-8:]}").json()
    assert {key: shown[key] for key in model if key != "error"} == model
    assert len(shown["latents"]) == bundle.model.latent_dim
    assert shown["latents"][0]["loadings"]
    assert [point["beta"] for point in shown["beta_curve"]] == [0.1]
    assert shown["threshold"]["nats"] == model["threshold_nats"]
    assert client.get("/api/v1/models/unknown").status_code == 404


def test_a_model_that_serves_already_is_promoted_in_vain(
    client: httpx.Client, bundle: Bundle
) -> None:
    answer = client.post(f"/api/v1/models/{bundle.version}/promote")
    assert answer.status_code == 200
    assert answer.json() == {
        "version": bundle.version,
        "words": f"{bundle.version} serves already",
    }
    assert client.post("/api/v1/models/unknown/promote").status_code == 404


def test_a_training_with_too_few_records_is_not_promised(client: httpx.Client) -> None:
    answer = client.post("/api/v1/retrain")
    assert answer.status_code == 409
    found = answer.json()
    assert not found["started"]
    assert "(retrain.min_records) are there" in found["detail"] == found["words"]


def test_wrong_tokens_are_refused_on_every_path_it_names(url: str, client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    asked = [(method, path) for path, item in paths.items() for method in item]
    assert len(asked) >= 12
    for method, path in asked:
        for token in ("", "wrong-0123456789abcdef"):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = httpx.request(method, url + path, headers=headers)
            opened = path in ("/healthz", "/readyz")
            assert answer.status_code == (200 if opened else 401), (method, path)


def test_the_documents_name_every_path(client: httpx.Client) -> None:
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    paths = client.get("/openapi.json").json()["paths"]
    for path, item in paths.items():
        for method in item:
            assert f"| `{method.upper()} {path}` |" in text
    for line in text.splitlines():
        if line.startswith(("| `GET /api", "| `POST ")):
            method, path = line.split("`")[1].split()
            assert method.lower() in paths[path]


def test_schemathesis_finds_nothing(daemon: Daemon, url: str, client: httpx.Client) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"]
    options = {
        "--header": f"Authorization: Bearer {WRITE}",
        "--checks": "all",
        "--max-time": "15",
        "--max-examples": "10",
        "--seed": "1",
        "--suppress-health-check": "all",
        "--request-timeout": "20",
    }
    words = [word for pair in options.items() for word in pair]
    folder = daemon._log.parent
    run = subprocess.run(
        [*command, *words, "--no-color"], cwd=folder, capture_output=True, text=True, timeout=150
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert client.get("/readyz").status_code == 200
    assert "Traceback" not in daemon.log()
