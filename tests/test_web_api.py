"""What the paths of the API answer in states that a healthy daemon is seldom in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from prometheus_client import CollectorRegistry

from tests.plain import SCHEMA, documents
from vaeiso_monitor.alerts import AlertsConfig, RegimeShift
from vaeiso_monitor.app.condition import Conditions
from vaeiso_monitor.app.scoring import Scoring
from vaeiso_monitor.app.shown import ShownAlerts, ShownModels
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine, StoreConfig
from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle import DriftHistory, Slot
from vaeiso_monitor.records import Column
from vaeiso_monitor.telemetry import ModelFacts, State, Status, Telemetry
from vaeiso_monitor.web import (
    Behind,
    Condition,
    ServerConfig,
    drift_of,
    problems,
    serve,
    web_app,
)

NOW = 1_750_000_000.0
MODEL = ModelFacts("v1", NOW, 0.01, 8, "cpu", 30.5, 0.001)
WELL = Status(
    State.RUNNING, "1", NOW, NOW, NOW, model=MODEL, sources=(("file", True),), sinks=(("x", True),)
)


# What is wrong right now


def said(status: Status, condition: Condition | None = None) -> list[str]:
    return [problem.text for problem in problems(status, condition or Condition(), 60)]


def test_nothing_is_wrong_while_all_is_well() -> None:
    assert said(WELL) == []


def test_what_is_wrong_is_said_with_the_worst_first() -> None:
    shift = {"alert_rate": 0.25, "started_at": "2026-11-22T08:00:00Z"}
    check = {"at": NOW, "drifted": [f"f{i}" for i in range(7)]}
    failed = {"status": "failed", "words": "it ran out of memory", "at": NOW}
    status = replace(
        WELL,
        now=NOW + 100,
        sources=(("kafka", False),),
        sinks=(("webhook", False), ("file", True)),
        model=replace(MODEL, threshold_note="too few"),
        retrain=replace(WELL.retrain, last=failed),
    )
    condition = Condition(shift, {"inputs": drift_of("inputs", check)}, None, True, True)
    assert said(status, condition) == [
        "the loop has made no turn for 100 seconds",
        "source kafka is not connected",
        "sink webhook is not connected",
        "normal seems to have changed: 25.0% of the records are anomalies",
        "the inputs moved: f0, f1, f2, f3, f4, ...",
        "the last training failed: it ran out of memory",
        "too few",
        "the changed config file is not valid: the log says why",
        "the config file changed in keys that need a restart",
    ]
    found = problems(status, condition, 60)
    assert [problem.severity for problem in found] == ["critical"] * 4 + ["warning"] * 5
    assert found[3].since == "2026-11-22T08:00:00Z"


def test_a_daemon_that_failed_says_why() -> None:
    status = replace(WELL, state=State.FAILED, last_error="the disk is full", now=NOW + 999)
    assert said(status) == ["failed: the disk is full"]


# Scoring


@pytest.fixture
def slot(bundle: Bundle) -> Iterator[Slot]:
    slot = Slot(Engine(bundle, torch.device("cpu"), SCHEMA))
    yield slot
    slot.close()


def scoring(slot: Slot) -> Scoring:
    return Scoring(slot, AlertsConfig())


def test_scores_are_those_of_the_engine_whatever_they_stand_beside(slot: Slot) -> None:
    records = documents(300, seed=3)
    found = scoring(slot).score([b"broken", *records, b"{}"])["results"]
    assert found[0]["rejected"] == "not_json"
    assert found[-1]["rejected"] == "missing_key"
    alone = scoring(slot).score(records[7:8])["results"][0]
    assert found[8]["score_nats"] == pytest.approx(alone["score_nats"], abs=1e-3)
    over = [result for result in found[1:-1] if result["severity"] is not None]
    line = slot.engine.bundle.threshold.nats
    assert [r for r in found[1:-1] if r["score_nats"] > line] == over


def test_without_a_model_or_at_the_end_there_are_no_scores(slot: Slot) -> None:
    with pytest.raises(TransientError, match="no model serves yet"):
        scoring(Slot()).score([b"{}"])
    ended = scoring(slot)
    ended.close()
    with pytest.raises(TransientError, match="stops"):
        ended.score([b"{}"])


def test_a_swap_does_not_close_the_engine_that_scores(bundle: Bundle) -> None:
    slot = Slot(Engine(bundle, torch.device("cpu"), SCHEMA))
    beside, records = scoring(slot), documents(200, seed=4)
    over = threading.Event()

    def swap() -> None:
        for _ in range(20):
            slot.put(Engine(bundle, torch.device("cpu"), SCHEMA))
        over.set()

    with ThreadPoolExecutor(3) as pool:
        swapping = pool.submit(swap)
        while not over.is_set():
            assert all("score_nats" in r for r in beside.score(records)["results"])
        swapping.result()
    beside.close()
    slot.close()


class Slow:
    """Scores when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Semaphore(0)

    def score(self, records: Sequence[bytes]) -> dict[str, Any]:
        self.asked.release()
        assert self.go.wait(60)
        return {"model": "v1", "threshold_nats": 1.0, "results": [{} for _ in records]}


