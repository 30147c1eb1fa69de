"""Arrow decoding: typed columns, text columns, and one bad cell that costs one row."""

import json
import math
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeiso_monitor.records import Column, Decoder, Schema, parse_time
from vaeiso_monitor.types import RawBatch, RejectReason, Span

SCHEMA = Schema(
    columns=(
        Column("temp", maximum=150),
        Column("on", "boolean"),
        Column("mode", "category", values=("run", "NA")),
    ),
    key="id",
    time="at",
)


def batch(payload, lines=None):
    return RawBatch(payload, [Span("file", "x", 0, 0, range(len(payload)))], lines=lines)


def decode(columns, lines=None, schema=SCHEMA):
    sizes = {len(column) for column in columns.values()}
    columns = {"id": pa.array(range(sizes.pop())), **columns}
    return Decoder(schema).decode(batch(pa.record_batch(columns), lines))


def temps(array):
    records, rejects = decode({"temp": array})
    return records.numbers[:, 0].tolist(), rejects


def text(*cells):
    return pa.array([None if cell is None else cell.encode() for cell in cells], pa.binary())


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 2], pa.int8()),
        pa.array([1, 2], pa.uint64()),
        pa.array([1, 2], pa.float16()),
        pa.array([1, 2], pa.float32()),
        pa.array([Decimal("1.00"), Decimal("2.00")]),
        pa.array([1.0, 2.0]).dictionary_encode(),
        pc.run_end_encode(pa.array([1.0, 2.0])),
        text("1", " 2.0 "),
        text("+1", "2e0"),
        text("1", "2").cast(pa.large_binary()),
        pa.array([b"1", b"2"], pa.binary(1)),
    ],
    ids=lambda array: str(array.type),
)
def test_every_type_of_number_is_read(array):
    assert temps(array) == ([1.0, 2.0], [])


def test_large_integers_are_rounded_not_refused():
    assert temps(pa.array([-(2**62) - 1]))[0] == [-(2.0**62)]


@pytest.mark.parametrize(
    ("array", "reason", "words"),
    [
        (pa.array(["1", None]), "wrong_type", "'temp': found string, expected a number"),
        (pa.array([True, None]), "wrong_type", "found bool"),
        (pa.array([datetime(2026, 1, 1), None]), "wrong_type", "timestamp"),  # noqa: DTZ001
        (pa.array([[1], None]), "wrong_type", "list"),
        (pa.array([math.nan, 1.0]), "not_finite", "nan is not finite"),
        (pa.array([-math.inf, 1.0]), "not_finite", "-inf is not finite"),
        (pa.array([151, 1]), "out_of_range", "found 151"),
        (text("x", "1"), "wrong_type", "found text 'x', expected a number"),
        (text("1_000", "1"), "wrong_type", "'1_000'"),
        (text("0x10", "1"), "wrong_type", "'0x10'"),
        (text("NaN", "1"), "not_finite", "NaN"),
        (text("-Infinity", "1"), "not_finite", "Infinity"),
        (text("1e999", "1"), "not_finite", "1e999"),
        (text("151", ""), "out_of_range", "found 151"),
        (pa.array([b"\xff", b"1"], pa.binary()), "invalid_utf8", "byte 0"),
    ],
)
def test_a_bad_number_costs_its_row_only(array, reason, words):
    records, rejects = decode({"temp": array})
    assert records.rows.tolist() == [1]
    [reject] = rejects
    assert reject.reason is RejectReason(reason)
    assert words in reject.detail
    assert "'temp'" in reject.detail
    assert reject.position.offset == 0


def test_missing_cells_are_missing_in_every_form():
    values, rejects = temps(text(None, "", " NA ", "null", "N/A", "3"))
    np.testing.assert_array_equal(values, [np.nan] * 5 + [3.0])
    assert rejects == []
    np.testing.assert_array_equal(temps(pa.nulls(2))[0], [np.nan] * 2)


def test_a_column_that_is_not_there_is_missing():
    records, rejects = decode({"on": pa.array([True])})
    assert rejects == []
    assert math.isnan(records.numbers[0, 0])
    assert records.categories == [[None]]
    assert records.times == [None]
    required = Schema((Column("temp", missing="reject"),))
    _, [reject] = decode({"x": pa.array([1])}, schema=required)
    assert reject.reason is RejectReason.MISSING_VALUE


def test_a_missing_key_column_rejects_every_row():
    decoder = Decoder(Schema((Column("temp"),), key="serial"))
    records, rejects = decoder.decode(batch(pa.record_batch({"temp": pa.array([1, 2])})))
    assert len(records) == 0
    assert [reject.reason for reject in rejects] == [RejectReason.MISSING_KEY] * 2


@pytest.mark.parametrize(
    "array",
    [
        pa.array([True, False, None]),
        pa.array([1, 0, None]),
        pa.array([1.0, 0.0, None]),
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())),
        text("true", "false", ""),
        text("1", "0", "NA"),
        text("Yes", "no", None),
        text("T", "F", None),
    ],
)
def test_booleans_are_ones_and_zeros(array):
    records, rejects = decode({"on": array})
    assert rejects == []
    np.testing.assert_array_equal(records.numbers[:, 1], [1, 0, np.nan])


