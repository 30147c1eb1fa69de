"""Whether the inputs moved or the ruler bent, told apart on the simulated station."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from tests.drifting import (
    MINUTE,
    TRAINED_ON,
    Watch,
    bent,
    shifted,
    some,
    station,
    trained_on_the_station,
)
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.lifecycle import InputDriftConfig, IsometryDriftConfig
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.types import Records

DAY = 1440


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return trained_on_the_station()


@pytest.fixture(scope="module")
def after() -> Records:
    """Records of the station after those that the bundle was trained on."""
    return some(station(TRAINED_ON + 6 * DAY), TRAINED_ON, TRAINED_ON + 6 * DAY)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def stretched(bundle: Bundle) -> Bundle:
    def scale(arrays):
        arrays[max(n for n in arrays if n.startswith("decoder") and n.endswith("weight"))] *= 1.3

    return bent(bundle, scale)


def sheared(bundle: Bundle) -> Bundle:
    table = bundle.summary["isometry"]["latents"]
    ranked = sorted(table, key=lambda latent: -latent["importance"])
    first, second = (latent["latent"] for latent in ranked[:2])

    def shear(arrays):
        weight = arrays["decoder.0.weight"]
        weight[:, second] += 0.9 * weight[:, first]

    return bent(bundle, shear)


def foreign(bundle: Bundle) -> Bundle:
    """Return the bundle without records of its own: only recent ones can tell then."""
    return replace(bundle, sample=None)


def test_a_stationary_stream_is_quiet(bundle: Bundle, after: Records, watch: Watch) -> None:
    judged = 0
    for day in range(6):
        for hour in range(0, 24, 8):
            start = day * DAY + hour * 60
            watch.observe(some(after, start, start + 480))
            inputs = watch.inputs.check(bundle)
            judged += inputs.verdict.judged
            assert not inputs.verdict.departed, inputs.verdict.sentence
            if start >= 1000:
                report = watch.isometry.check(bundle, some(after, start - 1000, start))
                assert report.verdict.judged
                assert report.altered is False
                assert not report.verdict.departed, report.verdict.sentence
    assert judged > 12


@pytest.mark.parametrize("change", [stretched, sheared])
def test_a_bent_decoder_is_caught_within_two_checks_and_the_inputs_stay_quiet(
    bundle: Bundle, after: Records, watch: Watch, change
) -> None:
    watch.observe(some(after, 0, 2 * DAY))
    recent = some(after, 2 * DAY - 1000, 2 * DAY)
    damaged = change(bundle)
    first, second = (watch.isometry.check(damaged, recent) for _ in range(2))
    assert first.verdict.departed
    assert not first.verdict.drifted
    assert second.verdict.drifted
    assert second.verdict.began
    assert second.verdict.action == "alert"
    assert second.altered
    assert "weights are not those that were trained" in second.verdict.sentence
    inputs = watch.inputs.check(damaged)
    assert inputs.verdict.judged
    assert not inputs.verdict.departed


@pytest.mark.parametrize("change", [stretched, sheared])
def test_recent_records_alone_tell_of_a_bent_decoder(
    bundle: Bundle, after: Records, watch: Watch, change
) -> None:
    damaged = foreign(change(bundle))
    reports = [watch.isometry.check(damaged, some(after, 0, 1000)) for _ in range(2)]
    assert reports[1].verdict.drifted
    assert reports[1].altered is None
    departed = {reading.name for reading in reports[1].quantities if reading.departed}
    assert departed or any(latent.departed for latent in reports[1].latents)


def test_an_altered_model_is_told_without_any_recent_record(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    # it may find nothing normal any more, and the window of normal records then stays empty
    reports = [watch.isometry.check(stretched(bundle), some(after, 0, 0)) for _ in range(2)]
    assert reports[1].verdict.drifted
    assert reports[1].quantities == ()
    assert "recent records show nothing of it yet" in reports[1].verdict.sentence


def test_a_shifted_sensor_raises_the_input_drift_first(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    watch.observe(some(after, 0, 2 * DAY))
    moved = shifted(after, "pump1_bearing_temp", 10, start=2 * DAY)
    engine = Engine(bundle, resolve_device("cpu"))
    normal = np.flatnonzero(~bundle.threshold.anomalous(engine.score(moved)))
    engine.close()
    for start in range(2 * DAY, 4 * DAY, 60):
        watch.observe(some(moved, start, start + 60))
        rows = normal[normal < start + 60][-1000:]
        categories = [[column[i] for i in rows] for column in moved.categories]
        recent = Records(moved.numbers[rows], categories, np.arange(len(rows)))
        ruler = watch.isometry.check(bundle, recent)
        inputs = watch.inputs.check(bundle)
        assert not ruler.verdict.drifted
        if inputs.verdict.drifted:
            break
    assert start - 2 * DAY <= 12 * 60
    assert inputs.verdict.began
    assert inputs.drifted_features == ["pump1_bearing_temp"]
    assert inputs.verdict.sentence.startswith("The inputs moved in 1 of 34 features: pump1_bear")
    assert "training" in inputs.verdict.sentence
    assert ruler.altered is False


def test_records_that_moved_bend_the_ruler_while_the_model_is_intact(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    moved = some(shifted(after, "ph", 0.2), 0, 1000)
    reports = [watch.isometry.check(bundle, moved) for _ in range(2)]
    assert reports[1].verdict.drifted
    assert reports[1].altered is False
    assert "so the records moved" in reports[1].verdict.sentence


def test_one_departure_is_no_drift_and_a_drift_ends(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    good, bad = bundle, stretched(bundle)
    recent = some(after, 0, 500)
    told = []
    for each in (bad, good, good, bad, bad, good, good, good):
        verdict = watch.isometry.check(each, recent).verdict
        told.append((verdict.drifted, verdict.began, verdict.ended, verdict.departures))
    assert told == [
        (False, False, False, 1),
        (False, False, False, 1),
        (False, False, False, 1),
        (False, False, False, 1),
        (True, True, False, 2),
        (True, False, False, 2),
        (False, False, True, 1),
        (False, False, False, 0),
    ]


def test_a_restart_remembers_the_departures(bundle: Bundle, after: Records, tmp_path: Path) -> None:
    recent = some(after, 0, 500)
    assert not Watch(tmp_path).isometry.check(stretched(bundle), recent).verdict.drifted
    verdict = Watch(tmp_path).isometry.check(stretched(bundle), recent).verdict
    assert verdict.drifted
    assert verdict.began
    assert not Watch(tmp_path).isometry.check(stretched(bundle), recent).verdict.began


def test_another_bundle_starts_anew(bundle: Bundle, after: Records, watch: Watch) -> None:
    recent = some(after, 0, 500)
    bad = stretched(bundle)
    assert watch.isometry.check(bad, recent).verdict.departures == 1
    other = replace(bad, version="20300101T000000Z-00000000")
    assert watch.isometry.check(other, recent).verdict.departures == 1
    assert watch.isometry.check(other, recent).verdict.began
    assert watch.isometry.check(bundle, recent).verdict.departures == 1


@pytest.mark.parametrize("action", ["none", "alert", "retrain"])
def test_the_action_is_what_the_config_says(
    bundle: Bundle, after: Records, tmp_path: Path, action
) -> None:
    config = IsometryDriftConfig(action=action, persistence=1, of_checks=1)
    watch = Watch(tmp_path, isometry=config)
    recent = some(after, 0, 500)
    assert watch.isometry.check(bundle, recent).verdict.action == "none"
    assert watch.isometry.check(stretched(bundle), recent).verdict.action == action


def test_what_cannot_be_judged_says_why_and_counts_for_nothing(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    few = watch.isometry.check(bundle, some(after, 0, 20))
    assert not few.verdict.judged
    assert "There are 20 recent normal records" in few.verdict.sentence
    none = watch.inputs.check(bundle)
    assert not none.verdict.judged
    watch.observe(some(after, 0, 300))
    assert "300 recent records are too few" in watch.inputs.check(bundle).verdict.sentence
    old = replace(bundle, isometry_reference=None, input_reference=None)
    for report in (watch.isometry.check(old, some(after, 0, 500)), watch.inputs.check(old)):
        assert not report.verdict.judged
        assert "the next training makes one" in report.verdict.sentence
    assert watch.history.checks("isometry") == watch.history.checks("inputs") == []


def test_missing_unseen_and_out_of_range_are_told(
    bundle: Bundle, after: Records, watch: Watch
) -> None:
    broken = some(after, 0, 2 * DAY)
    names = [column.name for column in bundle.schema.number_columns]
    broken = Records(broken.numbers.copy(), [list(c) for c in broken.categories], broken.rows)
    broken.numbers[::3, names.index("ph")] = np.nan
    broken.numbers[::5, names.index("chlorine")] = 9.0
    broken.categories[0][::4] = ["maintenance"] * len(broken.categories[0][::4])
    watch.observe(broken)
    report = watch.inputs.check(bundle)
    departed = {reading.feature: reading for reading in report.features if reading.departed}
    assert departed["ph"].missing.value == pytest.approx(1 / 3, abs=0.08)  # in its worst stretch
    assert departed["chlorine"].out_of_range.value == pytest.approx(0.2, abs=0.08)
    assert departed["mode"].unseen.value == pytest.approx(0.25, abs=0.08)
    assert "missing in " in departed["ph"].words
    assert "unseen values in " in departed["mode"].words
    assert "out of the range of training in " in departed["chlorine"].words
    assert set(departed) == {"ph", "chlorine", "mode"}


def test_a_high_rate_is_judged_by_its_time_not_by_its_count(
    bundle: Bundle, after: Records, tmp_path: Path
) -> None:
    """An hour of a thinned training set's stream has more records than the whole set."""
    assert bundle.input_reference is not None
    reference = replace(bundle.input_reference, seconds=TRAINED_ON * MINUTE)
    watch = Watch(tmp_path)
    night = some(after, 0, 60)
    for _ in range(200):
        watch.inputs.observe(night)
    watch.now += 3600
    assert not watch.inputs.check(replace(bundle, input_reference=reference)).verdict.judged


