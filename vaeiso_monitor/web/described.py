"""What goes in and out, in the words of OpenAPI: schemas of the structs that are sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.web.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
Answers = dict[int | str, dict[str, Any]]

METRICS_ANSWERS: Answers = {
    200: {
        "description": "The metrics, as Prometheus reads them.",
        "content": {kind: {"schema": {"type": "string"}} for kind in (_TEXT, _OPENMETRICS)},
    }
}
_REF = "#/components/schemas/{name}"
_WORDS = {
    401: "The token is missing or wrong.",
    403: "The token may not do that, or, without tokens, another machine or a foreign page asks.",
    404: "There is no such thing.",
    409: "It cannot be done as things stand; the answer says why.",
    413: "The body is larger than it may be.",
    422: "The request is not understood; the answer says what is wrong.",
    503: "Not now: the daemon starts, stops, has no model yet, or is busy.",
}


def answers(kind: type[msgspec.Struct], *codes: int, code: int = 200, words: str = "") -> Answers:
    """Describe an answer of ``kind``, and the refusals that may come instead."""
    found: Answers = {code: {"description": words or "As asked.", **_json(kind)}}
    for refused in (401, 403, *codes):
        found[refused] = {"description": _WORDS[refused], **_json(Refusal)}
    return found


def probe_answers(kind: type[msgspec.Struct], words: str) -> Answers:
    """Describe a probe: the same document whether all is well (200) or not (503, ``words``)."""
    said = {200: "All is well.", 503: words}
    return {code: {"description": text, **_json(kind)} for code, text in said.items()}


def body(kind: type[msgspec.Struct], *, required: bool = True) -> dict[str, Any]:
    """Describe a body of ``kind``."""
    return {"requestBody": {"required": required, **_json(kind)}}


def describe(
    app: FastAPI, kinds: Iterable[type[msgspec.Struct]], open_paths: Iterable[str] = ()
) -> None:
    """Let the OpenAPI document of ``app`` hold the schemas of ``kinds``, and how to authorize.

    ``open_paths`` need no token.
    """
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _, schemas = msgspec.json.schema_components([*kinds, Refusal], ref_template=_REF)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas)
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{}, {"bearer": []}]
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _complete(operation, open_to_all=path in open_paths)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], *, open_to_all: bool) -> None:
    """Call an operation by what it does, not by the name of a function."""
    operation["summary"] = re.split("[.;:]", operation.get("description", ""), maxsplit=1)[0]
    if open_to_all:
        operation["security"] = []


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name=kind.__name__)}
    return {"content": {"application/json": {"schema": schema}}}
