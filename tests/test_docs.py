"""Documents and code agree, both ways: keys, defaults, metrics, alert fields, verbs, reasons."""

import ast
import dataclasses
import json
import re
import tomllib
import types
import typing
from pathlib import Path

import annotated_types
import msgspec
import pytest
import typer.main
from pydantic import TypeAdapter

from vaeiso_monitor import Detector, settings
from vaeiso_monitor.alerts import (
    Alert,
    Blame,
    DeadLetter,
    DeadLettersConfig,
    DriftAlert,
    Feature,
    Latent,
    Membership,
    Mode,
    RegimeShift,
    Summary,
    Worst,
    alert_id,
)
from vaeiso_monitor.cli import app
from vaeiso_monitor.detect import severity
from vaeiso_monitor.records import Schema
from vaeiso_monitor.settings import Settings
from vaeiso_monitor.telemetry.catalogue import METRICS
from vaeiso_monitor.types import Position, RejectReason

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
EXAMPLE = ROOT / "config.example.toml"

NESTED = object()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    """The environment wins over a file; here only the files are looked at."""
    import os

    for name in [name for name in os.environ if name.upper().startswith("VAEISO_")]:
        monkeypatch.delenv(name)


# What the code takes: the dataclasses of Settings, each once, by the table it is written in.


def members(annotation):
    """Return the types an annotation stands for: Annotated unwrapped, unions spread."""
    if typing.get_origin(annotation) is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for arg in typing.get_args(annotation) for member in members(arg)]
    return [annotation]


def owners(annotation):
    """Return the config classes in an annotation, and whether they stand in an array of tables."""
    found, listed = [], False
    for member in members(annotation):
        if dataclasses.is_dataclass(member):
            found.append(member)
        elif typing.get_origin(member) is tuple:
            found += owners(typing.get_args(member)[0])[0]
            listed = True
    return found, listed


def tables(annotation, path):
    """Yield (table, config class) of a section and of all the tables inside it."""
    found, listed = owners(annotation)
    for owner in found:
        hints = typing.get_type_hints(owner, include_extras=True)
        tag = typing.get_args(hints["type"])[0] if "type" in hints else None
        name = f"[[{path}]]" if listed else f"[{path}]"
        yield name + (f' type = "{tag}"' if tag else ""), owner
        for field in dataclasses.fields(owner):
            yield from tables(hints[field.name], f"{path}.{field.name}")


def config_tables():
    """Return the config class of each table, a class that several tables share only once."""
    found = {}
    for name, info in Settings.model_fields.items():
        for table, owner in tables(info.annotation, info.alias or name):
            if owner not in found.values():
                found[table] = owner
    return found


TABLES = config_tables()
TOP_LEVEL = {
    info.alias or name: info
    for name, info in Settings.model_fields.items()
    if not owners(info.annotation)[0]
}


def kind_of(annotation):
    """Return a key's type and bounds in the words of docs/configuration.md."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *bounds = typing.get_args(annotation)
        return ", ".join([kind_of(inner), *filter(None, map(bound, bounds))])
    parts = [member for member in members(annotation) if member is not type(None)]
    words = {bool: "boolean", int: "integer", float: "number", str: "text"}
    said = []
    for part in parts:
        origin, arguments = typing.get_origin(part), typing.get_args(part)
        if dataclasses.is_dataclass(part):
            said.append("table")
        elif origin is typing.Literal:
            said += [f'"{choice}"' for choice in arguments]
        elif origin is tuple:
            tables = owners(arguments[0])[0]
            said.append("array of tables" if tables else f"list of {kind_of(arguments[0])}")
        elif part in words:
            said.append(words[part])
        else:
            said.append("table of text")
    return " or ".join(dict.fromkeys(said))


def bound(meta):
    match meta:
        case annotated_types.Ge(ge=limit):
            return f">= {limit:g}"
        case annotated_types.Gt(gt=limit):
            return f"> {limit:g}"
        case annotated_types.Le(le=limit):
            return f"<= {limit:g}"
        case annotated_types.MinLen(min_length=1):
            return "not empty"
        case annotated_types.Len(min_length=1, max_length=1):
            return "one character"
    return None


def default_of(field):
    """Return a key's default as its cell says it, NESTED where a table follows."""
    value = field.default
    if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value) or (
        isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))
    ):
        return NESTED
    return written(value)