def test_the_reports_are_json_and_the_metrics_bounded(
    bundle: Bundle, after: Records, tmp_path: Path
) -> None:
    watch = Watch(
        tmp_path,
        isometry=IsometryDriftConfig(max_latents=2),
        inputs=InputDriftConfig(max_features=3),
    )
    watch.observe(some(after, 0, 2 * DAY))
    ruler = watch.isometry.check(bundle, some(after, 0, 1000))
    inputs = watch.inputs.check(bundle)
    for report in (ruler, inputs):
        document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert document["judged"] is True
        assert document["sentence"] == report.verdict.sentence
    assert ruler.to_dict()["quantities"]["nats"]["low"] is None
    text = generate_latest(watch.telemetry.registry).decode()
    for name in ("vaeiso_input_psi", "vaeiso_input_drifted", "vaeiso_input_missing_ratio"):
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        assert len(lines) == 4
        assert any('feature="(other)"' in line for line in lines)
    assert text.count("vaeiso_latent_norm_ratio{") == 2
    assert 'vaeiso_isometry_norm_error_ratio{set="limit"}' in text
    assert "vaeiso_model_altered 0.0" in text
    assert 'vaeiso_drift_checks_total{kind="inputs",outcome="quiet"} 1.0' in text


def test_a_drift_is_exported(bundle: Bundle, after: Records, watch: Watch) -> None:
    for _ in range(2):
        watch.isometry.check(stretched(bundle), some(after, 0, 500))
    text = generate_latest(watch.telemetry.registry).decode()
    assert 'vaeiso_drifted{kind="isometry"} 1.0' in text
    assert 'vaeiso_drift_checks_total{kind="isometry",outcome="departed"} 1.0' in text
    assert 'vaeiso_drift_checks_total{kind="isometry",outcome="drifted"} 1.0' in text
    assert "vaeiso_model_altered 1.0" in text


@pytest.mark.parametrize("config", [IsometryDriftConfig, InputDriftConfig])
def test_a_persistence_that_cannot_be_reached_is_refused(config) -> None:
    with pytest.raises(ValueError, match="persistence = 4 cannot exceed of_checks = 3"):
        config(persistence=4)
    with pytest.raises(ValueError, match="min_records = 500 cannot exceed"):
        IsometryDriftConfig(min_records=500, max_records=400)
