"""``VAEISO_*`` variables as a part of the config: ``VAEISO_THRESHOLD__ALERT_BUDGET=0.01``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PREFIX = "VAEISO_"
NOT_OURS = frozenset({"VAEISO_DATA"})  # where reference data sets lie: no key of the daemon


def variables(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of every variable of ours, and the keys that it stands for."""
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name not in NOT_OURS:
            yield name, name[len(PREFIX) :].lower().split("__")


def read_environment(environ: Mapping[str, str], sections: Sequence[str]) -> dict[str, Any]:
    """Return what the variables say as nested tables; unknown ``sections`` are left out.

    A list or a table is written as JSON: ``VAEISO_MODEL__HIDDEN='[32, 32]'``.
    """
    document: dict[str, Any] = {}
    for name, keys in variables(environ):
        if keys[0] in sections:
            _put(document, keys, _value(environ[name]))
    return document


def variable_of(path: Sequence[str | int], environment: Mapping[str, Any]) -> str | None:
    """Return the variable that a key's value came from, or None where it came from the file."""
    found: Any = environment
    for depth, part in enumerate(path):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
        if not isinstance(found, Mapping):
            return PREFIX + "__".join(map(str, path[: depth + 1])).upper()
    return None


def _put(document: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    table = document
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            inner = table[key] = {}
        table = inner
    table[keys[-1]] = value


def _value(text: str) -> Any:
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
