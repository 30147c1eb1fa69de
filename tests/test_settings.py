from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plain import CONFIG, SCHEMA
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.settings import load, parse
from vaeiso_monitor.settings.lines import key_lines

GOOD = CONFIG.format(
    records="in.jsonl", folder="state", min_records=600, batch_records=64, follow="false", extra=""
)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(tomllib.loads(text), text, "config.toml")
    return str(caught.value)


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def test_a_good_config_becomes_settings() -> None:
    settings = parse(tomllib.loads(GOOD), GOOD)
    assert settings.record_schema == SCHEMA
    assert settings.recipe.threshold.alert_budget == 0.02
    assert settings.recipe.model.hidden == (16,)
    assert [sink.type for sink in settings.alerts.sinks] == ["file"]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "key", "words"),
    [
        ("[threshold]", "[treshold]", "[treshold]", "treshold", "did you mean threshold?"),
        ("alert_budget", "alert_bugt", "alert_bugt", "threshold.alert_bugt", "mean alert_budget?"),
        ("position_file", "posit_file", "posit_file", "source.posit_file", "mean position_file?"),
        ('unit = "bar"', 'units = "bar"', "units", "schema.columns.1.units", "did you mean unit?"),
        ("fsync", "fsnyc", "fsnyc", "alerts.sinks.0.fsnyc", "did you mean fsync?"),
        ('"boolean"', '"bool"', 'kind = "bool"', "schema.columns.2.kind", "found 'bool'"),
        ('"file"\npath = "in', '"fil"\npath = "in', 'type = "fil"', "source.type", "mean file?"),
        ('type = "file"\npath = "in', 'path = "in', "[source]", "source.type", "is required"),
        ("records = 64", "records = 0", "batch_rec", "pipeline.batch_records", "found 0"),
        ("budget = 0.02", "budget = 0.7", "alert_b", "threshold.alert_budget", "found 0.7"),
        ("seed = 1", 'seed = "one"', "seed =", "training.seed", "found 'one'"),
        ("hidden = [16]", "hidden = 16", "hidden", "model.hidden", "tuple, found 16"),
        ("beta = 0.1", "beta = -0.1", "beta =", "model.beta", "beta must be a positive number"),
        (
            "steps = 200",
            "steps = 0",
            "max_steps",
            "training.max_steps",
            'must be "auto" or at least 1',
        ),
        ("minimum = 0", "minimum = 2000", "[[schema", "schema.columns.0", "exceeds maximum"),
        ('name = "mode"', 'name = "flow"', "[schema]", "schema", "'flow' is declared twice"),
        ('= "flow"\n', '= "flow"\n\n[[schema.columns]]\n', "[[s", "schema.columns.1.name", "requ"),
        ('path = "in.jsonl"\n', "", "[source]", "source.path", "this key is required"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(
    right: str, wrong: str, line: str, key: str, words: str
) -> None:
    assert right in GOOD
    text = GOOD.replace(right, wrong, 1)
    told = complaint(text)
    assert told.startswith("config.toml: 1 problem\n"), told
    assert f": {key}: " in told
    assert words in told
    said = int(told.split("line ")[1].split(":")[0])
    assert text.splitlines()[said - 1].startswith(line)


def test_the_line_in_an_array_table_is_that_of_its_own_entry() -> None:
    text = GOOD.replace('kind = "category"', 'kind = "text"')
    line = line_of(text, '"text"')
    assert f"line {line}: schema.columns.3.kind" in complaint(text)


def test_all_problems_are_told_at_once() -> None:
    text = GOOD.replace("beta = 0.1", "beta = 0").replace("[store]", "[stor]")
    text = text.replace('type = "file"', 'type = "flie"').replace("min_records = 600", "")
    told = complaint(text)
    assert told.startswith("config.toml: 5 problems\n")
    for key in ("source.type", "alerts.sinks.0.type", "dead_letters.sinks.0.type", "model", "stor"):
        assert f": {key}" in told
    assert "StdoutSinkConfig" not in told


def test_missing_sections_are_named() -> None:
    told = complaint("[threshold]\nalert_budget = 0.1\n")
    assert "source: this key is required" in told
    assert "schema: this key is required" in told


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file; `vaeiso-monitor init`"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="no such config file"):
        load(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("[source\n")
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        load(broken)
    broken.write_bytes(b'x = "\xff"\n')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(broken)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEISO_THRESHOLD__ALERT_BUDGET", "0.25")
    monkeypatch.setenv("VAEISO_SOURCE__PATH", "other.jsonl")
    monkeypatch.setenv("VAEISO_SCHEMA__MAX_RECORD_BYTES", "77")
    monkeypatch.setenv("VAEISO_MODEL__HIDDEN", "[8, 4]")
    monkeypatch.setenv("VAEISO_SERVER__ENABLED", "false")
    monkeypatch.setenv("VAEISO_DEVICE", "cpu")
    settings = parse(tomllib.loads(GOOD), GOOD)
    assert settings.threshold.alert_budget == 0.25
    assert settings.source.path == "other.jsonl"  # type: ignore[union-attr]
    assert settings.record_schema.max_record_bytes == 77
    assert settings.record_schema.columns == SCHEMA.columns
    assert settings.model.hidden == (8, 4)
    assert settings.model.beta == 0.1
    assert not settings.server.enabled
    assert settings.device == "cpu"


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCHEMA", "SOURCE", "MODEL", "DEVICE", "LOG", "VAEISO_DATA"):
        monkeypatch.setenv(name, "junk")
    assert parse(tomllib.loads(GOOD), GOOD).record_schema == SCHEMA


def test_wrong_variables_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "VAEISO_TRESHOLD__ALERT_BUDGET",
        "VAEISO_THRESHOLD__ALERT_BUDGT",
        "VAEISO_SOURCE__FOLLOW",
        "VAEISO_SOURCE__PASSWORD",
        "VAEISO_SERVER__PORT",
        "VAEISO_MODEL__HIDDEN",
        "VAEISO_STORE",
    ]
    for name in names:
        monkeypatch.setenv(name, "[hunter2")
    told = complaint(GOOD)
    for name in names:
        assert told.count(f"environment variable {name}: ") == 1
    assert "hunter2" not in told
    assert "did you mean threshold?" in told
    assert "did you mean alert_budget?" in told


def test_an_unknown_device_is_a_config_error() -> None:
    text = GOOD.replace("[source]", 'device = "cuda:77"\n[source]', 1)
    settings = parse(tomllib.loads(text), text)
    with pytest.raises(ConfigError, match="device"):
        settings.torch_device()


def test_lines_are_found_behind_texts_and_arrays_of_several_lines() -> None:
    text = '''\
a.b = 1
text = """
[fake]
a.c = 2
"""
matrix = [
  [1, 2],  # [not.a.table]
  ["x = 1", "]"],
]
["quo.ted"."\\u00e9"]  # a = [
"key with = sign" = 'it''s'
[[rows]]
inline = { deep = [1], more = 2 }
[rows.inner]
x = 1
[[rows]]
[rows.inner]
x = 2
'''.replace("'it''s'", "'its'")
    lines = key_lines(text)
    assert tomllib.loads(text)["rows"][1]["inner"]["x"] == 2
    assert lines == {
        ("a",): 1,
        ("a", "b"): 1,
        ("text",): 2,
        ("matrix",): 6,
        ("quo.ted",): 10,
        ("quo.ted", "é"): 10,
        ("quo.ted", "é", "key with = sign"): 11,
        ("rows",): 12,
        ("rows", 0): 12,
        ("rows", 0, "inline"): 13,
        ("rows", 0, "inner"): 14,
        ("rows", 0, "inner", "x"): 15,
        ("rows", 1): 16,
        ("rows", 1, "inner"): 17,
        ("rows", 1, "inner", "x"): 18,
    }


names = st.text(st.sampled_from("abc.= #[]'é"), min_size=1, max_size=4)
values = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.sampled_from("ab=\n[]{}#'\"\\"), max_size=12),
    st.lists(st.lists(st.text(st.sampled_from("a=\n[]#"), max_size=5), max_size=3), max_size=3),
)
tables = st.dictionaries(names, values, min_size=1, max_size=4)


