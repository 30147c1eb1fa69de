"""Bounds of a request: its body's size, and the time in which it has to arrive."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message

from vaeiso_monitor.web.answers import refusal
from vaeiso_monitor.web.headers import SECURITY_HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_DRAINED_SECONDS = 5.0
MAX_HEAD_BYTES = 32_768
_GONE: Message = {"type": "http.disconnect"}
_CLOSE = {**SECURITY_HEADERS, "Connection": "close"}


class Limits:
    """Refuses bodies that are too large (413) or too slow (408), and heads that are too long (431).

    A length that is announced is refused before a byte of it is read. What a client still sends
    after a refusal is read and thrown away for a moment, so that it gets to see the answer; then
    the connection is closed. ``larger`` names the paths that may take more bytes.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, seconds: float, larger: Mapping[str, int]
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._max_bytes)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            await _refuse(_LONG_HEAD, scope, receive, send)
        elif _announced(scope) > limit:
            await _refuse(_too_large(limit), scope, receive, send)
        else:
            await self._pass_on(_Exchange(receive, send, limit, self._seconds), scope)

    async def _pass_on(self, exchange: _Exchange, scope: Scope) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            if exchange.refusal is None:
                raise
        await exchange.refuse(scope)


class _Exchange:
    """One request and its answer: counts the body's bytes and the time that it takes.

    Once there is a ``refusal`` the application sees a client that went away, and what it answers to
    that is not passed on.
    """

    def __init__(self, receive: Receive, send: Send, limit: int, seconds: float) -> None:
        self._receive, self._send = receive, send
        self._limit, self._seconds = limit, seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._bytes = 0
        self._whole = self._answered = False
        self.refusal: Response | None = None

    async def receive(self) -> Message:
        """Return the next piece of the body, or that there will be none."""
        if self._whole:
            return await self._receive()
        if self.refusal is not None:
            return _GONE
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            words = f"the body did not arrive within {self._seconds:g} seconds"
            self.refusal = refusal(HTTPStatus.REQUEST_TIMEOUT, words, _CLOSE)
            return _GONE
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._bytes > self._limit:
            self.refusal = _too_large(self._limit)
            return _GONE
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if self._answered or self.refusal is None:
            self._answered = True
            await self._send(message)

    async def refuse(self, scope: Scope) -> None:
        """Send the refusal, if there is one and no other answer has begun."""
        if self.refusal is not None and not self._answered:
            await _refuse(self.refusal, scope, self._receive, self._send)


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer, then throw away for a moment what still comes."""
    start = {"type": "http.response.start", "status": answer.status_code}
    await send({**start, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    late = answer.status_code == HTTPStatus.REQUEST_TIMEOUT
    # asking for more would invite a client to send that waits for leave to
    if not late and "expect" not in Headers(scope=scope):
        await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return


def _announced(scope: Scope) -> int:
    try:
        return int(Headers(scope=scope).get("content-length", "0"))
    except ValueError:
        return 0


def _too_large(limit: int) -> Response:
    words = f"the body is too large: {limit:,} bytes are the most that is taken here"
    return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words, _CLOSE)


_LONG_HEAD = refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the head of the request is too long: {MAX_HEAD_BYTES:,} bytes are the most",
    _CLOSE,
)
