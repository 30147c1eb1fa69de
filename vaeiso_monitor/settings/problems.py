"""What is wrong in a config, in words: the key as written, its line, the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from vaeiso_monitor.settings.environment import variable_of
from vaeiso_monitor.settings.lines import key_lines


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


def explain_errors(
    errors: Sequence[Any], root: Any, text: str, environment: Mapping[str, Any]
) -> Iterator[Problem]:
    """Turn pydantic's ``errors`` on the model ``root`` into problems of the TOML ``text``.

    What came from the ``environment`` is named by its variable, and its value is not shown: it may
    be a secret under a wrong name.
    """
    lines = key_lines(text)
    for error in errors:
        path, siblings = _written_path(error["loc"], root)
        path, message = _message(error, path, siblings, shown=True)
        if (*path, first := message.partition(" ")[0]) in lines:
            path = [*path, first]  # a check of the whole section names the key that it is about
        if variable := variable_of(path, environment):
            _, message = _message(error, path, siblings, shown=False)
            yield Problem(f"environment variable {variable}", None, message)
        else:
            yield Problem(".".join(map(str, path)) or "config", _nearest_line(path, lines), message)


def unknown_key(wrong: str, known: Sequence[str]) -> str:
    """Say that ``wrong`` is no key here, and which was probably meant."""
    return f"unknown key; {_meant(wrong, known)}"


def known_keys(owner: Any) -> list[str]:
    """Return the keys that a section takes, as they are written in the file."""
    if hasattr(owner, "model_fields"):
        return [info.alias or name for name, info in owner.model_fields.items()]
    return [item.name for item in fields(owner) if item.init] if is_dataclass(owner) else []


def _nearest_line(path: Sequence[str | int], lines: Mapping[Any, int]) -> int | None:
    for end in range(len(path), 0, -1):
        if tuple(path[:end]) in lines:
            return lines[tuple(path[:end])]
    return None


def _message(
    error: Any, path: list[str | int], siblings: Sequence[str], *, shown: bool
) -> tuple[list[str | int], str]:
    message: str = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return path, unknown_key(str(path[-1]), siblings)
        case "missing" | "missing_argument":
            return path, "this key is required"
        case "union_tag_not_found":
            return _with_type(path), "this key is required"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in error["ctx"]["expected_tags"].split(",")]
            wrong = error["ctx"]["tag"]
            what = f"unknown type {wrong!r}" if shown else "unknown type"
            return _with_type(path), f"{what}; {_meant(wrong, tags)}"
        case "value_error":
            return path, message
        case _:
            message = f"{message[0].lower()}{message[1:]}"
            found = error.get("input")
            if shown and isinstance(found, str | int | float | bool):
                message = f"{message}, found {found!r}"
            return path, message


def _with_type(path: list[str | int]) -> list[str | int]:
    return path if path[-1:] == ["type"] else [*path, "type"]


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
        tagged = [m for m in members if part in _tags(m)] if len(members) > 1 else []
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