@pytest.mark.parametrize("array", [pa.array([2, 1]), text("maybe", "1"), pa.array(["true", None])])
def test_what_is_no_boolean_is_refused(array):
    records, [reject] = decode({"on": array})
    assert records.rows.tolist() == [1]
    assert reject.reason is RejectReason.WRONG_TYPE


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["run", "NA", None]), ["run", "NA", None]),
        (pa.array(["run", "NA", None]).dictionary_encode(), ["run", "NA", None]),
        (pa.array(["run", "NA", None], pa.large_string()), ["run", "NA", None]),
        (text("run", "NA", ""), ["run", "NA", None]),
        (text("run", "null", None), ["run", None, None]),
        (pa.array([1, 2, None]), ["1", "2", None]),
        (pa.array([1.0, 2.5, None]), ["1", "2.5", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([datetime(2026, 1, 1), None]), ["2026-01-01 00:00:00.000000", None]),  # noqa: DTZ001
        (pa.nulls(1), [None]),
    ],
)
def test_categories_are_texts(array, expected):
    records, rejects = decode({"mode": array})
    assert rejects == []
    assert records.categories == [expected]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([math.inf, 1.0]), "not_finite"),
        (pa.array([b"\xff", b"run"], pa.binary()), "invalid_utf8"),
        (pa.array([b"\xff", b"run"], pa.binary()).view(pa.string()), "invalid_utf8"),
        (pa.array([[1], None]), "wrong_type"),
    ],
)
def test_a_bad_category_costs_its_row_only(array, reason):
    records, [reject] = decode({"mode": array})
    assert records.rows.tolist() == [1]
    assert reject.reason is RejectReason(reason)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1795323600123456789], pa.timestamp("ns", "UTC")),
        pa.array([1795323600123], pa.timestamp("ms")),
        pa.array([1795323600], pa.timestamp("s", "Europe/Berlin")),
        text("2026-11-22T05:00:00Z"),
        pa.array(["2026-11-22T05:00:00Z"]),
    ],
)
def test_times_of_every_type_are_times(array):
    records, _ = decode({"at": array})
    moment = parse_time(records.times[0])
    assert moment.replace(microsecond=0).isoformat() == "2026-11-22T05:00:00+00:00"


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**30], pa.date32()),
        pa.array([2**62], pa.duration("s")),
        pa.array([b"\xff"], pa.binary()).view(pa.string()),
        pa.array([math.nan]),
    ],
)
def test_labels_beyond_python_do_not_raise(array):
    for name in ("at", "id"):
        decoder = Decoder(SCHEMA)
        payload = batch(pa.record_batch({name: array, "temp": pa.array([math.nan])}))
        _, [reject] = decoder.decode(payload)
        assert reject.raw.startswith(b"{")
        assert set(decoder.values(payload, 0)) == {name, "temp"}


def test_the_raw_bytes_are_the_line_or_the_row_as_json():
    columns = {"temp": pa.array([151, 151]), "note": pa.array([b"a\xff", None], pa.binary())}
    _, rejects = decode(columns, lines=[b"151,a", b"151,"])
    assert [reject.raw for reject in rejects] == [b"151,a", b"151,"]
    _, rejects = decode(columns)
    assert json.loads(rejects[0].raw) == {"id": 0, "temp": 151, "note": "a\\xff"}


def test_a_line_over_the_bound_is_refused():
    schema = Schema((Column("temp"),), max_record_bytes=5)
    _, [reject] = decode({"temp": text("1", "2")}, lines=[b"0,1", b"1,0002"], schema=schema)
    assert (reject.reason, reject.position.offset) == (RejectReason.TOO_LARGE, 1)


def test_of_columns_with_one_name_the_last_counts():
    payload = pa.RecordBatch.from_arrays(
        [pa.array([1]), pa.array([2]), pa.array([0])], names=["temp", "temp", "id"]
    )
    records, _ = Decoder(SCHEMA).decode(batch(payload))
    assert records.numbers[0, 0] == 2


@given(st.lists(st.none() | st.binary(max_size=6), max_size=8))
def test_every_row_of_any_text_is_a_record_or_a_reject(cells):
    column = pa.array(cells, pa.binary())
    names = ("temp", "on", "mode", "id", "at")
    payload = pa.record_batch(dict.fromkeys(names, column))
    records, rejects = Decoder(SCHEMA).decode(batch(payload))
    rejected = [reject.position.offset for reject in rejects]
    assert rejected == sorted(rejected)
    assert sorted([*records.rows.tolist(), *rejected]) == list(range(len(cells)))


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_text_and_typed_columns_agree(values):
    schema = Schema((Column("temp"),))
    typed, _ = decode({"temp": pa.array(values, pa.float64())}, schema=schema)
    cells = [None if value is None else repr(value) for value in values]
    parsed, _ = decode({"temp": text(*cells)}, schema=schema)
    np.testing.assert_array_equal(typed.numbers, parsed.numbers)
