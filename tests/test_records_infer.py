"""A schema guessed from a sample, and the config section that is written from it."""

import json
import tomllib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.records import (
    Column,
    Decoder,
    Schema,
    infer_schema,
    inspect_sample,
    write_schema_toml,
)
from vaeiso_monitor.types import RawBatch, Span


def sample(count=100):
    for i in range(count):
        yield json.dumps(
            {
                "event_id": i,
                "ts": f"2026-01-01T00:00:{i % 60:02d}Z",
                "received": 1795323600 + i,
                "ended": "2026-01-01",
                "trace_id": f"t{i}",
                "row": f"{i}",
                "pump": f"p{i % 4}",
                "temp": 60 + (i % 7) / 3,
                "starts": i % 90,
                "mode": ["run", "idle"][i % 2],
                "status_code": [200, 404, 500][i % 3],
                "on": i % 3 == 0,
                "firmware": "1.2",
                "message": f"started {i}",
                "tags": ["a"],
                "unused": None,
                **({"pressure": i / 10} if i % 4 else {}),
            }
        ).encode()


def test_roles_kinds_and_reasons_are_guessed():
    found = inspect_sample([*sample(), b"{", b"[1]", None])
    schema = found.schema
    assert (schema.key, schema.time, schema.entity) == ("event_id", "ts", "pump")
    assert [(column.name, column.kind) for column in schema.columns] == [
        ("received", "number"),
        ("temp", "number"),
        ("starts", "number"),
        ("mode", "category"),
        ("status_code", "category"),
        ("on", "boolean"),
        ("firmware", "category"),
        ("pressure", "number"),
    ]
    assert schema.ignore == ("ended", "trace_id", "row", "message", "tags", "unused")
    assert (found.records, found.unreadable) == (100, 3)
    assert found.notes["firmware"] == ("the same in every record of the sample: 1.2",)
    assert found.suggestions["firmware"] == {}
    assert found.notes["ended"] == ("a time",)
    assert found.notes["trace_id"] == ("different in every record, like an id",)
    assert found.notes["pressure"] == ("seen: 0.1 to 9.9", "missing in 25 of 100 records")
    assert found.suggestions["mode"] == {"values": ("idle", "run"), "unseen": "reject"}
    assert found.suggestions["starts"] == {"minimum": 0, "maximum": 89}


def test_the_sample_fits_the_schema_that_was_guessed_from_it():
    payload = list(sample())
    batch = RawBatch(payload, [Span("file", "x", 0, 0, range(len(payload)))])
    records, rejects = Decoder(infer_schema(payload)).decode(batch)
    assert (len(records), rejects) == (100, [])


def test_the_written_section_is_read_back_and_says_what_was_seen():
    found = inspect_sample(sample())
    text = write_schema_toml(found.schema, found)
    assert Schema.from_mapping(tomllib.loads(text)["schema"]) == found.schema
    for line in (
        'key = "event_id"',
        '  "ended",  # a time',
        'name = "firmware"  # the same in every record of the sample: 1.2',
        'name = "pressure"  # seen: 0.1 to 9.9; missing in 25 of 100 records',
        "# minimum = 0.1",
        '# values = ["idle", "run"]',
        '# unit = "..."',
    ):
        assert line in text


def test_suggestions_become_valid_when_uncommented():
    found = inspect_sample(sample())
    text = write_schema_toml(found.schema, found)
    edited = text.replace("# minimum", "minimum").replace("# maximum", "maximum")
    edited = edited.replace("# values", "values").replace("# unseen", "unseen")
    schema = Schema.from_mapping(tomllib.loads(edited)["schema"])
    payload = list(sample())
    batch = RawBatch(payload, [Span("file", "x", 0, 0, range(len(payload)))])
    assert Decoder(schema).decode(batch)[1] == []


def test_values_of_mixed_kinds_are_noted():
    payload = [json.dumps({"a": i, "b": i}).encode() for i in range(9)] + [b'{"a":"x","b":1}']
    found = inspect_sample(payload)
    assert found.schema.columns[0] == Column("a")
    assert "1 values are not of this kind: such records are rejected" in found.notes["a"]


@pytest.mark.parametrize("whole", [True, False], ids=["table", "batch"])
def test_text_columns_of_an_arrow_sample_are_parsed(whole):
    columns = {
        "id": [b"a1", b"a2", b"a3", b"a4"],
        "temp": [b"1.5", b"", b"NA", b"2"],
        "on": [b"true", b"false", b"", b"true"],
        "mode": [b"run", b"idle", b"run", b"run"],
    }
    table = pa.table({name: pa.array(cells, pa.binary()) for name, cells in columns.items()})
    schema = infer_schema(table if whole else table.to_batches()[0])
    assert schema.key == "id"
    assert [(c.name, c.kind) for c in schema.columns] == [
        ("temp", "number"),
        ("on", "boolean"),
        ("mode", "category"),
    ]


def test_typed_columns_of_an_arrow_sample():
    table = pa.table(
        {
            "when": pa.array([1795323600123456789] * 3, pa.timestamp("ns")),
            "temp": [1.0, None, 3.0],
            "mode": pa.array(["a", "b", "a"]).dictionary_encode(),
            "id": [1, 2, 3],
        }
    )
    schema = infer_schema(table)
    assert (schema.key, schema.time) == ("id", "when")
    assert schema.numbers == ("temp",)
    assert schema.categories == ("mode",)


def test_without_labels_every_number_is_a_column():
    table = pa.table({"id": [1, 2, 3], "device": [1, 1, 2], "fixed": [7, 7, 7]})
    schema = infer_schema(table, labels=False)
    assert schema == Schema((Column("id"), Column("device"), Column("fixed")))


@pytest.mark.parametrize("payload", [[], [b"{"], [b"{}"], [b'{"a":[1]}']])
def test_a_sample_with_nothing_to_score_is_a_config_error(payload):
    with pytest.raises(ConfigError, match="no field of the sample"):
        inspect_sample(payload)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=4), SCALARS), max_size=6))
def test_any_sample_gives_a_section_that_reads_back(objects):
    payload = [json.dumps(value).encode() for value in objects]
    try:
        found = inspect_sample(payload)
    except ConfigError:
        return
    text = write_schema_toml(found.schema, found)
    assert Schema.from_mapping(tomllib.loads(text)["schema"]) == found.schema
