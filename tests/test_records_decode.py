"""JSON decoding: exact reasons, and no bytes that raise or get lost."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaeiso_monitor.records import Column, Decoder, Schema
from vaeiso_monitor.types import RawBatch, RejectReason, Span

SCHEMA = Schema(
    columns=(
        Column("temp", minimum=-50, maximum=150),
        Column("mode", "category"),
        Column("on", "boolean"),
        Column("flow", missing="reject"),
        Column("level", minimum=0, maximum=1, range_policy="mark"),
        Column("site", "category", missing="reject", values=("north", "south"), unseen="reject"),
    ),
    key="id",
    time="at",
    entity="site",
    ignore=("note",),
    max_record_bytes=2000,
)
GOOD = {
    "id": 7,
    "at": "2026-11-22T05:00:00Z",
    "temp": 20.5,
    "mode": "run",
    "on": True,
    "flow": 3,
    "level": 0.5,
    "site": "north",
    "note": "fine",
}


def batch(payload, lines=None):
    return RawBatch(payload, [Span("file", "x", 0, 0, range(len(payload)))], lines=lines)


def decode(*payload, schema=SCHEMA):
    return Decoder(schema).decode(batch(list(payload)))


def record(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def test_a_good_record_is_read_column_by_column():
    records, rejects = decode(record())
    assert rejects == []
    assert records.numbers.tolist() == [[20.5, 1.0, 3.0, 0.5]]
    assert records.numbers.dtype == np.float64
    assert records.categories == [["run"], ["north"]]
    assert (records.keys, records.times, records.entities) == ([7], [GOOD["at"]], ["north"])
    assert records.rows.tolist() == [0]


@pytest.mark.parametrize(
    ("raw", "reason", "words"),
    [
        (None, "empty", "no content"),
        (b"", "empty", "no content"),
        (b" \n\t", "empty", "no content"),
        (b'{"temp": "\xff"}', "invalid_utf8", "byte 10"),
        (record(note="x").replace(b'"x"', b'"\xc3"'), "invalid_utf8", "UTF-8"),
        (b'{"id": 1', "not_json", "truncated"),
        (b'{"id": 1} {"id": 2}', "not_json", "trailing characters"),
        (b"not json", "not_json", "invalid character (byte 4)"),
        (b'{"temp": NaN, "x"', "not_json", "char 17"),
        (b'{"temp": true, "x"', "not_json", "char 18"),
        (b'{"note": "\\ud800"}', "not_json", ""),
        (b'{"note": "\x01"}', "not_json", "invalid character (byte 10)"),
        (b'{"note": ' + b"[" * 1900, "not_json", "deep"),
        (b"[1, 2]", "not_an_object", "an array"),
        (b'"text"', "not_an_object", "text"),
        (b"null", "not_an_object", "null"),
        (b"12", "not_an_object", "a number"),
        (record(temp="20.5"), "wrong_type", "'temp': found text '20.5', expected a number"),
        (record(temp=True), "wrong_type", "'temp': found a boolean True, expected a number"),
        (record(temp=[1]), "wrong_type", "'temp': found an array"),
        (record(mode={"a": 1}), "wrong_type", "'mode': found an object"),
        (record(on="true"), "wrong_type", "'on': found text 'true', expected true or false"),
        (record(on=2), "wrong_type", "'on': found 2, expected true, false, 1 or 0"),
        (record(temp=math.nan), "not_finite", "'temp'"),
        (record(temp=-math.inf), "not_finite", "'temp'"),
        (record(note=math.nan), "not_finite", "'note'"),
        (record(note=[math.nan]), "not_finite", "NaN"),
        (record().replace(b"20.5", b"1e999"), "not_finite", "'temp'"),
        (record().replace(b"20.5", b"1" * 400), "not_finite", "'temp'"),
        (record().replace(b"20.5", b"1" * 350), "not_finite", "'temp'"),
        (record(id=[7]).replace(b"[7]", b"[1e999]"), "not_finite", "$.id"),
        (record().replace(b'"id": 7', b'"id": 1e999'), "not_finite", "'id'"),
        (record().replace(b'"run"', b"1e999"), "not_finite", "'mode'"),
        (record(temp=151), "out_of_range", "'temp': found 151, expected -50 to 150"),
        (record(temp=-50.001), "out_of_range", "'temp'"),
        (record(flow=None), "missing_value", "'flow'"),
        (without("flow"), "missing_value", "'flow'"),
        (record(site=None), "missing_value", "'site'"),
        (without("id"), "missing_key", "'id'"),
        (record(id=None), "missing_key", "'id'"),
        (record(site="east"), "unseen_category", "'site': found 'east'"),
        (record(note="x" * 2000), "too_large", "max_record_bytes = 2000"),
    ],
)
def test_each_damage_has_its_reason(raw, reason, words):
    records, rejects = decode(record(), raw, record())
    assert records.rows.tolist() == [0, 2]
    [reject] = rejects
    assert reject.reason is RejectReason(reason)
    assert words in reject.detail
    assert reject.raw == (raw or b"")
    assert reject.position.offset == 1


@pytest.mark.parametrize("raw", [record(temp=None), without("temp")])
def test_null_and_absent_are_both_missing(raw):
    records, rejects = decode(raw)
    assert rejects == []
    assert math.isnan(records.numbers[0, 0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.0", "1.0"),
        (1, "1"),
        (1.0, "1"),
        (0.25, "0.25"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        (None, None),
        (10**30, str(10**30)),
        (1e300, "1e+300"),
    ],
)
def test_categories_are_texts(value, text):
    records, rejects = decode(record(mode=value))
    assert rejects == []
    assert records.categories[0] == [text]


def test_booleans_may_be_written_as_one_and_zero():
    records, rejects = decode(record(on=1), record(on=0), record(on=0.0), record(on=None))
    assert rejects == []
    np.testing.assert_array_equal(records.numbers[:, 1], [1, 0, 0, np.nan])


def test_integers_beyond_float64_are_rounded_not_refused():
    records, rejects = decode(record(flow=2**53 + 1), record(flow=2**70))
    assert rejects == []
    assert records.numbers[:, 2].tolist() == [2.0**53, 2.0**70]


def test_a_value_out_of_a_marked_range_is_scored():
    records, rejects = decode(record(level=1e6))
    assert rejects == []
    assert records.numbers[0, 3] == 1e6


def test_a_number_at_its_bounds_is_in_range():
    records, rejects = decode(record(temp=-50), record(temp=150))
    assert (len(records), rejects) == (2, [])


def test_values_have_all_fields_even_unreadable_ones():
    raw = record(extra={"deep": [1]}).replace(b'"fine"', b"1e999")
    decoder = Decoder(SCHEMA)
    records, _ = decoder.decode(batch([raw]))
    assert len(records) == 1
    assert decoder.values(batch([raw]), 0) == {**GOOD, "note": "1e999", "extra": {"deep": [1]}}


@pytest.mark.parametrize("raw", [None, b"", b"[1]", b"{", b"\xff"])
def test_values_of_damaged_bytes_are_empty(raw):
    assert Decoder(SCHEMA).values(batch([raw]), 0) == {}


def test_a_record_is_never_merged_with_its_neighbour():
    parts = [b'{"flow":1,"site":"north","id":"', b'"}', b'{"flow":1,"id":1},{"flow":1,"id":2}']
    records, rejects = decode(*parts)
    assert len(records) == 0
    assert [reject.reason for reject in rejects] == ["not_json"] * 3


def test_a_large_batch_keeps_its_order():
    damaged = set(range(0, 1000, 7))
    payload = [b"{" if row in damaged else record(id=row, flow=row) for row in range(1000)]
    records, rejects = decode(*payload)
    good = [row for row in range(1000) if row not in damaged]
    assert records.rows.tolist() == records.keys == records.numbers[:, 2].tolist() == good
    assert [reject.position.offset for reject in rejects] == sorted(damaged)


def test_an_empty_batch_has_no_records():
    records, rejects = decode()
    assert records.numbers.shape == (0, 4)
    assert records.categories == [[], []]
    assert rejects == []


def test_a_schema_without_numbers_or_labels_is_read():
    schema = Schema((Column("mode", "category"),))
    records, rejects = decode(b'{"mode":"a"}', b"{}", schema=schema)
    assert rejects == []
    assert records.numbers.shape == (2, 0)
    assert records.categories == [["a", None]]
    assert (records.keys, records.times, records.entities) == (None, None, None)


SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=4), SCALARS)
OBJECTS = st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, JSON)).map(
    lambda changes: json.dumps({**GOOD, **changes}).encode()
)
CUT = st.builds(lambda raw, end: raw[:end], OBJECTS, st.integers(0, 200))
FLIPPED = st.builds(
    lambda raw, at, byte: raw[:at] + bytes([byte]) + raw[at + 1 :],
    OBJECTS,
    st.integers(0, 150),
    st.integers(0, 255),
)
ANY_BYTES = st.one_of(
    st.none(), st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode()), OBJECTS
)


@settings(max_examples=100)
@given(st.lists(st.one_of(ANY_BYTES, CUT, FLIPPED), max_size=6))
@example([b'{"flow": NaN}', b"\x00", b'{"flow":1,"flow":2,"site":"north","id":1}'])
def test_every_row_is_a_record_or_a_reject(payload):
    raw = batch(payload)
    decoder = Decoder(SCHEMA)
    records, rejects = decoder.decode(raw)
    accepted = records.rows.tolist()
    rejected = [reject.position.offset for reject in rejects]
    assert accepted == sorted(accepted)
    assert rejected == sorted(rejected)
    assert sorted(accepted + rejected) == list(range(len(payload)))
    assert all(column is None or len(column) == len(records) for column in columns_of(records))
    assert [reject.raw for reject in rejects] == [payload[row] or b"" for row in rejected]
    for row in range(len(payload)):
        assert isinstance(decoder.values(raw, row), dict)


def columns_of(records):
    return [*records.categories, records.keys, records.times, records.entities, records.numbers]


@settings(max_examples=60)
@given(st.lists(st.one_of(OBJECTS, CUT), min_size=1, max_size=6))
def test_accepted_records_are_what_the_standard_parser_reads(payload):
    records, _ = decode(*payload)
    for index, row in enumerate(records.rows.tolist()):
        expected = json.loads(payload[row])
        number = expected["temp"]
        if number is None:
            assert math.isnan(records.numbers[index, 0])
        else:
            assert records.numbers[index, 0] == float(number)
        assert records.keys[index] == expected["id"]
        assert -50 <= (number or 0) <= 150
        assert expected["site"] in ("north", "south")
