import dataclasses
import json

import pytest
from prometheus_client import CollectorRegistry

from vaeiso_monitor.telemetry import ModelFacts, State, Status, Telemetry

MODEL = ModelFacts("v1", 100.0, 0.01, 8, "cpu", 30.5, 0.001, "measured on 10,000 records")
RUNNING = Status(State.RUNNING, "1.0", 50.0, 200.0, 199.0, model=MODEL)


def test_a_running_daemon_with_all_its_peers_is_ready():
    status = dataclasses.replace(RUNNING, sources=(("kafka", True),), sinks=(("stdout", True),))
    assert status.ready
    assert status.reasons == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": State.STARTING}, "starting"),
        (
            {"state": State.WARMING_UP, "warm_up_rows": 1234, "warm_up_rows_required": 5000},
            "warming up: 1,234 of 5,000 records collected",
        ),
        ({"state": State.TRAINING, "training_progress": 0.41}, "training the first model: 41 %"),
        ({"state": State.DRAINING}, "stopping"),
        ({"state": State.FAILED, "last_error": "the disk is full"}, "failed: the disk is full"),
        ({"model": None}, "no model is loaded"),
        ({"sources": (("kafka", False),)}, "source kafka is not connected"),
        ({"sinks": (("a", True), ("b", False))}, "sink b is not connected"),
    ],
)
def test_what_is_missing_is_said_in_words(changes, reason):
    status = dataclasses.replace(RUNNING, **changes)
    assert not status.ready
    assert any(found.startswith(reason) for found in status.reasons)


def test_the_dict_is_json_with_readable_times():
    shown = json.loads(json.dumps(RUNNING.to_dict()))
    assert shown["ready"] is True
    assert shown["state"] == "running"
    assert shown["started_at"] == "1970-01-01T00:00:50.000+00:00"
    assert shown["last_alert_at"] is None
    assert shown["model"]["age_seconds"] == 100
    assert shown["model"]["threshold_note"] == "measured on 10,000 records"
    assert shown["warm_up"] == {"rows": 0, "rows_required": 0}


def test_facts_reach_the_status_and_a_snapshot_does_not_change():
    telemetry = Telemetry(CollectorRegistry(), version="1.0")
    before = telemetry.status()
    telemetry.model_serving(MODEL)
    telemetry.source_connected("kafka", connected=False)
    telemetry.sink_connected("stdout", connected=True)
    telemetry.state_changed(State.RUNNING)
    telemetry.failed("the broker went away")
    after = telemetry.status()
    assert before.state is State.STARTING
    assert before.model is None
    assert after.reasons == ("source kafka is not connected",)
    assert after.last_error == "the broker went away"
    assert telemetry.registry.get_sample_value("vaeiso_ready") == 0
    telemetry.source_connected("kafka", connected=True)
    assert telemetry.status().ready
    assert telemetry.registry.get_sample_value("vaeiso_ready") == 1
    assert telemetry.registry.get_sample_value("vaeiso_state", {"state": "running"}) == 1
    assert telemetry.registry.get_sample_value("vaeiso_state", {"state": "starting"}) == 0


def test_the_heartbeat_is_seen():
    now = 1000.0
    telemetry = Telemetry(CollectorRegistry(), clock=lambda: now)
    now = 1030.0
    assert telemetry.status().heartbeat_age_seconds == 30
    assert telemetry.registry.get_sample_value("vaeiso_heartbeat_age_seconds") == 30
    telemetry.heartbeat()
    assert telemetry.status().heartbeat_age_seconds == 0