def _written(value: object, style: int) -> str:
    if isinstance(value, list):
        sign = ",\n  " if style % 2 else ", "
        return f"[{sign.join(_written(v, style) for v in value)}]"
    if isinstance(value, str) and style % 3 == 0 and '"""' not in value and "\\" not in value:
        return f'"""\n{value} """'
    return json.dumps(value)


@given(
    st.dictionaries(names, st.one_of(tables, st.lists(tables, min_size=1, max_size=3)), max_size=4),
    st.integers(0, 5),
)
def test_every_key_of_any_toml_has_its_line(document: dict[str, object], style: int) -> None:
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}

    def write(table: dict[str, object], path: tuple[str | int, ...]) -> None:
        for key, value in table.items():
            expected[(*path, key)] = len(lines) + 1
            text = f"{json.dumps(key)} = {_written(value, style)}  # x = [["
            lines.extend(text.split("\n"))

    for name, inner in document.items():
        entries = inner if isinstance(inner, list) else [inner]
        for i, entry in enumerate(entries):
            listed = isinstance(inner, list)
            path: tuple[str | int, ...] = (name, i) if listed else (name,)
            expected.setdefault((name,), len(lines) + 1)
            expected[path] = len(lines) + 1
            lines.append(f"[[{json.dumps(name)}]]" if listed else f"[ {json.dumps(name)} ]")
            write(entry, path)  # type: ignore[arg-type]
    text = "\n".join(lines)
    tomllib.loads(text)
    assert key_lines(text) == expected
