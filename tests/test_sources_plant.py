import itertools
import json
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.records import Column, Decoder, Schema
from vaeiso_monitor.sources.plant import FAULTS, PLANT_SCHEMA, PlantConfig, PlantSource
from vaeiso_monitor.sources.plant.columns import SENSORS
from vaeiso_monitor.types import Span

FAST = PlantConfig(rate_per_second=0, records=3_000, faults_after=500)


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def read_all(source, sizes=(700,)):
    payload, size = [], itertools.cycle(sizes)
    while (polled := source.poll(next(size), 1.0)) is not None:
        payload += polled.batch.payload
    return payload


@pytest.fixture(scope="module")
def documents():
    config = PlantConfig(rate_per_second=0, records=30_000, faults_after=8_000)
    source = PlantSource(config)
    return source, [json.loads(document) for document in read_all(source, (4096,))]


@pytest.fixture(scope="module")
def numbers(documents):
    """Numbers [records, sensors] with NaN where a value is missing."""
    names = [sensor.name for sensor in SENSORS]
    rows = [[document[name] for name in names] for document in documents[1]]
    return np.array(rows, dtype=np.float64)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=5), st.integers(0, 3))
def test_records_are_the_same_whatever_the_batches(sizes, seed):
    config = PlantConfig(seed=seed, rate_per_second=0, records=2_100, faults_after=0)
    assert read_all(PlantSource(config), sizes) == read_all(PlantSource(config), (2_100,))


def test_another_seed_is_another_plant():
    other = PlantConfig(seed=8, rate_per_second=0, records=3_000, faults_after=500)
    assert read_all(PlantSource(FAST)) != read_all(PlantSource(other))


def test_faults_change_only_the_records_that_the_truth_names():
    healthy = PlantConfig(rate_per_second=0, records=3_000, fault_share=0)
    source = PlantSource(FAST)
    same = [a == b for a, b in zip(read_all(source), read_all(PlantSource(healthy)), strict=True)]
    truth = source.truth_between(0, 3_000)
    assert [name is None for name in truth] == same
    assert any(truth)
    assert not any(truth[:500])


def test_the_demo_schema_takes_every_record(documents):
    declared = tomllib.loads(PLANT_SCHEMA)["schema"]
    columns = [
        Column(**(column | {"values": tuple(column.get("values", ()))}))
        for column in declared.pop("columns")
    ]
    schema = Schema(columns=tuple(columns), **declared)
    source = PlantSource(FAST)
    records, rejects = Decoder(schema).decode(source.poll(3_000, 1.0).batch)
    assert rejects == []
    assert len(records) == 3_000
    assert records.numbers.shape[1] == len(SENSORS) + 1
    assert len(records.categories) == 2
    assert records.entities[0] == "PS1"
    assert set(documents[1][0]) == {column.name for column in columns} | {"id", "time", "station"}


def test_identity_time_and_position_go_up_together(documents):
    _, rows = documents
    assert rows[0]["id"] == "PS1-000000000"
    assert rows[0]["time"] == "2026-03-02T00:00:00.000Z"
    assert rows[1025]["id"] == "PS1-000001025"
    assert rows[1025]["time"] == "2026-03-02T17:05:00.000Z"
    source = PlantSource(FAST)
    source.poll(10, 1.0)
    batch = source.poll(5, 1.0).batch
    assert batch.spans == (Span("plant", "PS1", 0, 0, range(10, 15)),)
    assert json.loads(batch.raw(0))["id"] == "PS1-000000010"


def test_every_kind_of_fault_comes_and_about_as_often_as_asked(documents):
    source, rows = documents
    truth = source.truth_between(8_000, len(rows))
    assert set(FAULTS) == set(truth) - {None}
    share = sum(name is not None for name in truth) / len(truth)
    assert share == pytest.approx(0.02, rel=0.2)


def test_truth_is_the_same_one_by_one_and_in_parts(documents):
    source, _ = documents
    whole = source.truth_between(7_500, 11_000)
    assert [source.truth(offset) for offset in range(7_500, 11_000)] == whole
    parts = [source.truth_between(a, a + 70) for a in range(7_500, 11_000, 70)]
    assert list(itertools.chain(*parts)) == whole
    assert source.truth_between(5, 5) == []


def test_values_are_missing_as_often_as_asked_and_never_all_the_time(numbers):
    missing = np.isnan(numbers)
    assert missing.mean() == pytest.approx(0.005, rel=0.15)
    assert missing.any(axis=0).sum() == 3
    assert missing.mean(axis=0).max() < 0.1


