"""The JSON Schema of the messages, for those who read them: made from what writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from vaeiso_monitor.alerts.alert import Alert
from vaeiso_monitor.alerts.dead_letter import DeadLetter
from vaeiso_monitor.alerts.drift import DriftAlert
from vaeiso_monitor.alerts.regime_shift import RegimeShift
from vaeiso_monitor.alerts.summary import Summary

_MESSAGES = (Alert, Summary, RegimeShift, DriftAlert)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def message_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of every message that a sink of alerts may get.

    ``type`` tells them apart. Every field is there; readers should let pass what a later version
    adds. A dead letter, which goes to sinks of its own, is ``#/$defs/DeadLetter``.
    """
    _, parts = msgspec.json.schema_components(
        (*_MESSAGES, DeadLetter), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": _DIALECT,
        "title": "A message of vaeiso_monitor",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in _MESSAGES],
        "$defs": {name: _written(part) for name, part in sorted(parts.items())},
    }


def _written(part: dict[str, Any]) -> dict[str, Any]:
    """Say of a struct what is true of its JSON: every field is there, a kind has its own name."""
    fields = {name: _number_or_null(shape) for name, shape in part["properties"].items()}
    kind = fields.get("type", {})
    if "default" in kind:
        fields["type"] = {"const": kind["default"]}
    if "schema_version" in fields:
        fields["schema_version"] = {"const": fields["schema_version"]["default"]}
    return {
        "description": part["description"].partition("\n")[0],
        "type": "object",
        "properties": fields,
        "required": list(fields),
    }


def _number_or_null(shape: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity and no NaN: they are written as null."""
    if shape.get("type") == "number":
        return shape | {"type": ["number", "null"]}
    return shape
