"""The schema: what it accepts, what it refuses, and how it is stored."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records import Column, Schema, write_schema_toml

NAMES = st.text(
    st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12
)  # TOML has no lone surrogates


@st.composite
def columns(draw, name):
    kind = draw(st.sampled_from(["number", "category", "boolean"]))
    given_keys = {"missing": draw(st.sampled_from(["impute", "reject"]))}
    if kind == "number":
        bounds = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2))
        given_keys |= dict(zip(["minimum", "maximum"], sorted(bounds), strict=False))
        given_keys["range_policy"] = draw(st.sampled_from(["reject", "mark"]))
        given_keys["unit"] = draw(st.none() | NAMES)
    if kind == "category":
        given_keys["values"] = tuple(draw(st.lists(NAMES, unique=True, max_size=4)))
        choices = ["mark", "reject"] if given_keys["values"] else ["mark"]
        given_keys["unseen"] = draw(st.sampled_from(choices))
    return Column(name, kind, **given_keys)


@st.composite
def schemas(draw):
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=9))
    count = draw(st.integers(1, len(names)))
    rest = names[count:]
    roles = {role: rest.pop() for role in ("key", "time", "entity") if rest and draw(st.booleans())}
    return Schema(
        columns=tuple(draw(columns(name)) for name in names[:count]),
        ignore=tuple(rest),
        max_record_bytes=draw(st.integers(1, 1 << 40)),
        **roles,
    )


@given(schemas())
def test_schema_survives_its_state(schema):
    meta, arrays = schema.state()
    assert arrays == {}
    assert Schema.from_state(json.loads(json.dumps(meta)), arrays) == schema


@given(schemas())
def test_schema_survives_toml_and_the_settings_edge(schema):
    table = tomllib.loads(write_schema_toml(schema))["schema"]
    assert Schema.from_mapping(table) == schema
    assert TypeAdapter(Schema).validate_python(table) == schema


def test_columns_are_split_by_kind_in_order():
    schema = Schema(
        (Column("a"), Column("c", "category"), Column("b", "boolean")),
        key="id",
        time="id",
        entity="c",
    )
    assert schema.numbers == ("a", "b")
    assert schema.categories == ("c",)
    assert schema.labels == ("id", "c")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": ""}, "empty name"),
        ({"kind": "text"}, "'temp'.*kind.*number, category, boolean"),
        ({"missing": "drop"}, "'temp'.*missing"),
        ({"range_policy": "clip"}, "'temp'.*range_policy"),
        ({"minimum": 2.0, "maximum": 1.0}, "'temp'.*swap"),
        ({"maximum": float("inf")}, "'temp'.*finite"),
        ({"kind": "boolean", "minimum": 0.0}, "'temp'.*only a number"),
        ({"values": ("a",)}, "'temp'.*only a category"),
        ({"kind": "category", "values": ("a", "a")}, "'temp'.*'a'.*once"),
        ({"kind": "category", "unseen": "reject"}, "'temp'.*needs `values`"),
    ],
)
def test_column_errors_name_the_column_and_the_remedy(keys, words):
    with pytest.raises(ValueError, match=words):
        Column(**{"name": "temp", **keys})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"columns": ()}, "no columns"),
        ({"columns": (Column("a"), Column("b"), Column("a"))}, "'a' is declared twice"),
        ({"key": "a"}, "'a' is the schema's key"),
        ({"time": "a"}, "'a' is the schema's time"),
        ({"entity": "a"}, "'a' is the schema's entity"),
        ({"ignore": ("a",)}, "'a' is in `ignore`"),
        ({"key": "k", "ignore": ("k",)}, "'k' is in `ignore`"),
        ({"max_record_bytes": 0}, "max_record_bytes"),
    ],
)
def test_schema_errors_name_the_field_and_the_remedy(keys, words):
    with pytest.raises(ValueError, match=words):
        Schema(**{"columns": (Column("a"),), **keys})


def test_settings_edge_reports_our_words():
    with pytest.raises(ValidationError, match="'a' is declared twice"):
        TypeAdapter(Schema).validate_python({"columns": [{"name": "a"}, {"name": "a"}]})


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"columns": [{"name": "a", "colour": "red"}]},
        {"columns": [{"name": 7}]},
        {"columns": [{"name": "a", "minimum": "0"}]},
        {"columns": [{"name": "a", "minimum": True}]},
        {"columns": [{"name": "a", "kind": "category", "values": "abc"}]},
        {"columns": [{}]},
        {"columns": 3},
        {"columns": [{"name": "a"}], "key": "a"},
        {"columns": [{"name": "a"}], "max_record_bytes": 1.5},
        {"columns": [{"name": "a"}], "ignore": [1]},
    ],
)
def test_damaged_state_is_a_bundle_error(meta):
    with pytest.raises(BundleError):
        Schema.from_state(meta, {})


def test_state_with_arrays_is_a_bundle_error():
    meta, _ = Schema((Column("a"),)).state()
    with pytest.raises(BundleError, match="weights"):
        Schema.from_state(meta, {"weights": None})
