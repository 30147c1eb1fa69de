"""A first schema guessed from a sample, with the reasons for a person to judge it by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.records.observe import Field, observe_documents, observe_table
from vaeiso_monitor.records.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaeiso_monitor.records.schema import ColumnKind

Sample: TypeAlias = Iterable[bytes | None] | pa.Table | pa.RecordBatch

_MOST_CATEGORIES = 200
_SMALL_SAMPLE = 20
_MOST_CODES = 20
_KEY_NAME = re.compile(r"(^|.*[\W_])(id|key|uuid|guid|seq|sequence|offset|row|index|nr)|.*Id", re.I)
_TIME_NAME = re.compile(r"(.*[\W_])?(time|timestamp|ts|date|datetime|at|when)|.*(Time|Date)", re.I)
_ENTITY_NAME = re.compile(
    r"(.*[\W_])?(host|hostname|machine|device|sensor|unit|asset|node|server|instance|entity|station"
    r"|pump|plant|site|robot|vehicle|turbine|meter|container|pod|tag)([\W_]?(id|name|nr))?",
    re.I,
)
_CODE_NAME = re.compile(
    r"(.*[\W_])?(code|type|status|class|category|flag|mode|state|kind|id)", re.I
)


@dataclass(frozen=True, slots=True)
class Inference:
    """A guessed schema, and for each field of the sample what was seen of it.

    ``notes`` are words for a person; ``suggestions`` are keys of a column that the sample would
    bear out, such as its range, but that only a person can know to hold.
    """

    schema: Schema
    notes: Mapping[str, tuple[str, ...]]
    suggestions: Mapping[str, Mapping[str, Any]]
    records: int
    unreadable: int


def infer_schema(sample: Sample, *, labels: bool = True) -> Schema:
    """Return the schema that :func:`inspect_sample` guesses."""
    return inspect_sample(sample, labels=labels).schema


def inspect_sample(sample: Sample, *, labels: bool = True) -> Inference:
    """Guess a schema from JSON documents or an Arrow table; raise ConfigError if nothing is there.

    With ``labels`` false every number is a column: no key, time, entity or id is looked for.
    """
    if isinstance(sample, (pa.Table, pa.RecordBatch)):
        fields, records, unreadable = observe_table(sample), len(sample), 0
    else:
        fields, records, unreadable = observe_documents(sample)
    roles = _label_fields(fields) if labels else {}
    rest = [field for field in fields if field.name not in roles.values()]
    reasons = {field.name: _reason_to_ignore(field, labels=labels) for field in rest}
    columns = tuple(Column(f.name, _kind(f)) for f in rest if reasons[f.name] is None)
    if not columns:
        msg = f"no field of the sample can be scored ({records} records, {unreadable} unreadable)"
        raise ConfigError(msg)
    schema = Schema(
        columns=columns,
        ignore=tuple(name for name, reason in reasons.items() if reason is not None),
        **roles,  # type: ignore[arg-type]
    )
    notes = {field.name: _notes(field, reasons.get(field.name)) for field in fields}
    suggestions = {f.name: _suggestions(f) for f in rest if reasons[f.name] is None}
    return Inference(schema, notes, suggestions, records, unreadable)


def _label_fields(fields: list[Field]) -> dict[str, str]:
    """Return which fields seem to be the key, the time and the entity."""
    looks = {"key": _looks_like_key, "time": _looks_like_time, "entity": _looks_like_entity}
    roles: dict[str, str] = {}
    for role, look in looks.items():
        found = (f.name for f in fields if f.name not in roles.values() and look(f))
        if (name := next(found, None)) is not None:
            roles[role] = name
    return roles


def _looks_like_key(field: Field) -> bool:
    countable = field.shape == "text" or (field.shape == "number" and field.whole)
    named = _KEY_NAME.fullmatch(field.name) is not None
    return field.unique and countable and field.strays == 0 and named


def _looks_like_time(field: Field) -> bool:
    if not field.dated or field.strays:
        return False
    return field.shape != "number" or _TIME_NAME.fullmatch(field.name) is not None


def _looks_like_entity(field: Field) -> bool:
    named = _ENTITY_NAME.fullmatch(field.name) is not None
    countable = field.shape == "text" or (field.shape == "number" and field.whole)
    return named and countable and field.distinct <= max(field.records / 2, 1)


def _reason_to_ignore(field: Field, *, labels: bool) -> str | None:
    if field.shape == "empty":
        return "no record of the sample holds a value"
    if field.shape == "nested":
        return "arrays or objects cannot be scored"
    if field.shape == "time" or (field.shape == "text" and field.dated):
        return "a time"
    if labels and _looks_like_key(field):
        return "different in every record, like an id"
    if field.shape == "text" and _too_many_texts(field):
        return f"{field.distinct} different texts, like an id or a message"
    return None


def _too_many_texts(field: Field) -> bool:
    spread = field.records >= _SMALL_SAMPLE and field.distinct > field.records / 2
    return field.distinct > _MOST_CATEGORIES or spread


def _kind(field: Field) -> ColumnKind:
    if field.shape == "boolean" and not field.strays:
        return "boolean"
    repeated = field.distinct <= min(_MOST_CODES, field.records / 4)
    codes = field.whole and repeated and _CODE_NAME.fullmatch(field.name)
    return "number" if field.shape == "number" and not codes else "category"


def _notes(field: Field, reason: str | None) -> tuple[str, ...]:
    if reason is not None:
        return (reason,)
    notes = []
    if field.constant:  # a flag that never was up in a sample may be what matters most
        notes.append(f"the same in every record of the sample: {field.common[0]}")
    elif field.shape == "number" and _kind(field) == "number":
        notes.append(f"seen: {field.minimum:.6g} to {field.maximum:.6g}")
    elif field.distinct > len(field.common):
        notes.append(f"seen: {', '.join(field.common)}, ... ({field.distinct} in all)")
    elif field.common:
        notes.append(f"seen: {', '.join(field.common)}")
    if field.missing:
        notes.append(f"missing in {field.missing} of {field.records} records")
    if field.strays:
        notes.append(f"{field.strays} values are not of this kind: such records are rejected")
    return tuple(notes)


def _suggestions(field: Field) -> dict[str, Any]:
    if field.constant:
        return {}
    if _kind(field) == "number":
        return {"minimum": field.minimum, "maximum": field.maximum}
    if _kind(field) == "category" and field.distinct == len(field.common):
        return {"values": tuple(sorted(field.common)), "unseen": "reject"}
    return {}
