"""Who may ask for what: bearer tokens, or without them this machine alone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.peers.secret import read_secret
from vaeiso_monitor.web.answers import refusal
from vaeiso_monitor.web.config import ServerConfig, is_loopback

if TYPE_CHECKING:
    from fastapi import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

Right = Literal["none", "read", "write"]

_SHORTEST = 16
_OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
_OPEN_FOLDERS = ("/assets/", "/docs/")  # static files of this package: nothing of the plant
_READING = frozenset({("POST", "/api/v1/score")})
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """The digests of the two tokens, None where there is none; write implies read."""

    read: bytes | None = None
    write: bytes | None = None

    @classmethod
    def of(cls, config: ServerConfig) -> Tokens:
        """Read both; ConfigError where one cannot be used."""
        read = _token(config.read_token_env, config.read_token_file, "server.read_token")
        write = _token(config.write_token_env, config.write_token_file, "server.write_token")
        if read is not None and read == write:
            msg = "server.read_token and server.write_token must differ: who reads could write"
            raise ConfigError(msg)
        return cls(*(None if token is None else cls.digest(token) for token in (read, write)))

    @staticmethod
    def digest(token: str) -> bytes:
        """Return what is kept of a token: all have the same length, so that none tells its own."""
        return hashlib.sha256(token.encode(errors="surrogatepass")).digest()

    def right_of(self, token: str) -> Right:
        """Return what a token gives the right to; takes as long for a wrong one as for a right."""
        found = self.digest(token)
        reads = hmac.compare_digest(found, self.read or b"")
        writes = hmac.compare_digest(found, self.write or b"")
        return "write" if writes else "read" if reads else "none"

    def guard(self, needed: Right) -> bool:
        """Say whether a token is asked for: to write also where there is one to read only."""
        return self.read is not None or (needed == "write" and self.write is not None)


class Access:
    """Lets a request pass or refuses it, whatever path it asks for, known or not.

    The static page, health, readiness and the description of the API are open. What changes
    something needs the write token, all else the read token. Where there is no token, only this
    machine may ask; where there is one of the two only, what the other would protect follows it.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, *, open_metrics: bool) -> None:
        self._app = app
        self._tokens = tokens
        self._open = _OPEN | ({"/metrics"} if open_metrics else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and (refused := self._refused(scope)) is not None:
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        method, path = scope["method"], scope["path"]
        needed = _needed(method, path)
        if needed == "read" and (path in self._open or path.startswith(_OPEN_FOLDERS)):
            return None
        headers = Headers(scope=scope)
        if not self._tokens.guard(needed):
            return _not_from_here(scope, headers)
        return self._without_right(headers, needed)

    def _without_right(self, headers: Headers, needed: Right) -> Response | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            words = f"a bearer token with the right to {needed} is needed"
            return _unauthorized(words, "")
        right = self._tokens.right_of(token.strip())
        if right == "none":
            return _unauthorized("the token is wrong", ', error="invalid_token"')
        if needed == "write" and right == "read":
            if self._tokens.write is None:
                words = "there is no write token: set server.write_token_file"
            else:
                words = "the token may only read: the write token is needed"
            return refusal(HTTPStatus.FORBIDDEN, words)
        return None


def _needed(method: str, path: str) -> Right:
    return "write" if method in _CHANGES and (method, path) not in _READING else "read"


def _not_from_here(scope: Scope, headers: Headers) -> Response | None:
    """Refuse whoever is not on this machine, and what a foreign web page sends from it.

    A page in a browser here may send requests to loopback too: its browser names the page's origin,
    and a name that was bent to loopback stands in the Host header.
    """
    client = scope["client"][0] if scope.get("client") else ""
    host, origin = headers.get("host", ""), headers.get("origin")
    foreign = origin is not None and _netloc(origin) != host
    if not is_loopback(client):
        words = "without tokens only this machine may ask: set server.read_token_file for others"
    elif foreign:
        words = "a page of another origin asks, and without tokens none may"
    elif not is_loopback(_hostname(host)):
        words = f"without tokens ask for localhost or 127.0.0.1, not for {host[:100]!r}"
    else:
        return None
    return refusal(HTTPStatus.FORBIDDEN, words)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _unauthorized(words: str, error: str) -> Response:
    challenge = f'Bearer realm="vaeiso_monitor"{error}'
    return refusal(HTTPStatus.UNAUTHORIZED, words, {"WWW-Authenticate": challenge})


def _token(environment: str | None, file: str | None, what: str) -> str | None:
    token = read_secret(environment, file, what=what)
    if token is None:
        return None
    token = token.strip()
    if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        msg = (
            f"{what} must be {_SHORTEST} or more characters of ASCII without spaces; "
            "`openssl rand -hex 32` makes one"
        )
        raise ConfigError(msg)
    return token
