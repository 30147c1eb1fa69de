"""What is wrong in a config, in words: the key as written, its line, the nearest right one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

_HEADER = re.compile(r"^\s*\[(\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"']+)\s*=")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config."""

    key: str
    line: int | None
    message: str

    def __str__(self) -> str:
        """Return ``line 12: source.group: unknown key; did you mean group_id?``."""
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.key}: {self.message}"


def explain_errors(errors: Sequence[Any], root: Any, text: str) -> Iterator[Problem]:
    """Turn pydantic's ``errors`` on the model ``root`` into problems of the TOML ``text``."""
    lines = key_lines(text)
    for error in errors:
        path, siblings = _written_path(error["loc"], root)
        path, message = _message(error, path, siblings)
        yield Problem(".".join(map(str, path)) or "config", _nearest_line(path, lines), message)


def unknown_key(wrong: str, known: Sequence[str]) -> str:
    """Say that ``wrong`` is no key here, and which was probably meant."""
    return f"unknown key; {_meant(wrong, known)}"


def known_keys(owner: Any) -> list[str]:
    """Return the keys that a section takes, as they are written in the file."""
    if hasattr(owner, "model_fields"):
        return [info.alias or name for name, info in owner.model_fields.items()]
    return [item.name for item in fields(owner) if item.init] if is_dataclass(owner) else []


def key_lines(text: str) -> dict[tuple[str | int, ...], int]:
    """Return the line of every table and key of a TOML text, array tables numbered from 0."""
    found: dict[tuple[str | int, ...], int] = {}
    counts: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _numbered(_split(header[2]), counts)
            if header[1]:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_split(key[1])), number)
    return found


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _numbered(parts: list[str], counts: Mapping[tuple[str | int, ...], int]) -> tuple[Any, ...]:
    """Insert the running number of every array table that ``parts`` lies in."""
    path: tuple[str | int, ...] = ()
    for i, part in enumerate(parts):
        path = (*path, part)
        if path in counts and i < len(parts) - 1:
            path = (*path, counts[path])
    return path


def _nearest_line(path: Sequence[str | int], lines: Mapping[Any, int]) -> int | None:
    for end in range(len(path), 0, -1):
        if tuple(path[:end]) in lines:
            return lines[tuple(path[:end])]
    return None


def _message(
    error: Any, path: list[str | int], siblings: Sequence[str]
) -> tuple[list[str | int], str]:
    message: str = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return path, unknown_key(str(path[-1]), siblings)
        case "missing" | "missing_argument":
            return path, "this key is required"
        case "union_tag_not_found":
            return [*path, "type"], "this key is required"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in error["ctx"]["expected_tags"].split(",")]
            wrong = error["ctx"]["tag"]
            return [*path, "type"], f"unknown type {wrong!r}; {_meant(wrong, tags)}"
        case "value_error":
            return path, message
        case _:
            found = error.get("input")
            if isinstance(found, str | int | float | bool):
                message = f"{message[0].lower()}{message[1:]}, found {found!r}"
            return path, message


def _meant(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(known))


def _written_path(loc: Sequence[str | int], root: Any) -> tuple[list[str | int], list[str]]:
    """Drop the union tags that pydantic puts between keys; return the last key's siblings too."""
    path: list[str | int] = []
    siblings: list[str] = []
    annotation: Any = root
    for part in loc:
        members = _members(annotation)
        tagged = [m for m in members if part in _tags(m)]
        if tagged:
            annotation = tagged[0]
            continue
        path.append(part)
        siblings = [key for member in members for key in known_keys(member)]
        annotation = _child(members, part)
    return path, siblings


def _members(annotation: Any) -> list[Any]:
    """Return the types an annotation stands for: unions spread, Annotated unwrapped."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _tags(member: Any) -> tuple[str, ...]:
    if not is_dataclass(member) or not isinstance(member, type):
        return ()
    hint = get_type_hints(member).get("type")
    return get_args(hint) if hint is not None else ()


def _child(members: Sequence[Any], part: str | int) -> Any:
    for member in members:
        if isinstance(part, int):
            if args := get_args(member):
                return args[0]
        elif hasattr(member, "model_fields"):
            for name, info in member.model_fields.items():
                if part in (name, info.alias):
                    return info.annotation
        elif is_dataclass(member):
            hints = get_type_hints(member, include_extras=True)
            if part in hints:
                return hints[part]
    return None