def written(value):
    return "none" if value is None else f"`{json.dumps(value, default=list)}`"


# What the documents say.


def sections(text):
    """Return the text under each heading, by the heading without its marks."""
    parts = re.split(r"^#{1,6} +(.+)$", text, flags=re.M)
    return {head.strip(): body for head, body in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text):
    """Return the cells of each row of the Markdown tables in ``text``, heads left out."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", flags=re.M):
        lines = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.splitlines()]
        found += [[cell.strip() for cell in line] for line in lines[2:]]
    return found


def bare(cell):
    return cell.strip("`")


def fences(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def documented_tables():
    return {
        head.strip("`"): rows(body)
        for head, body in sections(page("configuration.md")).items()
        if head.startswith("`[")
    }


# docs/configuration.md


def test_every_table_is_documented_and_no_other():
    assert set(documented_tables()) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_the_keys_of_a_table_their_types_and_defaults(table):
    owner = TABLES[table]
    hints = typing.get_type_hints(owner, include_extras=True)
    said = {bare(row[0]): row[1:] for row in documented_tables()[table]}
    assert sorted(row[0].strip("`") for row in documented_tables()[table]) == sorted(
        field.name for field in dataclasses.fields(owner)
    )
    for field in dataclasses.fields(owner):
        kind, default, meaning = said[field.name]
        assert kind == kind_of(hints[field.name]), field.name
        assert meaning.endswith("."), field.name
        if default_of(field) is not NESTED:
            assert default == default_of(field), field.name


def test_the_keys_outside_tables():
    said = {bare(row[0]): row[1:] for row in rows(sections(page("configuration.md"))["Top level"])}
    assert set(said) == set(TOP_LEVEL)
    for name, info in TOP_LEVEL.items():
        assert said[name][:2] == [kind_of(info.annotation), written(info.default)]


def test_the_default_dead_letter_file_is_named():
    text = sections(page("configuration.md"))["`[dead_letters]`"]
    assert f'"{DeadLettersConfig().sinks[0].path}"' in text


def test_the_environment_variable_examples_name_keys():
    text = page("configuration.md")
    found = set(re.findall(r"VAEISO_[A-Z_]+", text)) - {"VAEISO_"}
    sections_known = {info.alias or name for name, info in Settings.model_fields.items()}
    assert len(found) >= 4
    for variable in found:
        keys = variable.removeprefix("VAEISO_").lower().split("__")
        assert keys[0] in sections_known, variable
        owned = [o for t, o in TABLES.items() if re.match(rf"\[+{keys[0]}\b", t)]
        names = {field.name for owner in owned for field in dataclasses.fields(owner)}
        assert set(keys[1:]) <= names, variable


@pytest.mark.parametrize("name", [path.name for path in PAGES])
def test_toml_in_the_documents_is_valid_config(name):
    path = next(path for path in PAGES if path.name == name)
    smallest = {
        "source": {"type": "file", "path": "records.jsonl"},
        "schema": {"columns": [{"name": "x"}]},
    }
    for text in fences(path.read_text(encoding="utf-8"), "toml"):
        settings.parse(smallest | tomllib.loads(text), text, name)


# config.example.toml

HEADER = re.compile(r"^(?:# ?)?(\[\[?[a-z_.]+\]?\])\s*(?:#.*)?$")
KEY = re.compile(r"^(?P<off># ?)?(?P<name>[a-z_]+) = .*$")


def blocks():
    """Yield (header, [(key, line, commented out)]) of each table, those in comments included."""
    header, keys = "", []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if found := HEADER.match(line):
            yield header, keys
            header, keys = found[1], []
        elif found := KEY.match(line):
            keys.append((found["name"], line.removeprefix("#").strip(), bool(found["off"])))
    yield header, keys


def owner_of(header, keys):
    """Return the config class that a table of the example is for."""
    tag = next((tomllib.loads(line)["type"] for name, line, _ in keys if name == "type"), None)
    if header == "[[dead_letters.sinks]]":
        header = "[[alerts.sinks]]"
    if header.endswith(".security]"):
        header = "[source.security]"
    return TABLES[header + (f' type = "{tag}"' if tag else "")]


def test_the_example_loads_as_it_is():
    loaded = settings.load(EXAMPLE)
    assert isinstance(loaded.record_schema, Schema)


def test_the_example_names_every_key_and_no_other():
    named = {}
    for header, keys in blocks():
        if not header:
            assert {name for name, *_ in keys} == set(TOP_LEVEL)
            continue
        owner = owner_of(header, keys)
        names = [name for name, *_ in keys]
        assert len(names) == len(set(names)), f"{header} repeats a key"
        known = {field.name for field in dataclasses.fields(owner)}
        assert set(names) <= known, f"{header}: {set(names) - known}"
        named.setdefault(owner, set()).update(names)
    for table, owner in TABLES.items():
        nested = {field.name for field in dataclasses.fields(owner) if holds_tables(owner, field)}
        missing = (
            {field.name for field in dataclasses.fields(owner)} - nested - named.get(owner, set())
        )
        assert not missing, f"{table} lacks {missing} in {EXAMPLE.name}"


def holds_tables(owner, field):
    return bool(owners(typing.get_type_hints(owner, include_extras=True)[field.name])[0])


def test_what_the_example_has_in_comments_is_valid_too():
    for header, keys in blocks():
        if header:
            owner = owner_of(header, keys)
            text = "\n".join(line for _, line, _ in keys)
            required = {"columns": [{"name": "x"}]} if owner is Schema else {}
            TypeAdapter(owner).validate_python(required | tomllib.loads(text))


def test_keys_in_comments_show_their_defaults():
    """Unless the line says that its value is an example."""
    for header, keys in blocks():
        for name, line, off in keys:
            if not off or not header or "example" in line:
                continue
            owner = owner_of(header, keys)
            field = next(f for f in dataclasses.fields(owner) if f.name == name)
            said = written(tomllib.loads(line)[name])
            assert said == default_of(field), f"{header} {name}"


# docs/metrics.md


def test_every_metric_is_documented_with_its_type_and_labels():
    said = {bare(row[0]): row[1:3] for row in rows(page("metrics.md"))}
    known = {
        metric.name: [metric.type, ", ".join(f"`{label}`" for label in metric.labels) or "none"]
        for metric in METRICS
    }
    assert said == known


def test_every_metric_that_a_document_names_exists():
    known = {metric.name for metric in METRICS}
    for metric in METRICS:
        if metric.kind == "histogram":
            known |= {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("vaeiso_monitor", "")
        named = set(re.findall(r"\bvaeiso_[a-z_]+[a-z]\b", text))
        assert named <= known, f"{path.name}: {named - known}"


# docs/alerts.md


def example(kind):
    return fences(sections(page("alerts.md"))[kind], "json")[0]


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        ("The alert", Alert),
        ("The dead letter", DeadLetter),
        ("The summary", Summary),
        ("The regime shift", RegimeShift),
        ("The drift", DriftAlert),
    ],
)
def test_the_example_record_has_exactly_the_fields(kind, struct):
    document = json.loads(example(kind))
    assert list(document) == [field.name for field in msgspec.structs.fields(struct)]
    record = msgspec.json.decode(example(kind), type=struct)
    assert json.loads(record.to_json()) == document
    assert json.dumps(document, indent=2, ensure_ascii=False) == example(kind).rstrip("\n")


@pytest.mark.parametrize(
    ("heading", "struct"),
    [
        ("Fields of an alert", Alert),
        ("Fields of a feature", Feature),
        ("Fields of a latent", Latent),
        ("Fields of a mode", Mode),
        ("Fields of a dead letter", DeadLetter),
        ("Fields of an episode", Membership),
        ("Fields of a summary", Summary),
        ("Fields of a worst alert", Worst),
        ("Fields of a blamed feature", Blame),
        ("Fields of a regime shift", RegimeShift),
        ("Fields of a drift", DriftAlert),
    ],
)
def test_every_field_is_described(heading, struct):
    said = [bare(row[0]) for row in rows(sections(page("alerts.md"))[heading])]
    assert said == [field.name for field in msgspec.structs.fields(struct)]


def test_the_example_alert_is_true_to_itself():
    alert = msgspec.json.decode(example("The alert"), type=Alert)
    source = alert.source
    position = Position(source["type"], source["stream"], source["partition"], source["offset"])
    assert alert.alert_id == alert_id(position, alert.model["version"])
    assert alert.severity == severity(alert.anomaly_score)
    listed = sum(part.nats for part in [*alert.features, *alert.latents])
    assert listed <= alert.distortion_nats + alert.rate_nats
    assert (alert.nats > alert.threshold_nats) == (alert.anomaly_score > 1)
    for name in [*alert.source, *alert.model]:
        assert f"`{name}`" in sections(page("alerts.md"))["Fields of an alert"]


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        ("The alert", Alert),
        ("The summary", Summary),
        ("The regime shift", RegimeShift),
        ("The drift", DriftAlert),
    ],
)
def test_the_text_beside_an_example_is_that_of_the_example(kind, struct):
    message = msgspec.json.decode(example(kind), type=struct)
    assert f"```\n{message.to_text()}\n```" in sections(page("alerts.md"))[kind]


# docs/cli.md


def commands(command=None, path=("vaeiso-monitor",)):
    """Yield each command of the program with the words that call it."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", {})
    if not inner:
        yield " ".join(path), command
    for name, sub in inner.items():
        yield from commands(sub, (*path, name))


