import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from vaeiso_monitor.telemetry import (
    METRICS,
    ModelFacts,
    Scored,
    State,
    Telemetry,
)
from vaeiso_monitor.telemetry import catalogue as metrics
from vaeiso_monitor.telemetry.recent import Recent
from vaeiso_monitor.telemetry.series import Series
from vaeiso_monitor.types import PartitionProgress, RejectReason

unhurried = settings(deadline=None)


class Clock:
    """Unix time that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def telemetry(clock):
    return Telemetry(CollectorRegistry(), version="1.2.3", torch_version="2.13", clock=clock)


def model(version="v1", **changes):
    facts = {
        "trained_at": 1_699_999_940.0,
        "beta": 0.01,
        "latent_dim": 8,
        "device": "cpu",
        "threshold_nats": 30.5,
        "alert_budget": 0.001,
    }
    return ModelFacts(version, **(facts | changes))


def scored(records, warnings=0, criticals=0):
    return Scored(np.arange(float(records)), np.zeros(records), records, warnings, criticals)


def value(telemetry, name, **labels):
    return telemetry.registry.get_sample_value(name, labels)


def reading(value):
    return {"value": value, "reference": 0.0, "low": None, "high": 1.0}


def checked(**found):
    head = {"judged": True, "departed": False, "drifted": False, "checked_at": 1_700_000_000.0}
    return head | found


def ruler_report():
    names = (
        "norm_error",
        "orthogonality_error",
        "transform_coding_ratio",
        "nats",
        "meaningful_latents",
    )
    latent = {"latent": 0, "kl_nats": 1.0, "norm": reading(1.0), "orthogonality": reading(0.1)}
    quantities = {name: reading(0.5) for name in names}
    return checked(altered=False, quantities=quantities, latents=[latent])


def inputs_report():
    names = ("psi", "missing", "unseen", "out_of_range")
    feature = {"feature": "flow"} | {name: reading(0.5) for name in names}
    return checked(drifted_features=[], features=[feature])


def tell_everything(telemetry):
    telemetry.limits(8 << 30, 2.0)
    telemetry.records_received("kafka", "plant", 100, 5_000)
    telemetry.records_rejected({RejectReason.NOT_JSON: 3})
    telemetry.batch_scored(scored(97, 2, 1))
    telemetry.partitions([PartitionProgress("plant", 0, 7, 2.0)])
    telemetry.source_connected("kafka", connected=True)
    telemetry.source_failures("kafka", 1)
    telemetry.constants_departed(2)
    telemetry.columns(["a"])
    telemetry.anomalies_blamed({"a": 1})
    telemetry.sink_connected("stdout", connected=True)
    telemetry.alerts_sent("stdout", 3)
    telemetry.dead_letters_sent("file", 3, "failed")
    telemetry.event_time("kafka", 1_699_999_999.0)
    telemetry.warming_up(10, 100)
    telemetry.training(0.5)
    telemetry.model_serving(model())
    telemetry.stage_finished("score", 0.01)
    telemetry.episodes.told(begun=1, cooled=2, flooded=0)
    telemetry.episodes.stand(1, flooding=False)
    telemetry.drift.isometry_checked(ruler_report(), max_latents=64)
    telemetry.drift.inputs_checked(inputs_report(), max_features=100)
    telemetry.regime.watching(0.1, shifted=False)
    telemetry.regime.started()
    telemetry.window.stands(rows={"normal": 5}, size_bytes=9, oldest=1.0, set_aside={"damaged": 1})
    telemetry.window.not_written()
    telemetry.feedback.remembered(3)
    telemetry.feedback.not_remembered(1, "flood")
    telemetry.feedback.judged(1, 2)
    telemetry.lifecycle.training_began("schedule")
    telemetry.lifecycle.training_effort(0.5, 9)
    telemetry.lifecycle.judging()
    telemetry.lifecycle.verdict(accepted=True, figures={"agreement": 1.0}, passed={"nats": True})
    telemetry.lifecycle.training_ended("promoted", "schedule", "it is better", 3.0, "v2")
    telemetry.lifecycle.next_training(2.0)
    telemetry.lifecycle.skipped("drift")
    telemetry.lifecycle.swapped(worked=True)
    telemetry.lifecycle.models_stored(2)
    telemetry.lifecycle.job_failed("tidy")
    telemetry.lifecycle.scheduler_alive(True)
    telemetry.lifecycle.config_reloaded(worked=True, restart_needed=True)
    telemetry.heartbeat()


def test_every_metric_of_the_catalogue_is_exported_under_its_name(clock):
    telemetry = Telemetry(CollectorRegistry(), gpu_memory=lambda: 4096, clock=clock)
    tell_everything(telemetry)
    exposed = generate_latest(telemetry.registry).decode()
    for metric in METRICS:
        assert f"# TYPE {metric.name} {metric.type}\n" in exposed
        assert f"# HELP {metric.name} {metric.meaning}\n" in exposed
    assert value(telemetry, "vaeiso_gpu_memory_bytes") == 4096
    assert value(telemetry, "process_resident_memory_bytes") > 0


def test_labels_of_the_scrape_are_those_of_the_catalogue(telemetry):
    tell_everything(telemetry)
    declared = {
        metric.name.removesuffix("_total").removesuffix("_info"): metric for metric in METRICS
    }
    seen = set()
    for family in text_string_to_metric_families(generate_openmetrics(telemetry.registry).decode()):
        if family.name not in declared:
            assert family.name.startswith(("process_", "python_gc_"))
            continue
        seen.add(family.name)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(declared[family.name].labels)
    assert len(seen) == len(METRICS) - 1  # no GPU here


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus_practice(metric):
    assert metric.name.startswith("vaeiso_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert metric.meaning.endswith(".")
    assert all(len(labels) == len(metric.labels) for labels in metric.at_first)
    assert not {"job", "instance"} & set(metric.labels)  # these a scrape puts on every series
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.kind == "age":
        assert metric.name.endswith("_seconds")


def test_names_are_unique():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_states_of_the_catalogue_are_those_of_the_daemon():
    assert tuple(State) == metrics.STATES


batches = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), max_size=20
)


@unhurried
@given(batches)
def test_received_is_always_scored_plus_rejected_plus_waiting(counts):
    telemetry = Telemetry(CollectorRegistry())
    for received, rejected, done in counts:
        telemetry.records_received("file", "a", received, 10 * received)
        waiting = telemetry.status().records.waiting
        rejected = min(rejected, waiting)
        telemetry.records_rejected({"not_json": rejected})
        done = min(done, waiting - rejected)
        telemetry.batch_scored(scored(done, warnings=done))
        now = telemetry.status().records
        assert now.received == now.scored + now.rejected + now.waiting
        assert now.waiting >= 0
        assert value(telemetry, "vaeiso_records_waiting") == now.waiting
    totals = telemetry.status().records
    assert totals.received == sum(received for received, _, _ in counts)
    assert totals.anomalies == totals.scored


finite = st.floats(-1e4, 1e6)


@unhurried
@given(st.lists(arrays(np.float64, st.integers(0, 30), elements=finite), max_size=5))
def test_a_histogram_of_batches_counts_what_a_loop_would(values):
    series = Series([metrics.ANOMALY_SCORE])
    for batch in values:
        series.observe(metrics.ANOMALY_SCORE, batch)
    registry = CollectorRegistry()
    registry.register(series)
    together = np.concatenate([*values, np.array([])])
    if not values:
        return
    for bound in metrics.ANOMALY_SCORE.buckets:
        expected = int((together <= bound).sum())
        bucket = registry.get_sample_value("vaeiso_anomaly_score_bucket", {"le": f"{bound:.16g}"})
        bucket = bucket or registry.get_sample_value(
            "vaeiso_anomaly_score_bucket", {"le": str(float(bound))}
        )
        assert (bucket or 0) == expected
    assert registry.get_sample_value("vaeiso_anomaly_score_count") == len(together)
    total = registry.get_sample_value("vaeiso_anomaly_score_sum")
    assert total == pytest.approx(together.sum(), abs=1e-6)


def test_what_is_no_number_lands_in_the_last_bucket_and_spares_the_sum():
    series = Series([metrics.ANOMALY_SCORE])
    registry = CollectorRegistry()
    registry.register(series)
    series.observe(metrics.ANOMALY_SCORE, [0.5, math.nan, math.inf])
    assert registry.get_sample_value("vaeiso_anomaly_score_bucket", {"le": "100.0"}) == 1
    assert registry.get_sample_value("vaeiso_anomaly_score_bucket", {"le": "+Inf"}) == 3
    assert registry.get_sample_value("vaeiso_anomaly_score_sum") == 0.5


def test_a_swapped_out_model_leaves_no_series(telemetry, clock):
    telemetry.model_serving(model("v1"))
    telemetry.model_serving(model("v2", threshold_nats=40.0))
    old = {"version": "v1", "beta": "0.01", "latent_dim": "8", "device": "cpu"}
    assert value(telemetry, "vaeiso_model_info", **old) is None
    assert value(telemetry, "vaeiso_model_info", **(old | {"version": "v2"})) == 1
    assert value(telemetry, "vaeiso_threshold_nats") == 40
    clock.now += 40
    assert value(telemetry, "vaeiso_model_age_seconds") == pytest.approx(100)
    assert value(telemetry, "vaeiso_alert_budget_ratio") == 0.001


def test_a_partition_that_was_given_up_leaves_no_series(telemetry, clock):
    telemetry.partitions([PartitionProgress("t", 0, 5, 1.0), PartitionProgress("t", 1, None, 2.0)])
    clock.now += 10
    assert value(telemetry, "vaeiso_consumer_lag_records", topic="t", partition="0") == 5
    assert value(telemetry, "vaeiso_consumer_lag_records", topic="t", partition="1") is None
    ages = "vaeiso_partition_progress_age_seconds"
    # The age goes on rising although nobody reports: a loop that is stuck must be seen.
    assert value(telemetry, ages, topic="t", partition="1") == pytest.approx(12)
    telemetry.partitions([PartitionProgress("t", 1, 0, 0.0)])
    assert value(telemetry, ages, topic="t", partition="0") is None
    assert [part.partition for part in telemetry.status().partitions] == [1]


def test_topics_beyond_a_hundred_share_one_label(telemetry):
    for number in range(150):
        telemetry.records_received("file", f"part-{number}.csv", 1, 10)
    telemetry.records_received("file", "part-0.csv", 1, 10)
    name = "vaeiso_records_received_total"
    assert value(telemetry, name, source="file", topic="part-0.csv") == 2
    assert value(telemetry, name, source="file", topic="(other)") == 50
    assert telemetry.status().records.received == 151


def test_the_alert_rate_is_that_of_recent_records(telemetry, clock):
    assert value(telemetry, "vaeiso_alert_rate_ratio") is None
    telemetry.records_received("file", "a", 3_000, 1)
    telemetry.batch_scored(scored(1_000, 10))
    assert value(telemetry, "vaeiso_alert_rate_ratio") == pytest.approx(0.01)
    clock.now += 4_000
    telemetry.batch_scored(scored(1_000))
    assert value(telemetry, "vaeiso_alert_rate_ratio") == 0
    clock.now += 4_000
    telemetry.heartbeat()
    assert telemetry.status().alert_rate is None
    assert value(telemetry, "vaeiso_alert_rate_ratio") is None


@unhurried
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 400), st.integers(0, 3)), max_size=60))
def test_a_sliding_window_forgets_what_is_old_and_only_that(events):
    recent = Recent(records=1_000, seconds=100)
    now, kept = 0.0, []
    for wait, records, hits in events:
        now += wait
        recent.add(now, records, hits)
        kept.append((now, records, hits))
    sure = [event for event in kept if now - event[0] <= 100 - 1]
    total = 0
    newest = []
    for event in reversed(sure):
        newest.append(event)
        total += event[1]
        if total >= 1_000:
            break
    records = sum(event[1] for event in newest)
    ratio = recent.ratio()
    if records == 0 or ratio is None:
        assert records == 0
        return
    held = recent._records
    assert records <= held <= sum(event[1] for event in kept)
    assert held < 1_000 + 400 + 1


def test_the_window_stays_small_with_batches_of_one():
    recent = Recent(records=100_000, seconds=3600)
    for number in range(20_000):
        recent.add(number * 0.001, 1)
    assert len(recent._bins) < 300
    assert recent.per_second(20.0) == pytest.approx(1_000, rel=0.05)


def test_a_stage_is_timed_even_when_it_fails(telemetry):
    with pytest.raises(KeyError), telemetry.stage("decode"):
        raise KeyError
    name = "vaeiso_stage_duration_seconds_count"
    assert value(telemetry, name, stage="decode") == 1
    assert value(telemetry, name, stage="score") == 0


def test_scrapes_beside_updates_always_add_up(telemetry):
    stop = threading.Event()

    def work():
        while not stop.is_set():
            telemetry.records_received("file", "a", 10, 100)
            telemetry.records_rejected({"not_json": 1})
            telemetry.batch_scored(scored(9))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(200):
            assert _adds_up(telemetry.registry)
            now = telemetry.status().records
            assert now.received == now.scored + now.rejected + now.waiting
    finally:
        stop.set()
        worker.join()


def _adds_up(registry: Collector) -> bool:
    samples = {}
    for family in registry.collect():
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0) + sample.value
    received = samples.get("vaeiso_records_received_total", 0)
    done = samples["vaeiso_records_rejected_total"] + samples.get("vaeiso_records_scored_total", 0)
    return received == done + samples.get("vaeiso_records_waiting", 0)


def test_two_owners_of_the_same_names_are_refused(telemetry):
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Telemetry(telemetry.registry)
