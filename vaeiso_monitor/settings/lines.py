"""Where in a TOML text each key stands: tomllib tells the values, but not their lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]

# Longest first: a quote may open a text over several lines. What is inside is never looked at.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\#[^\n]*|[\[\]{}\n=]',
    re.DOTALL,
)
_PART = re.compile(r'\s*("(?:\\.|[^"\\])*"|\'[^\']*\'|[^\s."\']+)\s*(?:\.|$)')


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of every table and key of a TOML text, array tables numbered from 0.

    What stands inside an inline table or an array is found under the key that holds it.
    """
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, head in _statements(text):
        if not head.startswith("["):
            _keep(found, table, _split(head), number)
            continue
        array = head.startswith("[[")
        parts = _split(head.strip("[]"))
        table = _numbered(parts, counts)
        _keep(found, (), table, number)
        if array:
            counts[table] = counts.get(table, -1) + 1
            table = (*table, counts[table])
            found[table] = number
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the head of each statement: a table's ``[name]``, or the key before =."""
    start, depth, head = 0, 0, ""
    for token in _TOKEN.finditer(text + "\n"):
        sign = token[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "=" and not depth:
            head = head or text[start : token.start()]
        elif sign == "\n" and not depth:
            line = text[start : token.start()]
            head = head or (_uncommented(line) if line.lstrip().startswith("[") else "")
            if head:
                yield text.count("\n", 0, start) + 1, head.strip()
            start, head = token.end(), ""


def _uncommented(line: str) -> str:
    comment = next((token for token in _TOKEN.finditer(line) if token[0].startswith("#")), None)
    return line if comment is None else line[: comment.start()]


def _keep(found: dict[Path, int], table: Path, parts: Path | list[str], number: int) -> None:
    for end in range(1, len(parts) + 1):
        found.setdefault((*table, *parts[:end]), number)


def _split(dotted: str) -> list[str]:
    return [_plain(part[1]) for part in _PART.finditer(dotted.strip())]


def _plain(part: str) -> str:
    if part.startswith('"'):
        try:
            return str(json.loads(part, strict=False))
        except ValueError:
            return part[1:-1]  # \U0001F600 and the like, which JSON does not know
    return part.strip("'")


def _numbered(parts: list[str], counts: Mapping[Path, int]) -> Path:
    """Insert the running number of every array table that ``parts`` lies in."""
    path: Path = ()
    for i, part in enumerate(parts):
        path = (*path, part)
        if path in counts and i < len(parts) - 1:
            path = (*path, counts[path])
    return path