def spelled(command):
    """Return the ways to write the options of a command, --help left out."""
    names = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }
    return names - {"--help", "-h"}


def test_every_verb_is_described_and_no_other():
    heads = {head.strip("`") for head in sections(page("cli.md")) if head.startswith("`vaeiso")}
    assert heads == {words for words, _ in commands()}


@pytest.mark.parametrize("words", [words for words, _ in commands()])
def test_every_option_of_a_verb_is_described_and_no_other(words):
    command = dict(commands())[words]
    body = sections(page("cli.md"))[f"`{words}`"]
    named = {option for row in rows(body) for option in re.findall(r"`(--?[a-z][a-z-]*)", row[0])}
    assert named == spelled(command)
    metavars = {p.metavar for p in command.params if not p.opts[0].startswith("-")}
    assert all(metavar in body for metavar in metavars if metavar)


# docs/records.md


def test_every_reason_is_described_and_no_other():
    said = [bare(row[0]) for row in rows(sections(page("records.md"))["What is rejected"])]
    assert said == [reason.value for reason in RejectReason]


# README.md and links


@pytest.mark.parametrize("name", [path.name for path in PAGES])
def test_relative_links_lead_somewhere(name):
    path = next(path for path in PAGES if path.name == name)
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        if anchor:
            heads = sections(there.read_text(encoding="utf-8"))
            assert anchor in {slug(head) for head in heads}, target


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(
        re.findall(r"(?m)(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in named)


def test_the_python_of_the_readme_uses_what_a_detector_has():
    used = set()
    for code in fences((ROOT / "README.md").read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "detector":
                used.add(node.attr)
    assert len(used) >= 3
    assert all(hasattr(Detector, name) for name in used)
