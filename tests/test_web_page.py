"""The page's files, its address, and the one answer that it lives on."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from vaeiso_monitor.bundle import portrait_of
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.telemetry import ModelFacts, State, Telemetry
from vaeiso_monitor.types import PartitionProgress
from vaeiso_monitor.web import Behind, ServerConfig, serve, web_app
from vaeiso_monitor.web.page import Assets
from vaeiso_monitor.web.page import assets as assets_module
from vaeiso_monitor.web.page.assets import CHARTS, accepts_gzip

STATIC = Path(assets_module.__file__).parent / "static"
ANY_PORT = ServerConfig(port=0)
TOO_LARGE = 60_000


@pytest.fixture
def telemetry():
    return Telemetry(CollectorRegistry(), version="1.0")


@pytest.fixture
def client(telemetry):
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(telemetry=telemetry))
    with serve(app, ANY_PORT) as served, httpx.Client(base_url=served.url) as client:
        yield client


def test_the_page_names_files_that_exist_and_that_may_be_kept(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    found = re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)
    assert len(found) >= 3
    for path in found:
        answer = client.get(f"/{path}")
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
    assert "{{" not in page.text


def test_nothing_is_loaded_from_elsewhere():
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path.name
        assert "https://" not in text, path.name


def test_every_module_that_is_imported_exists_and_is_in_use():
    sources = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    imported = {n for text in sources.values() for n in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported | {"main.js"} == set(sources)


def test_no_text_is_ever_made_markup():
    for path in STATIC.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML\s*[+]?=(?!=)|outerHTML|insertAdjacentHTML|eval\(", text)


def test_the_policy_lets_no_script_run_that_is_not_a_file_of_ours(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", page)


def test_files_are_compressed_for_those_who_take_it(client):
    name = f"/assets/{Assets().digest}/main.js"
    with httpx.Client(base_url=client.base_url, headers={"accept-encoding": "gzip"}) as takes:
        packed = takes.get(name)
    plain = client.get(name, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == (STATIC / "main.js").read_bytes()
    assert plain.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    ("offer", "taken"),
    [
        ("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("identity", False),
        ("", False), ("GZIP", True), ("x-gzip", False),
    ],
)  # fmt: skip
def test_what_a_browser_takes(offer, taken):
    assert accepts_gzip({"accept-encoding": offer}) is taken


def test_the_chart_library_comes_from_its_package():
    charts = Assets().get(CHARTS)
    assert charts is not None
    assert b"plotly.js v" in charts.content[:200]
    assert gzip.decompress(charts.zipped) == charts.content


def test_without_the_chart_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(assets_module, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install plotly"):
        Assets()


def test_a_browser_that_has_the_page_is_told_so(client):
    tag = client.get("/").headers["etag"]
    answer = client.get("/", headers={"if-none-match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["0/main.js", "{}/nothing.js", "{}/index.html", "{}/..%2fassets.py", "{}/%2e%2e"]
)
def test_other_files_are_not_given_away(client, path):
    assert client.get(f"/assets/{path.format(Assets().digest)}").status_code == 404


def test_the_page_is_open_and_what_it_shows_is_not(telemetry, monkeypatch):
    monkeypatch.setenv("READ", "r" * 20)
    config = ServerConfig(port=0, read_token_env="READ")
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(telemetry=telemetry))
    with serve(app, config) as served:
        assert httpx.get(f"{served.url}/").status_code == 200
        assert httpx.get(f"{served.url}/assets/{Assets().digest}/main.js").status_code == 200
        assert httpx.get(f"{served.url}/api/v1/overview").status_code == 401
        bearer = {"authorization": f"Bearer {'r' * 20}"}
        assert httpx.get(f"{served.url}/api/v1/overview", headers=bearer).status_code == 200


def test_the_overview_works_from_the_first_moment_on(client):
    shown = client.get("/api/v1/overview").json()
    assert shown["page"] == Assets().digest
    assert shown["status"]["state"] == "starting"
    assert shown["status"]["lag_records"] is None
    assert shown["model"] == {"latents": []}
    assert (shown["isometry"], shown["inputs"]) == (None, None)


def test_the_overview_shows_the_model_as_it_was_trained(client, telemetry, bundle):
    telemetry.overview.serving(portrait_of(bundle))
    model = client.get("/api/v1/overview").json()["model"]
    assert model["version"] == bundle.version
    shares = [latent["importance"] for latent in model["latents"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def reading(name, value=9.9):
    return {
        "name": name, "value": value, "reference": 0.1, "low": 0.0, "high": 0.2, "excess": 9.7,
        "departed": True,
    }  # fmt: skip


def report(count):
    text = "very long " * 60
    names = [f"feature {i} {text}" for i in range(count)]
    head = {
        "checked_at": 1.0, "version": "v", "records": 1, "judged": True, "departed": True,
        "drifted": True, "sentence": text * 9, "action": "alert",
    }  # fmt: skip
    latents = [
        {"latent": i, "kl_nats": 1.0, "meaningful": True, "departed": True,
         "norm": reading("norm"), "orthogonality": reading("orthogonality")}
        for i in range(count)
    ]  # fmt: skip
    features = [
        {"feature": name, "departed": i % 3 == 0, "words": text, "records": 1, "seconds": 1.0}
        | {key: reading(key) for key in ("psi", "missing", "unseen", "out_of_range")}
        for i, name in enumerate(names)
    ]
    isometry = head | {"altered": False, "quantities": {}, "latents": latents}
    return isometry, head | {"drifted_features": names[-3:], "features": features}


def test_the_overview_is_bounded_whatever_the_model_and_the_stream_are_like(client, telemetry):
    isometry, inputs = report(3000)
    telemetry.drift.last = {"isometry": isometry, "inputs": inputs}
    telemetry.overview.serving({"latents": [
        {"latent": i, "importance": 1 / 3000, "meaningful": True, "kl_nats": 1.0, "norm_mean": 1.0,
         "norm_expected": 1.0} for i in range(3000)
    ]})  # fmt: skip
    telemetry.partitions([PartitionProgress("t" * 249, i, i, 0.0) for i in range(1000)])
    for i in range(200):
        telemetry.sink_connected(f"sink {i} {'x' * 1000}", connected=False)
    telemetry.lifecycle.training_ended("rejected", "schedule", "worse " * 1000, 1.0, "v2")
    telemetry.failed("broken " * 10_000)
    telemetry.state_changed(State.FAILED)
    shown = client.get("/api/v1/overview")
    assert len(shown.content) < TOO_LARGE
    found = shown.json()
    assert found["status"]["lag_records"] == sum(range(1000))
    assert found["status"]["partitions"][0]["lag_records"] == 999
    assert [each["feature"][:12] for each in found["inputs"]["features"]][:3] == [
        "feature 2997", "feature 2998", "feature 2999",
    ]  # fmt: skip


def test_the_overview_is_valid_json_though_a_number_is_none(client, telemetry):
    isometry, inputs = report(2)
    isometry["latents"][0]["norm"] = reading("norm", float("nan"))
    telemetry.drift.last = {"isometry": isometry, "inputs": inputs}
    telemetry.model_serving(ModelFacts("v1", 1.0, 0.1, 8, "cpu", float("inf"), 0.001))
    text = client.get("/api/v1/overview").text
    found = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert found["status"]["model"]["threshold_nats"] is None
