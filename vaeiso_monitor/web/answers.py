"""Answers: JSON documents, and refusals that say in one sentence what is wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.web.headers import SECURITY_HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

_JSON = "application/json"
_PLAIN = {
    404: "there is no such path",
    405: "this path does not take that method",
}


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was refused or failed, in one sentence."""

    detail: str


def answer(document: Any, code: int = HTTPStatus.OK) -> Response:
    """Return ``document`` as JSON; what is not finite becomes null."""
    return Response(msgspec.json.encode(document, enc_hook=str), code, media_type=_JSON)


def refusal(code: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that refuses a request."""
    content = msgspec.json.encode(Refusal(words))
    return Response(content, code, dict(headers or {}), _JSON)


def answer_in_words(app: FastAPI) -> None:
    """Let every failure of ``app`` answer as a :class:`Refusal`, a fault of our own included."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TransientError, _not_now)
    app.add_exception_handler(Exception, _fault)


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    words = _PLAIN.get(error.status_code)
    plain = error.detail == HTTPStatus(error.status_code).phrase
    return refusal(error.status_code, words if words and plain else error.detail, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """Say which parameter is wrong, and how; what was sent is not repeated."""
    del request
    assert isinstance(error, RequestValidationError)
    wrong = [f"{_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
    return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(wrong[:5]))


async def _not_now(request: Request, error: Exception) -> Response:
    del request
    return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"})


async def _fault(request: Request, error: Exception) -> Response:
    """Answer a bug of ours: the log has the traceback, the answer has none."""
    del request, error
    words = "an internal error: the daemon's log says more"
    return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, words, SECURITY_HEADERS)


def _place(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc[1:] or loc))
