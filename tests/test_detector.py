from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import vaeiso_monitor
from tests.plain import SCHEMA, documents, raw
from vaeiso_monitor import Detector
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.errors import BundleError, ConfigError
from vaeiso_monitor.model import resolve_device

QUICK = {"beta": 0.1, "latent_dim": 2, "hidden": (16,), "max_steps": 150, "alert_budget": 0.02}


def normal(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 4))
    x[:, 1] = 2 * x[:, 0] + 0.05 * x[:, 1]
    return x


def frame(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = normal(count, seed)
    flow = x[:, 0].copy()
    flow[::50] = np.nan
    return pd.DataFrame(
        {
            "flow": flow,
            "double": x[:, 1],
            "count": rng.integers(0, 9, count),
            "open": rng.random(count) < 0.5,
            "mode": pd.Categorical(rng.choice(["day", "night"], count)),
            "zone": rng.choice(["a", "b", None], count),
        },
        index=np.arange(count) * 7,
    )


@pytest.fixture(scope="module")
def of_arrays() -> Detector:
    return Detector(**QUICK).fit(normal(1200))


@pytest.fixture(scope="module")
def of_frames() -> Detector:
    return Detector(**QUICK).fit(frame(1200))


def test_it_is_the_face_of_the_package() -> None:
    assert vaeiso_monitor.Detector is Detector
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = vaeiso_monitor.Nonsense


def test_signs_are_those_of_scikit_learn(of_arrays: Detector) -> None:
    broken = normal(50, seed=2)
    broken[:, 1] += 8
    fine = normal(500, seed=3)
    assert of_arrays.score_samples(fine).mean() > of_arrays.score_samples(broken).mean() + 10
    assert set(of_arrays.predict(np.vstack([fine, broken])).tolist()) == {-1, 1}
    assert (of_arrays.predict(broken) == -1).mean() > 0.8
    assert (of_arrays.predict(fine) == 1).mean() > 0.9
    assert of_arrays.predict(fine).dtype == np.int64


def test_all_verdicts_agree(of_arrays: Detector) -> None:
    x = np.vstack([normal(500, seed=4), normal(500, seed=5) * 3])
    nats, verdict = of_arrays.nats(x), of_arrays.predict(x)
    np.testing.assert_array_equal(of_arrays.score_samples(x), -nats)
    np.testing.assert_array_equal(of_arrays.decision_function(x) < 0, verdict == -1)
    np.testing.assert_array_equal(of_arrays.anomaly_score(x) > 1, verdict == -1)
    np.testing.assert_array_equal(nats > of_arrays.threshold_nats, verdict == -1)


def test_about_the_budget_of_normal_records_is_flagged(of_arrays: Detector) -> None:
    low, high = of_arrays.bundle.threshold.rate_interval
    rate = (of_arrays.predict(normal(20_000, seed=6)) == -1).mean()
    assert low / 2 < rate < high * 2


def test_a_fit_can_be_repeated_and_continued_elsewhere(of_arrays: Detector, tmp_path: Path) -> None:
    x = normal(100, seed=7)
    again = Detector(**QUICK).fit(normal(1200))
    np.testing.assert_allclose(again.nats(x), of_arrays.nats(x), rtol=1e-4)
    of_arrays.save(tmp_path / "bundle")
    loaded = Detector.load(tmp_path / "bundle", device="cpu")
    np.testing.assert_array_equal(loaded.nats(x), of_arrays.nats(x))
    assert loaded.threshold_nats == of_arrays.threshold_nats
    with pytest.raises(FileExistsError):
        of_arrays.save(tmp_path / "bundle")
    with pytest.raises(BundleError):
        Detector.load(tmp_path)


def test_parts_add_up(of_frames: Detector) -> None:
    x = frame(200, seed=8)
    why = of_frames.explain(x)
    total = why.feature_nats.sum(1) + why.latent_nats.sum(1) + why.mode_nats + why.constant
    np.testing.assert_allclose(total, of_frames.nats(x), rtol=1e-4)
    assert why.feature_nats.shape == (200, len(of_frames.bundle.encoder.features))
    assert len(why.expected) == len(of_frames.bundle.encoder.features)
    assert all(len(values) == 200 for values in why.expected)


def test_the_isometry_is_measured(of_arrays: Detector) -> None:
    table = of_arrays.isometry(normal(300, seed=9)).to_dict()
    json.dumps(table)
    assert len(table["latents"]) == 2


def test_frames_of_any_making_score_the_same(of_frames: Detector) -> None:
    x = frame(100, seed=10)
    expected = of_frames.nats(x)
    assert np.isfinite(expected).all()
    for same in (
        x.reset_index(drop=True),
        x[list(reversed(x.columns))].assign(more="not known to the model"),
        pa.Table.from_pandas(x, preserve_index=False),
        x.astype({"mode": str, "count": float}),
        x.convert_dtypes(),
    ):
        np.testing.assert_allclose(of_frames.nats(same), expected, rtol=1e-5)


def test_a_frame_may_have_missing_and_unseen_values(of_frames: Detector) -> None:
    x = frame(20, seed=11).astype({"mode": object})
    x.loc[:, "flow"] = np.nan
    x.loc[:, "zone"] = None
    x.loc[:, "mode"] = "dusk"
    nats = of_frames.nats(x)
    assert np.isfinite(nats).all()
    assert (nats > of_frames.nats(frame(20, seed=11))).mean() > 0.9


def test_missing_values_of_an_array_are_nan() -> None:
    x = normal(800)
    x[::10, 2] = np.nan
    detector = Detector(**QUICK).fit(x)
    assert np.isfinite(detector.nats(x)).all()


def test_no_records_have_no_scores(of_arrays: Detector, of_frames: Detector) -> None:
    for detector, nothing in ((of_arrays, np.empty((0, 4))), (of_frames, frame(10)[:0])):
        assert detector.nats(nothing).shape == (0,)
        assert detector.predict(nothing).shape == (0,)
        assert detector.anomaly_score(nothing).shape == (0,)


def test_what_cannot_be_scored_is_refused_in_words(
    of_arrays: Detector, of_frames: Detector
) -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        Detector().predict(normal(3))
    with pytest.raises(ValueError, match="trained on 4 columns"):
        of_arrays.nats(normal(3)[:, :3])
    with pytest.raises(ValueError, match="of them categories"):
        of_frames.nats(normal(3))
    with pytest.raises(ValueError, match="shape"):
        of_arrays.nats(normal(3)[0])
    with pytest.raises(ValueError, match=r"lacks the columns \['double'\]"):
        of_frames.nats(frame(3).drop(columns="double"))
    infinite = normal(3)
    infinite[1, 2] = np.inf
    with pytest.raises(ValueError, match="infinite value in row 1"):
        of_arrays.nats(infinite)
    x = frame(5)
    x["double"] = [0.0, 0.0, 0.0, np.inf, 0.0]
    with pytest.raises(ValueError, match="1 rows do not fit; row 3"):
        of_frames.nats(x)
    with pytest.raises(ValueError, match="could not convert"):
        of_arrays.nats([["a"] * 4])


def test_what_cannot_be_trained_on_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="alert_budget"):
        Detector(alert_budget=2)
    with pytest.raises(ValueError, match="beta must be"):
        Detector(beta=-1)
    with pytest.raises(ValueError, match="method must be"):
        Detector(method="guess")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device"):
        Detector(device="abacus").fit(normal(50))
    with pytest.raises(ValueError, match="records"):
        Detector(**QUICK).fit(np.empty((0, 3)))
    with pytest.raises(ValueError, match="no column varies"):
        Detector(**QUICK).fit(np.ones((200, 3)))
    with pytest.raises((ValueError, ConfigError), match="no field"):
        Detector(**QUICK).fit(pd.DataFrame({"a": [None] * 50}))


