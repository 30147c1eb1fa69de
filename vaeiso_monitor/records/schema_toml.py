"""A schema as a section of the config file, with comments that help a person to edit it."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.records.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vaeiso_monitor.records.infer import Inference

_LONGEST_NOTE = 160
_ROLES = {
    "key": "names a record",
    "time": "when it happened: ISO 8601, or epoch in s, ms, us or ns",
    "entity": "what it is about, such as a machine",
}


def write_schema_toml(schema: Schema, inference: Inference | None = None) -> str:
    """Return ``schema`` as TOML tables [schema] and [[schema.columns]].

    With the inference behind it, what the sample showed stands in comments. Reading the text back
    gives an equal schema.
    """
    notes = inference.notes if inference else {}
    suggestions = inference.suggestions if inference else {}
    lines = ["[schema]", *_role_lines(schema), *_ignore_lines(schema, notes)]
    default = _defaults(Schema)["max_record_bytes"]
    comment = "# " if schema.max_record_bytes == default else ""
    lines.append(f"{comment}max_record_bytes = {schema.max_record_bytes}")
    for column in schema.columns:
        lines += ["", *_column_lines(column, notes.get(column.name, ()))]
        lines += _suggested_lines(column, suggestions.get(column.name, {}))
    return "\n".join(lines) + "\n"


def _role_lines(schema: Schema) -> Iterator[str]:
    for role, meaning in _ROLES.items():
        name = getattr(schema, role)
        if name is None:
            yield f'# {role} = "..."  # {meaning}'
        else:
            yield f"{role} = {_toml(name)}  # {meaning}"


def _ignore_lines(schema: Schema, notes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not schema.ignore:
        yield "ignore = []"
        return
    yield "ignore = ["
    for name in schema.ignore:
        yield f"  {_toml(name)},{_comment(notes.get(name, ()))}"
    yield "]"


def _column_lines(column: Column, notes: Sequence[str]) -> Iterator[str]:
    yield "[[schema.columns]]"
    yield f"name = {_toml(column.name)}{_comment(notes)}"
    yield f"kind = {_toml(column.kind)}"
    defaults = _defaults(Column)
    for key, default in defaults.items():
        value = getattr(column, key)
        if key != "kind" and value != default:
            yield f"{key} = {_toml(value)}"


def _suggested_lines(column: Column, suggestions: Mapping[str, Any]) -> Iterator[str]:
    """Yield as comments the keys that a person may want to set: `# minimum = 3.5`."""
    if column.kind == "number" and column.unit is None:
        yield '# unit = "..."'
    for key, value in suggestions.items():
        if getattr(column, key) == _defaults(Column)[key]:
            yield f"# {key} = {_toml(value)}"


def _defaults(owner: type[Schema] | type[Column]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(owner) if field.default is not MISSING}


def _comment(notes: Sequence[str]) -> str:
    text = "; ".join(notes)
    plain = "".join(character if character.isprintable() else " " for character in text)
    short = plain if len(plain) <= _LONGEST_NOTE else plain[:_LONGEST_NOTE] + "..."
    return f"  # {short}" if short else ""


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A TOML basic string has JSON's escapes, but wants DEL escaped too
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