def test_the_plant_obeys_its_own_physics(documents, numbers):
    source, rows = documents
    healthy = np.array([name is None for name in source.truth_between(0, len(rows))])
    column = {sensor.name: numbers[healthy, i] for i, sensor in enumerate(SENSORS)}
    apparent = np.sqrt(3) * column["supply_voltage"] * column["pump1_current"] * 0.86 / 1000
    assert np.abs(apparent - column["pump1_power"]).max() < 4
    assert (column["network_pressure"] < column["discharge_pressure"]).all()
    assert (column["suction_pressure"] < column["network_pressure"]).all()
    filling = np.array([row["tank_filling"] for row in rows])[healthy]
    assert (column["flow_in"][filling] >= column["flow_out"][filling]).all()
    modes = np.array([row["mode"] for row in rows])[healthy]
    third = {mode: column["pump3_power"][modes == mode] for mode in ("night", "day", "peak")}
    assert third["night"].max() < third["peak"].min()
    total = sum(column[f"pump{pump}_power"] for pump in (1, 2, 3))
    head = column["discharge_pressure"] - column["suction_pressure"]
    hydraulic = column["flow_out"] * head * 10.2 * 9.81 / 3600
    assert ((hydraulic / total > 0.65) & (hydraulic / total < 0.8)).all()


def _whitened_distance(numbers, flags, train):
    """Distance of every record from the training records, correlations taken out."""
    filled = np.where(np.isnan(numbers), np.nanmedian(numbers[train], axis=0), numbers)
    scaled = (filled - filled[train].mean(axis=0)) / filled[train].std(axis=0)
    x = np.hstack([scaled, flags])
    covariance = np.cov(x[train].T) + 1e-4 * np.eye(x.shape[1])
    centred = x - x[train].mean(axis=0)
    return np.einsum("ij,ij->i", centred @ np.linalg.inv(covariance), centred)


def test_each_fault_can_be_found_and_hardly_any_by_one_value_alone(documents, numbers):
    source, rows = documents
    truth = np.array([name or "" for name in source.truth_between(0, len(rows))])
    flags = np.array(
        [
            [row["mode"] == "night", row["mode"] == "peak", row["tank_filling"]]
            + [row["filter_line"] == line for line in "AB"]
            for row in rows
        ],
        dtype=np.float64,
    )
    distance = _whitened_distance(numbers, flags, slice(0, 5_000))
    line = np.quantile(distance[5_000:8_000], 0.999)
    for fault in FAULTS:
        assert (distance[truth == fault] > line).mean() > 0.85, fault
    healthy = (truth == "") & (np.arange(len(rows)) >= 8_000)
    assert (distance[healthy] > line).mean() < 0.005
    low, high = np.nanmin(numbers[:8_000], axis=0), np.nanmax(numbers[:8_000], axis=0)
    outside = ((numbers < low) | (numbers > high)).any(axis=1)
    for fault in ("stuck_sensor", "wrong_mode", "decoupled_current"):
        assert outside[truth == fault].mean() < 0.2, fault


def test_records_come_at_the_rate_asked_for():
    clock = Clock()
    config = PlantConfig(rate_per_second=50)
    source = PlantSource(config, clock=clock, sleep=clock.sleep)
    began, received = clock.now, 0
    while clock.now < began + 20:
        received += len(source.poll(1_000, 0.5).batch)
    assert received == pytest.approx(1_000, abs=50)


def test_an_idle_poll_ends_after_its_timeout():
    clock = Clock()
    source = PlantSource(PlantConfig(rate_per_second=0.1), clock=clock, sleep=clock.sleep)
    began = clock.now
    assert len(source.poll(10, 0.5).batch) == 0
    assert clock.now - began == pytest.approx(0.5)


def test_records_wait_in_bounded_number_while_nobody_reads():
    clock = Clock()
    config = PlantConfig(rate_per_second=100, max_waiting_records=500)
    source = PlantSource(config, clock=clock, sleep=clock.sleep)
    source.poll(10, 0.1)
    for _ in range(60):
        clock.sleep(1.0)
        source.keep_alive()
    assert source.progress()[0].lag_records == 500
    assert len(source.poll(1_000, 0.0).batch) == 500
    assert source.progress()[0].lag_records == 0
    clock.sleep(1.0)
    assert source.progress()[0].lag_records == pytest.approx(100, abs=1)


def test_the_past_of_the_plant_is_there_at_once():
    clock = Clock()
    config = PlantConfig(rate_per_second=10, history_records=700, max_waiting_records=100)
    source = PlantSource(config, clock=clock, sleep=clock.sleep)
    assert len(source.poll(600, 0.0).batch) == 600
    assert source.progress()[0].lag_records == 100
    clock.sleep(60.0)
    assert source.progress()[0].lag_records == 200
    assert len(source.poll(1_000, 0.0).batch) == 200
    clock.sleep(1.0)
    assert len(source.poll(1_000, 0.0).batch) == pytest.approx(10, abs=1)


def test_the_source_ends_after_its_records_and_says_so():
    clock = Clock()
    config = PlantConfig(rate_per_second=100, records=25)
    source = PlantSource(config, clock=clock, sleep=clock.sleep)
    assert len(read_all(source, (10,))) == 25
    assert source.poll(10, 1.0) is None


def test_commit_remembers_the_furthest_delivery_and_close_disconnects():
    source = PlantSource(FAST)
    source.commit(source.poll(10, 1.0).checkpoint)
    source.commit(3)
    assert source.committed == 10
    assert source.connected()
    assert "31 sensors" in source.check()
    source.close()
    assert not source.connected()
