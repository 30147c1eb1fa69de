"""The benchmark of a month: a short script runs end to end, and its aims are reckoned right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lifetime import Clock, ScriptTimer
from benchmarks.month import RECIPE, run
from benchmarks.month_aims import aims, settled
from benchmarks.month_report import draw, tables
from benchmarks.month_run import Month
from benchmarks.station import BROKEN, Phase, Station
from vaeiso_monitor.model import ModelConfig, TrainingConfig

SMALL = replace(
    RECIPE,
    model=ModelConfig(beta=0.1, latent_dim=4, hidden=(16,)),
    training=TrainingConfig(max_steps=80, seed=1),
)
SCRIPT = Month(
    cold=2,
    phases=(
        Phase("stationary", 1),
        Phase("new regime", 2, renewed=True),
        Phase("poisoned", 1, faults=0.05, poisoned=True),
        Phase("broken sensor", 1, broken=True),
    ),
    called_normal=1,
)


def test_a_short_script_runs_end_to_end(tmp_path: Path):
    result = run(SCRIPT, SMALL, tmp_path / "state")
    hours = result["hours"]
    assert [hour["hour"] for hour in hours] == list(range(5))
    assert [hour["healthy"] + hour["faulty"] + hour["broken"] for hour in hours] == [1200] * 5
    assert hours[0]["false"][0] == hours[0]["false"][1]  # the first model serves both
    assert hours[1]["false"][1] > 1000  # which the new regime is strange to
    adopted = [t for t in result["trainings"] if t["adopted"]]
    assert adopted
    assert adopted[0]["status"] == "promoted"
    assert hours[2]["version"] != result["first"]
    assert hours[2]["false"][0] < hours[2]["false"][1] / 2
    assert hours[4]["healthy"] == 0
    result["aims"] = aims(result)
    assert [aim["name"] for aim in result["aims"]] == ["recall", "alert rate", "poison", "nats"]
    assert "| new regime | 0.0 to 0.1 |" in tables(result)
    draw(result, tmp_path / "month.png")
    assert (tmp_path / "month.png").stat().st_size > 10_000


def hour(number, false=0, found=10, probed=1.0):
    return {
        "hour": number,
        "healthy": 1000,
        "false": [false, 1000],
        "faulty": 10,
        "found": [found, 10],
        "probed": [probed, 1.0],
    }


def phase(name, start, stop, **kind):
    also = {"drifts": False, "renewed": False, "broken": False, "poisoned": False}
    return {"name": name, "start": start, "stop": stop, "hours": stop - start, **also, **kind}


def training(at, status, finds=1.0, nats=-1.0, after=None):
    return {
        "hour": at,
        "status": status,
        "finds": finds,
        "nats_difference": nats,
        "day_after": after,
    }


def month():
    """A month without fault: a change at hour 30, an hour until it is adopted."""
    return {
        "budget": 0.005,
        "hours": [hour(i, 1000 if i == 30 else 5) for i in range(120)],
        "phases": [
            phase("before", 0, 30),
            phase("after", 30, 70, renewed=True),
            phase("poisoned", 70, 90, poisoned=True),
            phase("end", 90, 120),
        ],
        "trainings": [training(31, "promoted"), training(80, "rejected", finds=0.2)],
    }


def met(result):
    return {aim["name"]: aim["met"] for aim in aims(result)}


def test_a_month_that_went_well_meets_every_aim():
    assert all(met(month()).values())


def test_the_first_hour_of_a_regime_may_find_nothing_and_no_other():
    result = month()
    result["hours"][30] = hour(30, 1000, found=0, probed=0.0)
    assert met(result)["recall"]
    result["hours"][31] = hour(31, 5, probed=0.79)
    assert not met(result)["recall"]


def test_recall_in_the_stream_is_taken_over_a_day():
    result = month()
    for i in range(60, 65):
        result["hours"][i] = hour(i, 5, found=0)
    assert not met(result)["recall"]  # 190 of 240
    result["hours"][64] = hour(64, 5, found=9)
    assert met(result)["recall"]


def test_an_alert_rate_that_does_not_come_back_is_missed():
    result = month()
    for i in range(60, 90):
        result["hours"][i] = hour(i, 30)
    assert not met(result)["alert rate"]


def test_a_rate_has_settled_when_no_later_window_is_over_the_limit():
    hours = [hour(i, 1000 if i < 3 else 0) for i in range(50)]
    assert settled(hours, 0.01) == 3
    assert settled(hours[3:], 0.01) == 0
    assert settled([*hours, *[hour(i, 1000) for i in range(50, 60)]], 0.01) is None


def test_a_poisoned_candidate_must_be_dangerous_and_rejected():
    result = month()
    result["trainings"][1]["status"] = "promoted"
    assert not met(result)["poison"]
    result["trainings"][1] = training(80, "rejected", finds=0.9)
    assert not met(result)["poison"]


def test_a_promotion_with_worse_nats_is_told():
    result = month()
    result["trainings"].append(training(100, "promoted", nats=0.01, after=0.5))
    assert not met(result)["nats"]


def test_the_station_follows_its_script():
    calm = Station([Phase("calm", 2, faults=0.0)], 600).take(1200)
    assert set(calm.truth) == {None}
    dead = Station([Phase("calm", 1, faults=0.0), Phase("dead", 1, faults=0.0, broken=True)], 600)
    assert set(dead.take(600).truth) == {None}
    step = dead.take(600)
    assert set(step.truth) == {BROKEN}
    assert step.phase.name == "dead"
    struck = Station([Phase("faults", 5, faults=0.2)], 600).take(3000)
    assert np.mean([name is not None for name in struck.truth]) == pytest.approx(0.2, abs=0.03)


def test_the_timer_runs_what_is_due_once():
    clock, ran = Clock(0.0), []
    timer = ScriptTimer(clock)
    timer.every(10, "often", lambda: ran.append("often"))
    timer.at(25, "once", lambda: ran.append("once"))
    clock.now = 24
    timer.run()
    assert ran == ["often"]
    clock.now = 26
    timer.run()
    timer.run()
    assert ran == ["often", "once"]
