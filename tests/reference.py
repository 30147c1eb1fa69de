"""Writes what is generated in docs/: the keys of configuration.md, and alert.schema.json.

``make reference`` after a change of a config or a message. What a key means is written by hand, in
the last cell of its row; a new key gets a row that the tests refuse until someone has done that.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing

from tests.test_docs import DOCS, NESTED, TABLES, default_of, kind_of
from vaeiso_monitor.alerts import message_schema

_HEADING = re.compile(r"^#{2,4} `(\[.+)`$")
_NEW = "TO BE WRITTEN"


def configuration(text: str) -> str:
    """Return the page with the types and defaults of the settings, and a row for every key."""
    owner, done, lines = None, set(), []
    for line in text.splitlines():
        if found := _HEADING.match(line):
            owner, done = TABLES.get(found[1]), set()
        if owner is None or not line.startswith("| `"):
            if owner is not None and done and not line.startswith("|"):
                lines += _missing(owner, done)
                owner = None
            lines.append(line)
            continue
        name, _, default, meaning = _cells(line)
        if (field := _fields(owner).get(name.strip("`"))) is not None:
            done.add(field.name)
            lines.append(_row(owner, field, default, meaning))
    return "\n".join(lines) + "\n"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _fields(owner: type) -> dict[str, dataclasses.Field[typing.Any]]:
    return {field.name: field for field in dataclasses.fields(owner)}


def _row(owner: type, field: dataclasses.Field[typing.Any], default: str, meaning: str) -> str:
    hints = typing.get_type_hints(owner, include_extras=True)
    known = default_of(field)
    said = default if known is NESTED else known
    return f"| `{field.name}` | {kind_of(hints[field.name])} | {said} | {meaning} |"


def _missing(owner: type, done: set[str]) -> list[str]:
    fields = _fields(owner).items()
    return [_row(owner, field, "see there", _NEW) for name, field in fields if name not in done]


def main() -> None:
    """Write both."""
    page = DOCS / "configuration.md"
    page.write_text(configuration(page.read_text(encoding="utf-8")), encoding="utf-8")
    schema = json.dumps(message_schema(), indent=2, ensure_ascii=False) + "\n"
    (DOCS / "alert.schema.json").write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    main()
