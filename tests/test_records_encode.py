"""The encoder: a matrix without constant columns, its inverse, its Jacobian, and what is new."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records import Column, Encoder, EncoderConfig, Schema
from vaeiso_monitor.types import Records

SCHEMA = Schema(
    columns=(
        Column("temp", unit="degC"),
        Column("mode", "category"),
        Column("flow", unit="l/s"),
        Column("on", "boolean"),
        Column("site", "category"),
        Column("fixed"),
        Column("firmware", "category"),
    )
)
RNG = np.random.default_rng(3)
N = 500
TRANSFORMS = ["z-score", "yeo-johnson", "quantile"]
NAN = np.nan


def records(numbers, *categories):
    matrix = np.asarray(numbers, dtype=np.float64)
    return Records(matrix, [list(c) for c in categories], np.arange(len(matrix), dtype=np.int64))


def training():
    flow = RNG.lognormal(0, 1, N)
    flow[::5] = NAN
    on = (RNG.random(N) < 0.3).astype(float)
    numbers = np.column_stack([RNG.normal(20, 2, N), flow, on, np.full(N, 7.0)])
    mode = RNG.choice(["idle", "run", None], N, p=[0.3, 0.6, 0.1]).tolist()
    site = [f"s{int(k)}" for k in RNG.exponential(2, N)]
    return records(numbers, mode, site, ["1.2"] * N)


TRAINING = training()


def fit(**keys):
    return Encoder.fit(TRAINING, SCHEMA, EncoderConfig(**keys))


def one(temp=20.0, flow=1.0, on=1.0, fixed=7.0, mode="run", site="s0", firmware="1.2"):
    return records([[temp, flow, on, fixed]], [mode], [site], [firmware])


def span(encoder, name):
    [feature] = [feature for feature in encoder.features if feature.name == name]
    return slice(feature.start, feature.stop)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_matrix_is_finite_float32_without_constant_columns(transform):
    encoder = fit(transform=transform)
    x = encoder.encode(TRAINING)
    assert x.dtype == np.float32
    assert x.shape == (N, encoder.width)
    assert np.isfinite(x).all()
    assert (x.std(axis=0) > 0).all()


def test_features_lie_side_by_side_in_the_order_of_the_schema():
    encoder = fit(max_categories=3)
    assert [(f.name, f.kind, f.unit) for f in encoder.features] == [
        ("temp", "number", "degC"),
        ("mode", "category", None),
        ("flow", "number", "l/s"),
        ("on", "boolean", None),
        ("site", "category", None),
    ]
    widths = [f.stop - f.start for f in encoder.features]
    assert widths == [1, 3, 2, 1, 4]  # mode has a missing column, flow an indicator, site a pool
    assert [f.start for f in encoder.features] == np.cumsum([0, *widths[:-1]]).tolist()
    assert encoder.width == sum(widths)


def test_constants_are_dropped_with_their_reason_and_their_changes_counted():
    encoder = fit()
    assert [(c.name, c.reason, c.value) for c in encoder.dropped] == [
        ("fixed", "every value is 7.0", 7.0),
        ("firmware", "every value is '1.2'", "1.2"),
    ]
    assert encoder.departures(TRAINING).sum() == 0
    assert encoder.departures(one(fixed=7.0001)).tolist() == [1]
    assert encoder.departures(one(fixed=NAN, firmware=None)).tolist() == [2]


def test_a_column_that_was_always_missing_is_dropped_until_it_appears():
    schema = Schema((Column("a"), Column("gone"), Column("c", "category")))
    data = records([[1.0, NAN], [2.0, NAN]], [None, None])
    encoder = Encoder.fit(data, schema)
    assert [(c.name, c.reason) for c in encoder.dropped] == [
        ("gone", "every value is missing"),
        ("c", "every value is missing"),
    ]
    assert encoder.departures(data).tolist() == [0, 0]
    assert encoder.departures(records([[1.0, 5.0]], ["x"])).tolist() == [2]


def test_numbers_that_differ_by_rounding_alone_are_constant():
    value = 1e9
    column = np.array([value, np.nextafter(value, 2e9)] * 50)
    data = records(np.column_stack([column, np.arange(100.0)]))
    encoder = Encoder.fit(data, Schema((Column("a"), Column("b"))))
    assert [c.name for c in encoder.dropped] == ["a"]


def test_a_constant_that_is_sometimes_missing_keeps_its_indicator():
    schema = Schema((Column("a"),))
    data = records([[3.0], [NAN], [3.0]])
    encoder = Encoder.fit(data, schema)
    x = encoder.encode(data)
    assert x.tolist() == [[0.0], [1.0], [0.0]]
    assert encoder.inverse(x) == {"a": [3.0, None, 3.0]}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_inverse_returns_what_was_encoded(transform):
    encoder = fit(transform=transform)
    decoded = encoder.inverse(encoder.encode(TRAINING))
    assert list(decoded) == [feature.name for feature in encoder.features]
    for j, name in ((0, "temp"), (1, "flow")):
        column = TRAINING.numbers[:, j]
        values = np.array(decoded[name], dtype=float)  # None becomes NaN
        np.testing.assert_array_equal(np.isnan(values), np.isnan(column))
        np.testing.assert_allclose(values, column, rtol=2e-5, atol=2e-5)
    assert decoded["on"] == (TRAINING.numbers[:, 2] == 1).tolist()
    assert decoded["mode"] == TRAINING.categories[0]
    assert decoded["site"] == TRAINING.categories[1]


def test_a_row_is_decoded_in_the_users_units():
    encoder = fit()
    x = encoder.encode(one(temp=21.5, flow=NAN, on=0.0, mode=None, site="s1"))[0]
    row = encoder.decode_row(x)
    assert row.pop("temp") == pytest.approx(21.5, abs=1e-5)
    assert row == {"mode": None, "flow": None, "on": False, "site": "s1"}
    blurred = encoder.decode_row(x * 0.7)
    assert (blurred["mode"], blurred["flow"], blurred["site"]) == (None, None, "s1")


def test_an_expected_missing_value_is_the_mean_and_an_indicator():
    encoder = fit()
    own = encoder.encode(one(flow=NAN))[0, span(encoder, "flow")]
    np.testing.assert_allclose(own, [0, 1], atol=1e-6)
    assert encoder.encode(one())[0, span(encoder, "flow")][1] == 0


@pytest.mark.parametrize("name", ["temp", "on"])
def test_a_first_missing_value_stands_out_but_not_absurdly(name):
    encoder = fit()
    seen = encoder.encode(TRAINING)[:, span(encoder, name)]
    own = encoder.encode(one(**{name: NAN}))[0, span(encoder, name)]
    assert seen.max() + 1.99 < own[0] < seen.max() + 2.01


def test_an_unseen_category_lies_further_than_any_seen_one():
    encoder = fit()
    place = span(encoder, "site")
    seen = np.unique(encoder.encode(TRAINING)[:, place], axis=0)
    for new in ("s99", None):
        own = encoder.encode(one(site=new))[0, place]
        np.testing.assert_allclose(((seen - own) ** 2).sum(axis=1), 4, rtol=1e-5)
        assert encoder.inverse(encoder.encode(one(site=new)))["site"] == ["(other)"]
    apart = ((seen[:, np.newaxis] - seen) ** 2).sum(axis=2)
    assert set(apart[~np.eye(len(seen), dtype=bool)].tolist()) == {2.0}


def test_with_a_pool_a_new_category_joins_it_but_a_missing_one_does_not():
    encoder = fit(max_categories=2)
    place = span(encoder, "site")
    assert encoder.encode(one(site="s99"))[0, place].tolist() == [0, 0, 1]
    assert encoder.inverse(encoder.encode(one(site="s99")))["site"] == ["(other)"]
    assert encoder.encode(one(site=None))[0, place].max() < 0


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_extreme_numbers_stay_inside_the_clip(transform):
    encoder = fit(transform=transform, clip=50.0)
    extremes = [1e308, -1e308, np.inf, -np.inf]
    numbers = [[value, value, 1.0, 7.0] for value in extremes]
    x = encoder.encode(records(numbers, ["run"] * 4, ["s0"] * 4, ["1.2"] * 4))
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 50.0
    assert np.abs(x[:, 0]).min() > 5.0


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_log_jacobian_is_that_of_the_numbers_alone(transform):
    encoder = fit(transform=transform)
    step = 1e-4
    fresh = training()
    base = fresh.numbers
    up, down = base.copy(), base.copy()
    up[:, :2] += step
    down[:, :2] -= step
    forward = encoder.numbers.transform.forward
    slopes = np.log((forward(up[:, :2]) - forward(down[:, :2])) / (2 * step))
    expected = np.where(np.isnan(slopes), 0, slopes).sum(axis=1)
    found = encoder.log_jacobian(fresh)
    assert found.shape == (N,)
    assert found.dtype == np.float64
    assert np.quantile(np.abs(found - expected), 0.9) < 1e-3
    assert np.isfinite(found).all()


def test_the_log_jacobian_of_z_scores_is_minus_the_log_of_the_deviations():
    encoder = fit(transform="z-score")
    sd = np.nanstd(TRAINING.numbers[:, :2], axis=0)
    expected = np.where(np.isnan(TRAINING.numbers[:, :2]), 0, -np.log(sd)).sum(axis=1)
    np.testing.assert_allclose(encoder.log_jacobian(TRAINING), expected)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_encoder_survives_its_state(transform):
    encoder = fit(transform=transform, max_categories=3)
    meta, arrays = encoder.state()
    again = Encoder.from_state(json.loads(json.dumps(meta)), arrays)
    np.testing.assert_array_equal(again.encode(TRAINING), encoder.encode(TRAINING))
    assert again.features == encoder.features
    assert again.dropped == encoder.dropped
    assert again.config == encoder.config
    np.testing.assert_array_equal(again.log_jacobian(TRAINING), encoder.log_jacobian(TRAINING))


def test_every_array_of_the_state_can_be_stored():
    for array in fit().state()[1].values():
        assert array.dtype in (np.float64, np.int64)
        assert array.flags.c_contiguous


META, ARRAYS = fit().state()


@pytest.mark.parametrize("key", sorted(META))
@pytest.mark.parametrize("value", [None, 7, [], {}, [{"name": "a"}], [7], ["temp"]])
def test_damaged_meta_is_a_bundle_error(key, value):
    with pytest.raises(BundleError):
        Encoder.from_state({**META, key: value}, ARRAYS)
    with pytest.raises(BundleError):
        Encoder.from_state({name: v for name, v in META.items() if name != key}, ARRAYS)


@pytest.mark.parametrize("key", sorted(ARRAYS))
def test_damaged_arrays_are_bundle_errors(key):
    whole = ARRAYS[key]
    without = {name: array for name, array in ARRAYS.items() if name != key}
    for arrays in (
        without,
        {**ARRAYS, key: whole[..., :-1]},
        {**ARRAYS, key: whole.astype(np.float16)},
        {**ARRAYS, key: whole.reshape(1, 1, -1)},
    ):
        with pytest.raises(BundleError):
            Encoder.from_state(META, arrays)


@pytest.mark.parametrize("key", ["numbers_sources", "numbers_targets", "indicators"])
def test_places_outside_the_matrix_are_bundle_errors(key):
    for shift in (-9, 99):
        with pytest.raises(BundleError):
            Encoder.from_state(META, {**ARRAYS, key: ARRAYS[key] + shift})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (records(np.empty((0, 1))), "no column varies in the 0"),
        (records([[1.0]]), "no column varies"),
        (records([[1.0], [1.0]]), "no column varies"),
        (records([[1.0], [np.inf]]), "'a' holds an infinite"),
    ],
)
def test_records_that_teach_nothing_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        Encoder.fit(data, Schema((Column("a"),)))


def test_records_of_another_width_are_refused():
    with pytest.raises(ValueError, match="2 numbers, not 4"):
        fit().encode(records([[1.0, 2.0]]))


def test_an_empty_batch_is_encoded():
    assert fit().encode(records(np.empty((0, 4)), [], [], [])).shape == (0, fit().width)


@pytest.mark.parametrize(
    "keys", [{"transform": "log"}, {"clip": 0.0}, {"clip": 1e6}, {"max_categories": 0}]
)
def test_config_errors(keys):
    with pytest.raises(ValueError, match=next(iter(keys))):
        EncoderConfig(**keys)
    with pytest.raises(ValueError, match=next(iter(keys))):
        TypeAdapter(EncoderConfig).validate_python(keys)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(10**6), 10**6).map(lambda count: count / 1000),
            st.none() | st.sampled_from("abc"),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from(TRANSFORMS),
)
def test_whatever_was_seen_in_training_makes_a_round_trip(rows, transform):
    schema = Schema((Column("x"), Column("c", "category"), Column("b", "boolean")))
    numbers = [[NAN if x is None else x, NAN if b is None else b] for x, _, b in rows]
    data = records(numbers, [c for _, c, _ in rows])
    try:
        encoder = Encoder.fit(data, schema, EncoderConfig(transform=transform))
    except ValueError:
        assert all(len(set(column)) == 1 for column in zip(*rows, strict=True))
        return
    decoded = encoder.inverse(encoder.encode(data))
    assert {**decoded}.get("c", data.categories[0]) == data.categories[0]
    if "b" in decoded:
        assert decoded["b"] == [b for _, _, b in rows]
    if "x" in decoded:
        values = np.array(decoded["x"], dtype=float)
        np.testing.assert_allclose(values, data.numbers[:, 0], rtol=1e-4, atol=0.1)


VALVE = Schema((Column("flow"), Column("valve", unit="%"), Column("on", "boolean")))


def valves(valve, on=None):
    flow = np.linspace(0.0, 1.0, len(valve))
    truths = [i % 3 == 0 for i in range(len(valve))] if on is None else on
    return records(np.column_stack([flow, valve, np.array(truths, float)]))


def valve_encoder(*values, **keys):
    return Encoder.fit(valves(list(values) * 50), VALVE, EncoderConfig(**keys))


def test_a_number_of_two_values_is_a_truth_with_its_own_values():
    encoder = valve_encoder(20.0, 80.0)
    x = encoder.encode(valves([20.0, 80.0, 80.0], on=[0, 1, 1]))
    assert x[:, 1].tolist() == [0, 1, 1]
    assert encoder.booleans.targets.tolist() == [1, 2]
    assert encoder.inverse(x)["valve"] == [20.0, 80.0, 80.0]
    assert encoder.inverse(np.array([[0.0, 0.25, 1.0]]))["valve"] == [35.0]
    assert encoder.transforms() == {"z-score": ["flow"], "steps": ["valve"]}
    changed = valves([20.0, 80.0], on=[0, 1])
    own = encoder.numbers.log_jacobian(changed.numbers)
    assert encoder.log_jacobian(changed) == pytest.approx(own)


def test_a_number_of_few_values_is_a_step_for_each_that_it_may_reach():
    encoder = valve_encoder(0.0, 50.0, 20.0, 100.0)
    assert [(f.name, f.start, f.stop) for f in encoder.features][1] == ("valve", 1, 4)
    seen = [0.0, 20.0, 50.0, 100.0]
    x = encoder.encode(valves(seen))
    assert x[:, 1:4].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert encoder.inverse(x)["valve"] == seen
    assert encoder.inverse(np.array([[0.0, 0.5, 0.5, 0.0, 1.0]]))["valve"] == [25.0]
    assert encoder.transforms()["steps"] == ["valve"]
    new = encoder.encode(valves([-10.0, 30.0, 45.0, 150.0]))[:, 1:4]
    expected = [[-0.5, 0, 0], [1, -1 / 3, 0], [1, 2 - 5 / 6, 0], [1, 1, 2]]
    np.testing.assert_allclose(new, expected, rtol=1e-6)


def test_numbers_of_more_values_and_those_apart_by_rounding_alone_are_measured():
    assert "steps" not in valve_encoder(1.0, 2.0, 3.0, 4.0, 5.0).transforms()
    assert "steps" not in valve_encoder(0.3, 0.1 + 0.2, 5.0).transforms()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transform_that_is_named_is_that_of_numbers_of_few_values_too(transform):
    encoder = valve_encoder(20.0, 80.0, transform=transform)
    assert encoder.transforms() == {transform: ["flow", "valve"]}
    assert encoder.booleans.targets.tolist() == [2]


@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=4, unique=True),
    st.floats(-1e4, 1e4),
    st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_a_new_value_is_as_far_outside_as_it_is_from_the_nearest(values, new, unit):
    known = sorted(unit * value for value in values)
    new *= unit
    encoder = valve_encoder(*known)
    y = encoder.encode(valves([*known, new]))[:, 1 : len(known)].astype(float)
    assert ((y[:-1] == 0) | (y[:-1] == 1)).all()
    assert (np.diff(y[:-1].sum(axis=1)) == 1).all()
    outside = np.maximum(-y[-1], y[-1] - 1)
    assert (outside >= 0).all()
    assert (outside > 0).sum() == (new not in known)
    i = int(np.clip(np.searchsorted(known, new), 1, len(known) - 1))
    nearest = min(abs(new - known[i - 1]), abs(new - known[i])) / (known[i] - known[i - 1])
    assert outside.max() == pytest.approx(nearest, rel=1e-4, abs=1e-9)


def test_gaps_of_a_number_of_few_values_are_told_by_their_indicator():
    encoder = valve_encoder(20.0, 80.0, NAN, 80.0)
    x = encoder.encode(valves([NAN, 20.0], on=[0, 1]))
    assert x[:, 2].tolist() == [1, 0]
    assert x[0, 1] == pytest.approx(2 / 3)
    assert encoder.inverse(x)["valve"] == [None, 20.0]


def test_numbers_of_few_values_come_back_out_of_a_bundle():
    encoder = valve_encoder(20.0, 50.0, 80.0)
    meta, arrays = encoder.state()
    again = Encoder.from_state(meta, arrays)
    new = valves([20.0, 30.0, 80.0, 200.0])
    assert again.encode(new).tolist() == encoder.encode(new).tolist()
    assert again.transforms() == encoder.transforms()
    lowest = arrays["booleans_lowest"]
    assert lowest.tolist() == [0, 2]
    for wrong, words in (
        (lowest[:1], "begin before others end"),
        (lowest + 1, "is unknown"),
        (lowest[::-1], "is unknown"),
        (lowest.astype(float), "no ends"),
    ):
        with pytest.raises(BundleError, match=words):
            Encoder.from_state(meta, arrays | {"booleans_lowest": wrong})


def test_booleans_of_an_older_bundle_are_read():
    encoder = valve_encoder(20.0, 50.0, 80.0, transform="z-score")
    meta, arrays = encoder.state()
    old = {key: array for key, array in arrays.items() if not key.endswith("est")}
    assert len(old) == len(arrays) - 2
    new = valves([20.0, 30.0])
    assert Encoder.from_state(meta, old).encode(new).tolist() == encoder.encode(new).tolist()