def test_more_than_a_few_at_once_are_sent_away() -> None:
    telemetry, slow = Telemetry(CollectorRegistry()), Slow()
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(scoring=slow))
    with serve(app, ServerConfig(port=0)) as server, ThreadPoolExecutor(4) as pool:
        path, body = f"{server.url}/api/v1/score", {"records": [{}]}
        waiting = [pool.submit(httpx.post, path, json=body, timeout=60) for _ in range(4)]
        for _ in waiting:
            assert slow.asked.acquire(timeout=60)
        answer = httpx.post(path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        slow.go.set()
        assert {asked.result().status_code for asked in waiting} == {200}
        assert httpx.post(path, json=body).status_code == 200


def test_the_body_of_a_score_may_be_larger_than_others() -> None:
    telemetry, slow = Telemetry(CollectorRegistry()), Slow()
    slow.go.set()
    config = ServerConfig(port=0, max_body_bytes=2000, max_score_bytes=50_000)
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(scoring=slow))
    with serve(app, config) as server:
        body = b'{"records": [{}' + b" " * 40_000 + b"]}"
        assert httpx.post(f"{server.url}/api/v1/score", content=body).status_code == 200
        assert httpx.post(f"{server.url}/api/v1/other", content=body).status_code == 413
        body += b" " * 20_000
        assert httpx.post(f"{server.url}/api/v1/score", content=body).status_code == 413


# The store


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> BundleStore:
    """A store with two bundles, of which the older one serves."""
    store = BundleStore(StoreConfig(path=str(tmp_path / "store")))
    store.add(bundle)
    store.promote(bundle.version)
    store.add(newer(bundle), {"accepted": False, "sentence": "rejected: it is worse"})
    return store


def newer(bundle: Bundle) -> Bundle:
    parts = {name: getattr(bundle, name) for name in ("schema", "encoder", "model", "threshold")}
    return Bundle.seal(
        **parts,
        scoring=bundle.scoring,
        summary=bundle.summary,
        created=datetime.now(UTC) + timedelta(hours=1),
    )


def test_models_come_newest_first_with_their_verdicts(store: BundleStore, bundle: Bundle) -> None:
    shown = ShownModels(store, SCHEMA, lambda: True)
    first, second = shown.all()
    assert (first["accepted"], first["serving"]) == (False, False)
    assert first["verdict_sentence"] == "rejected: it is worse"
    assert (second["version"], second["serving"]) == (bundle.version, True)
    last = shown.last_verdict()
    assert last is not None
    assert last["sentence"] == "rejected: it is worse"


def test_a_promotion_moves_the_pointer_and_back(store: BundleStore, bundle: Bundle) -> None:
    shown = ShownModels(store, SCHEMA, lambda: True)
    other = shown.all()[0]["version"]
    said = shown.promote(other)["words"]
    assert said == f"{other} serves within seconds instead of {bundle.version}"
    assert store.serving() == other
    assert [model["serving"] for model in shown.all()] == [True, False]
    shown.promote(bundle.version)
    assert store.serving() == bundle.version


