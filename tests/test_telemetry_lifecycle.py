"""Numbers that rules rest on: streaks, limits, what stands from the start, what is forgotten."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from vaeiso_monitor.telemetry import (
    ModelFacts,
    Telemetry,
    cpu_limit_cores,
    memory_limit_bytes,
)


@pytest.fixture
def telemetry():
    return Telemetry(CollectorRegistry(), clock=lambda: 1_700_000_000.0)


def value(telemetry, name, **labels):
    return telemetry.registry.get_sample_value(name, labels)


def ended(telemetry, status):
    telemetry.lifecycle.training_ended(status, "schedule", "words", 1.0, None)
    streak = "vaeiso_retrain_streak"
    return tuple(value(telemetry, streak, status=name) for name in ("failed", "rejected"))


def test_streaks_count_what_ends_the_same_way_in_a_row(telemetry):
    assert ended(telemetry, "failed") == (1, 0)
    assert ended(telemetry, "failed") == (2, 0)
    assert ended(telemetry, "rejected") == (0, 1)
    assert ended(telemetry, "failed") == (1, 1)
    assert ended(telemetry, "rejected") == (0, 2)
    assert ended(telemetry, "promoted") == (0, 0)


def test_the_first_event_of_a_counter_is_a_rise(telemetry):
    assert value(telemetry, "vaeiso_records_scored_total") == 0
    assert value(telemetry, "vaeiso_window_write_errors_total") == 0
    assert value(telemetry, "vaeiso_lifecycle_errors_total", task="tidy") == 0
    assert value(telemetry, "vaeiso_retrains_total", status="skipped", reason="schedule") == 0
    outcome = {"kind": "isometry", "outcome": "not_judged"}
    assert value(telemetry, "vaeiso_drift_checks_total", **outcome) == 0
    assert value(telemetry, "vaeiso_trainer_memory_bytes") == 0
    assert value(telemetry, "vaeiso_anomaly_score_count") == 0
    assert value(telemetry, "vaeiso_model_age_seconds") is None


def facts(version):
    return ModelFacts(version, 1.0, 0.1, 2, "cpu", 20.0, 0.001)


def test_another_model_forgets_what_was_measured_of_the_one_before(telemetry):
    report = {"judged": True, "departed": True, "drifted": True, "checked_at": 1.0}
    report |= {"quantities": {}, "latents": [], "altered": True}
    telemetry.model_serving(facts("v1"))
    telemetry.drift.isometry_checked(report, max_latents=1)
    telemetry.model_serving(facts("v1"))
    assert value(telemetry, "vaeiso_drifted", kind="isometry") == 1
    telemetry.model_serving(facts("v2"))
    assert value(telemetry, "vaeiso_drifted", kind="isometry") is None
    assert value(telemetry, "vaeiso_model_altered") is None


def test_limits_are_those_of_the_control_group(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/system.slice/x.service\n")
    group = tmp_path / "groups" / "system.slice" / "x.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("123456789\n")
    (group / "cpu.max").write_text("50000 100000\n")
    assert memory_limit_bytes(tmp_path / "groups", own) == 123_456_789
    assert cpu_limit_cores(tmp_path / "groups", own) == 0.5


def test_limits_of_the_first_version_of_control_groups(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\nnonsense\n")
    group = tmp_path / "memory" / "docker" / "x"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("55555\n")
    (group.parent / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory_limit_bytes(tmp_path, own) == 55_555


def test_without_control_groups_the_machine_is_the_limit(tmp_path):
    assert memory_limit_bytes(tmp_path, tmp_path / "none") > 100_000_000
    assert cpu_limit_cores(tmp_path, tmp_path / "none") >= 1
