"""Transforms: exact inverses, exact slopes, and no column that breaks them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records.block import TRANSFORMS
from vaeiso_monitor.records.chosen import Chosen
from vaeiso_monitor.records.layout import Shape
from vaeiso_monitor.records.quantile import Quantile
from vaeiso_monitor.records.transforms import YeoJohnson, ZScore, moments

RNG = np.random.default_rng(5)
N = 4000
COLUMNS = {
    "normal": RNG.normal(size=N),
    "tiny": RNG.normal(size=N) * 1e-9,
    "huge": RNG.normal(size=N) * 1e9 - 3e9,
    "far from zero": 1e9 + RNG.normal(size=N) * 1e-3,
    "lognormal": RNG.lognormal(0, 3, N),
    "cauchy": RNG.standard_cauchy(N),
    "mostly zeros": np.where(RNG.random(N) < 0.8, 0, RNG.exponential(1, N)),
    "counts": RNG.poisson(0.3, N).astype(float),
    "one departure": np.eye(1, N)[0],
    "negative skew": -RNG.lognormal(0, 1, N),
}
X = np.column_stack(list(COLUMNS.values()))
ALL = pytest.mark.parametrize("kind", TRANSFORMS.values(), ids=TRANSFORMS)


@ALL
def test_encoded_columns_have_mean_0_and_sd_1(kind):
    measured = [len(np.unique(column)) >= 20 or kind is not Chosen for column in X.T]
    y = kind.fit(X).forward(X)[:, measured]
    assert np.abs(y.mean(axis=0)).max() < 1e-4  # a mean of 1e9 is a float64 to 1e-4 of its SD
    assert np.abs(y.std(axis=0) - 1).max() < 1e-6


@ALL
def test_the_inverse_is_exact(kind):
    transform = kind.fit(X)
    back = transform.inverse(transform.forward(X))
    error = np.abs(back - X) / np.maximum(np.abs(X), X.std(axis=0))
    assert error.max() < 1e-9


@ALL
def test_the_inverse_is_exact_beyond_the_training_range(kind):
    transform = kind.fit(X)
    y = np.linspace(-30, 30, 61)[:, np.newaxis] * np.ones(X.shape[1])
    with np.errstate(over="raise"):
        raw = transform.inverse(y)
    assert np.isfinite(raw).all()
    # where the raw value is still told from its neighbours, the way back is the way there
    slope = np.exp(transform.log_slope(raw))
    told = np.spacing(np.abs(raw)) * slope < 1e-9
    assert told.mean() > 0.7
    assert np.abs(transform.forward(raw) - y)[told].max() < 1e-6


@pytest.mark.parametrize("kind", [ZScore, YeoJohnson, Chosen])
def test_the_slope_is_the_derivative(kind):
    transform = kind.fit(X)
    middle = np.quantile(X, np.linspace(0, 1, 301), axis=0)
    step = np.maximum(X.std(axis=0) * 1e-6, np.spacing(np.abs(middle)) * 1e2)
    low, high = middle - step, middle + step
    numeric = np.log((transform.forward(high) - transform.forward(low)) / (high - low))
    assert np.abs(numeric - transform.log_slope(middle)).max() < 1e-3


def test_the_slope_of_quantile_is_that_of_its_pieces_and_tails():
    for column in X.T:
        transform = Quantile.fit(column[:, np.newaxis])
        middle = (transform.raw[1:] / 2 + transform.raw[:-1] / 2)[:, np.newaxis]
        step = np.diff(transform.raw)[:, np.newaxis] / 8
        rise = transform.forward(middle + step) - transform.forward(middle - step)
        numeric = np.log(rise) - np.log((middle + step) - (middle - step))
        assert np.abs(numeric - transform.log_slope(middle)).max() < 1e-6
        beyond = transform.raw[[1, -2]][:, np.newaxis] + [[-1e-3], [1e-3]]
        np.testing.assert_allclose(
            transform.log_slope(beyond)[:, 0],
            np.log(np.diff(transform.encoded) / np.diff(transform.raw))[[0, -1]],
        )


@ALL
def test_encoding_grows_strictly(kind):
    transform = kind.fit(X)
    for j, column in enumerate(X.T):
        distinct = np.unique(column)
        rows = np.repeat(distinct[:, np.newaxis], X.shape[1], axis=1)
        steps = np.diff(transform.forward(rows)[:, j])
        assert (steps >= 0).all()
        assert steps.max() > 0


@ALL
def test_missing_values_are_left_out_and_stay_missing(kind):
    column = COLUMNS["lognormal"]
    gaps = np.insert(column, [0, 7, N], np.nan)[:, np.newaxis]
    whole, holed = kind.fit(column[:, np.newaxis]), kind.fit(gaps)
    np.testing.assert_allclose(
        holed.forward(column[:, np.newaxis]), whole.forward(column[:, np.newaxis]), rtol=1e-6
    )
    assert np.isnan(holed.forward(gaps)).sum() == 3


@ALL
def test_state_round_trip(kind):
    transform = kind.fit(X)
    again = kind.from_state(transform.state())
    np.testing.assert_array_equal(again.forward(X), transform.forward(X))
    assert again.width == X.shape[1]


@ALL
def test_damaged_states_are_bundle_errors(kind):
    good = kind.fit(X).state()
    for key, array in good.items():
        cut = {**good, key: array[:-1]}
        gone = {name: value for name, value in good.items() if name != key}
        poisoned = {**good, key: np.full_like(array, -5)}
        for arrays_ in (cut, gone, {**good, key: array.astype(np.float32)}):
            with pytest.raises(BundleError):
                kind.from_state(arrays_)
        if not key.endswith("mean"):
            with pytest.raises(BundleError):
                kind.from_state(poisoned)


def test_auto_bends_what_gains_by_it_and_nothing_else():
    bent = [list(COLUMNS)[j] for j in Chosen.fit(X).bent]
    assert bent == ["lognormal", "negative skew"]  # two heavy tails are past mending so
    for name in COLUMNS:
        column = COLUMNS[name][:, np.newaxis]
        kind = YeoJohnson if name in bent else ZScore
        if len(np.unique(column)) >= 20:
            expected = kind.fit(column).forward(column)
            np.testing.assert_allclose(Chosen.fit(column).forward(column), expected, atol=1e-12)


def test_of_few_records_auto_calms_a_rare_flag():
    flag = np.eye(1, 200).T  # one record of 200
    assert ZScore.fit(flag).forward(flag).max() > 14
    assert 2 < Chosen.fit(flag).forward(flag).max() < 4
    seen_often = np.tile(flag, (500, 1))  # of 100,000 records its rarity is known
    known = ZScore.fit(seen_often).forward(flag).max()
    assert Chosen.fit(seen_often).forward(flag).max() == pytest.approx(known, rel=0.15)
    coin = np.tile([[0.0], [1.0]], (50, 1))
    np.testing.assert_allclose(Chosen.fit(coin).forward(coin), ZScore.fit(coin).forward(coin))


@given(st.floats(1e-9, 1e9), st.floats(-1e9, 1e9), st.integers(2, 19))
def test_auto_does_not_depend_on_the_unit(unit, shift, values):
    column = np.random.default_rng(values).integers(0, values, 60).astype(float)[:, np.newaxis]
    column[:2] = [[0], [1]]
    moved = column * unit + shift * unit
    expected = Chosen.fit(column).forward(column)
    np.testing.assert_allclose(Chosen.fit(moved).forward(moved), expected, rtol=1e-4, atol=1e-4)


def test_z_score_is_the_textbook_one():
    np.testing.assert_allclose(ZScore.fit(X[:, :1]).forward(X[:, :1]), stats.zscore(X[:, :1]))


def test_yeo_johnson_agrees_with_scipy():
    for name in ("normal", "negative skew", "counts"):
        u = stats.zscore(COLUMNS[name])
        ours = YeoJohnson.fit(COLUMNS[name][:, np.newaxis]).exponent[0]
        theirs = stats.yeojohnson_normmax(u, brack=(0, 2))
        assert ours == pytest.approx(np.clip(theirs, 0, 2), abs=1e-3)


def test_the_exponent_of_many_records_is_that_of_a_spread_sample():
    column = RNG.lognormal(0, 1, 60_000)
    few = YeoJohnson.fit(column[::10, np.newaxis]).exponent[0]
    assert YeoJohnson.fit(column[:, np.newaxis]).exponent[0] == pytest.approx(few, abs=0.1)


@ALL
def test_columns_at_the_ends_of_float64_do_not_overflow(kind):
    x = np.array([[-1e308], [0.0], [1e308], [1e300], [-1.7e308], [5e-324]])
    transform = kind.fit(x)
    y = transform.forward(x)[:, 0]
    assert not np.isnan(y).any()
    assert (np.diff(y[np.argsort(x[:, 0])]) >= 0).all()


def test_quantile_makes_a_skewed_column_normal():
    y = Quantile.fit(COLUMNS["lognormal"][:, np.newaxis]).forward(
        RNG.lognormal(0, 3, 2000)[:, np.newaxis]
    )
    assert stats.kstest(y[:, 0], "norm").pvalue > 0.001


def test_quantile_takes_bounded_memory():
    assert len(Quantile.fit(RNG.normal(size=(50_000, 1))).raw) <= 261


def test_moments_hold_at_any_scale():
    base = np.array([1.0, 2.0, 4.0])
    for scale in (1e-300, 1e-9, 1.0, 1e9, 1e300):
        mean, sd = moments(base * scale)
        assert mean == pytest.approx(7 / 3 * scale)
        assert sd == pytest.approx(np.std(base) * scale)


@settings(max_examples=60)
@given(
    arrays(
        np.float64,
        st.integers(2, 30),
        elements=st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, 1e-9]),
    ),
    st.sampled_from(sorted(TRANSFORMS)),
)
def test_any_column_that_varies_makes_a_round_trip(column, name):
    if not Shape.of(column).varies:
        return
    x = column[:, np.newaxis]
    transform = TRANSFORMS[name].fit(x)
    y = transform.forward(x)
    assert np.isfinite(y).all()
    assert np.isfinite(transform.log_slope(x)).all()
    tolerance = 1e-9 * np.abs(x).max()
    assert np.abs(transform.inverse(y) - x).max() <= tolerance