def test_what_cannot_serve_is_not_promoted(store: BundleStore, bundle: Bundle) -> None:
    other = next(v for v in store.versions() if v != bundle.version)
    wider = replace(SCHEMA, columns=(*SCHEMA.columns, Column("speed")))
    telemetry = Telemetry(CollectorRegistry())
    for shown, code, says in (
        (ShownModels(store, SCHEMA, lambda: False), 503, "serves no model yet"),
        (ShownModels(store, wider, lambda: True), 409, "only the config has speed"),
    ):
        app = web_app(telemetry.status, telemetry.registry, behind=Behind(models=shown))
        with serve(app, ServerConfig(port=0)) as server:
            answer = httpx.post(f"{server.url}/api/v1/models/{other}/promote")
            assert answer.status_code == code
            assert says in answer.json()["detail"]
    assert store.serving() == bundle.version


def test_a_damaged_model_is_shown_as_such(store: BundleStore, bundle: Bundle) -> None:
    other = next(v for v in store.versions() if v != bundle.version)
    (store.path / "bundles" / other / "arrays.safetensors").write_bytes(b"broken")
    (store.path / "serving").write_bytes(b"")
    telemetry = Telemetry(CollectorRegistry())
    shown = ShownModels(store, SCHEMA, lambda: True)
    app = web_app(telemetry.status, telemetry.registry, behind=Behind(models=shown))
    with serve(app, ServerConfig(port=0)) as server:
        models = httpx.get(f"{server.url}/api/v1/models").json()["models"]
        assert "error" in models[0]
        assert models[1]["version"] == bundle.version
        for method, end in (("GET", ""), ("POST", "/promote")):
            answer = httpx.request(method, f"{server.url}/api/v1/models/{other}{end}")
            assert answer.status_code == 409
            assert other in answer.json()["detail"]


def test_alerts_are_refused_while_the_history_is_not_open() -> None:
    telemetry = Telemetry(CollectorRegistry())
    behind = Behind(alerts=ShownAlerts())
    with serve(
        web_app(telemetry.status, telemetry.registry, behind=behind), ServerConfig(port=0)
    ) as server:
        for path in ("/api/v1/alerts", "/api/v1/alerts/a1"):
            answer = httpx.get(server.url + path)
            assert answer.status_code == 503
            assert "not open" in answer.json()["detail"]


class Memory:
    """What the lifecycle remembers, as far as the status shows it."""

    def __init__(self, folder: Path, shift: RegimeShift | None) -> None:
        self.checks = DriftHistory(folder / "drift.json")
        self.shifted = shift

    @property
    def regime(self) -> Memory:
        return self


def test_regime_and_drift_are_told(tmp_path: Path, store: BundleStore) -> None:
    shift = RegimeShift(
        regime_id="r",
        status="started",
        started_at="2026-11-22T08:00:00Z",
        detected_at="2026-11-22T08:10:00Z",
        duration_seconds=600.0,
        alert_rate=0.3,
        alert_budget=0.001,
        records=1000,
        anomalies=300,
        action="alert",
    )
    telemetry = Telemetry(CollectorRegistry())
    telemetry.model_serving(MODEL)
    conditions = Conditions(telemetry, ShownModels(store, SCHEMA, lambda: True))
    memory: Any = Memory(tmp_path, shift)
    for version, drifted in (("v1", ["flow"]), ("v0", ["pressure"])):
        check = {"at": NOW, "version": version, "departed": drifted, "drifted": drifted}
        memory.checks.keep("inputs", {**check, "figures": {}})
    telemetry.lifecycle.config_reloaded(worked=False, restart_needed=False)
    app = web_app(telemetry.status, telemetry.registry, condition=conditions)
    with serve(app, ServerConfig(port=0)) as server:
        assert httpx.get(f"{server.url}/api/v1/status").json()["problems"] == []
        with conditions.open(memory):
            status = httpx.get(f"{server.url}/api/v1/status").json()
    assert status["regime_shift"]["started_at"] == shift.started_at
    assert status["drift"]["isometry"] is None
    assert status["drift"]["inputs"]["words"] == "the inputs moved: flow"
    assert status["verdict"]["sentence"] == "rejected: it is worse"
    texts = [problem["text"] for problem in status["problems"]]
    assert texts[0].startswith("normal seems to have changed: 30.0%")
    assert texts[1] == "the inputs moved: flow"
    assert texts[2].startswith("the changed config file is not valid")