def test_records_of_the_daemon_score_the_same_in_a_frame(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    documents_ = documents(200, seed=12)
    engine = Engine(bundle, resolve_device("cpu"))
    scored = engine.launch(raw(list(documents_))).wait()
    engine.close()
    x = pd.DataFrame([json.loads(document) for document in documents_])
    detector = Detector.load(tmp_path / "bundle")
    np.testing.assert_allclose(detector.nats(x), scored.nats, rtol=1e-5)


def test_a_declared_schema_is_kept() -> None:
    x = pd.DataFrame([json.loads(document) for document in documents(300)])
    detector = Detector(**QUICK, schema=SCHEMA).fit(x)
    assert detector.bundle.schema == SCHEMA
    x["flow"] = -5.0
    with pytest.raises(ValueError, match="300 rows do not fit; row 0"):
        detector.nats(x)


def hostile(count: int, seed: int) -> dict[str, np.ndarray]:
    """Return columns as they come: each is of a kind that breaks one method or another."""
    rng = np.random.default_rng(seed)
    load = rng.normal(size=count)
    temperature = 20 + 5 * load + 0.5 * rng.normal(size=count)
    return {
        "constant": np.full(count, 3.7),
        "nearly_constant": 1.0 + 1e-9 * rng.normal(size=count),
        "seldom_another": np.where(rng.random(count) < 0.003, 5.0, 1.0),
        "load": load,
        "temperature": temperature,
        "the_same": temperature.copy(),
        "the_same_in_other_units": 1000 * temperature + 7,
        "few_integers": rng.integers(0, 4, count).astype(np.float64),
        "heavy_tails": rng.standard_cauchy(count),
        "lognormal": np.exp(2 * rng.normal(size=count)),
        "mostly_zero": np.where(rng.random(count) < 0.8, 0.0, rng.gamma(2, 1, count)),
        "tiny": 1e-9 * (load + 0.3 * rng.normal(size=count)),
        "huge": 1e9 * (load + 0.3 * rng.normal(size=count)),
        "truth": (rng.random(count) < 0.3).astype(np.float64),
    }


@pytest.fixture(scope="module")
def of_hostile() -> Detector:
    x = np.stack(list(hostile(1200, 0).values()), axis=1)
    return Detector(alert_budget=0.02, max_steps=400).fit(x)


@pytest.mark.parametrize(
    ("column", "shift"),
    [
        ("load", 4.0), ("temperature", 8.0), ("tiny", 4e-9), ("huge", 4e9),
        ("few_integers", 20.0), ("mostly_zero", 40.0), ("nearly_constant", 1e-7), ("truth", 3.0),
    ],
)  # fmt: skip
def test_no_column_hides_what_is_wrong_in_another(
    of_hostile: Detector, column: str, shift: float
) -> None:
    fine = hostile(1000, 1)
    wrong = {name: values[:200].copy() for name, values in fine.items()}
    wrong[column] += shift
    normal_nats, odd_nats = (
        of_hostile.nats(np.stack(list(table.values()), axis=1)) for table in (fine, wrong)
    )
    assert np.isfinite(normal_nats).all()
    assert np.isfinite(odd_nats).all()
    ranks = np.searchsorted(np.sort(normal_nats), odd_nats) / len(normal_nats)
    assert ranks.mean() > 0.95
    assert (odd_nats > of_hostile.threshold_nats).mean() > 0.9


def test_hostile_columns_leave_the_alert_rate_where_it_was_asked_for(of_hostile: Detector) -> None:
    x = np.stack(list(hostile(4000, 2).values()), axis=1)
    x[:5, 0], x[5:10, 1], x[10:15, 9] = 1e300, -1e300, 1e300
    assert np.isfinite(of_hostile.nats(x)).all()
    assert 0.003 < (of_hostile.predict(x) == -1).mean() < 0.07


def test_few_records_are_calibrated_on_scores_they_did_not_shape() -> None:
    wide = np.random.default_rng(1).normal(size=(10, 10))
    x = np.random.default_rng(0).normal(size=(3080, 10)) @ wide
    detector = Detector(beta=0.1, hidden=(8,), max_steps=100, alert_budget=0.2).fit(x[:80])
    summary = detector.bundle.summary
    assert summary["training"]["folds"] == 5
    assert summary["training"]["held_out_rows"] == detector.bundle.threshold.records == 80
    assert summary["training"]["note"].startswith("80 records are too few for 10 encoded columns")
    fresh, seen = (detector.nats(part) for part in (x[80:], x[:80]))
    assert seen.mean() < fresh.mean() - 0.5
    assert summary["held_out_nats"] == pytest.approx(
        fresh.mean(), abs=0.75 * (fresh.mean() - seen.mean())
    )
    rate = (detector.predict(x[80:]) == -1).mean()
    by_seen = (fresh > np.quantile(seen, 0.8)).mean()
    assert abs(rate - 0.2) < abs(by_seen - 0.2)


def test_the_prior_can_be_chosen() -> None:
    x = normal(600)
    with_modes, without = (
        Detector(**QUICK, prior=prior).fit(x).bundle.model.prior  # type: ignore[arg-type]
        for prior in ("mixture", "normal")
    )
    assert (with_modes.modes, without.modes) == (54, 0)
    assert Detector().recipe.model.prior == "mixture"


def test_a_time_budget_ends_with_a_detector() -> None:
    detector = Detector(time_budget_seconds=0.5, max_steps=10**6, hidden=(8,)).fit(normal(600))
    assert detector.bundle.summary["training"]["stopped"] == "time_budget"
    assert np.isfinite(detector.nats(normal(10))).all()
