"""The paths that change something; this machine alone may use them."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from vaeiso_monitor.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable


_Body = TypeVar("_Body", bound=msgspec.Struct)
_MAX_BYTES = 65_536
_NOBODY: dict[int | str, dict[str, Any]] = {
    403: {"description": "Asked from another machine."},
    503: {"description": "Nothing serves yet."},
}
_RETRAIN = {**_NOBODY, 409: {"description": "Another training runs."}}
_FEEDBACK = {**_NOBODY, 404: {"description": "No such alert is remembered."}}


class Requests(Protocol):
    """Whoever carries out what is asked over HTTP; each may raise TransientError."""

    def retrain(self, *, adopt: bool) -> dict[str, Any]:
        """Ask for a training; say under ``started`` whether it begins."""

    def judge(
        self, alert_id: str, verdict: Literal["normal", "anomaly"], note: str
    ) -> dict[str, Any]:
        """Put a verdict on an alert; say under ``known`` whether there is such an alert."""


class Retrain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a training; ``adopt`` learns only from what was seen since the regime shifted."""

    adopt: bool = False


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verdict on an alert."""

    alert_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    verdict: Literal["normal", "anomaly"]
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""


def from_here(request: Request) -> None:
    """Refuse whoever is not on this machine, and what a foreign web page sends from it.

    A page in a browser here may send requests to loopback too: its browser names the page's origin,
    and a name that was bent to loopback stands in the Host header.
    """
    client = request.client.host if request.client else ""
    here = urlsplit(f"//{request.headers.get('host', '')}")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != here.netloc
    if not _loopback(client) or not _loopback(here.hostname or "") or foreign:
        raise HTTPException(HTTPStatus.FORBIDDEN, "only this machine may ask for that")


def request_paths(requests: Requests) -> APIRouter:
    """Return the paths that pass on to ``requests``."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(from_here)])

    @router.post("/retrain", responses=_RETRAIN, openapi_extra=_body_of(Retrain))
    async def retrain(request: Request) -> JSONResponse:
        """Start a training beside the scoring."""
        wish = await _body(request, Retrain)
        found = await _asked(lambda: requests.retrain(adopt=wish.adopt))
        code = HTTPStatus.ACCEPTED if found["started"] else HTTPStatus.CONFLICT
        return JSONResponse(found, code)

    @router.post("/feedback", responses=_FEEDBACK, openapi_extra=_body_of(Feedback))
    async def feedback(request: Request) -> JSONResponse:
        """Say of an alert whether it was right."""
        said = await _body(request, Feedback)
        found = await _asked(lambda: requests.judge(said.alert_id, said.verdict, said.note))
        return JSONResponse(found, HTTPStatus.OK if found["known"] else HTTPStatus.NOT_FOUND)

    return router


def _body_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the description of a body in the words of OpenAPI."""
    _, parts = msgspec.json.schema_components([kind])
    return {"requestBody": {"content": {"application/json": {"schema": parts[kind.__name__]}}}}


async def _body(request: Request, kind: type[_Body]) -> _Body:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _MAX_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


async def _asked(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return await run_in_threadpool(ask)
    except TransientError as error:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
