"""The addresses of the page: a shell without data, open to all, and its files."""

from __future__ import annotations

from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from vaeiso_monitor.web.page.assets import Asset, Assets, accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Mapping

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)  # the charts set inline styles; no script is inline, and none is made of text
_KEEP = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def page_paths(assets: Assets) -> APIRouter:
    """Return the paths of the page; they show nothing of the stream, so they need no token."""
    router = APIRouter(include_in_schema=False)
    reading = Lock()

    def read(name: str) -> Asset | None:
        with reading:
            return assets.get(name)

    @router.get("/")
    async def index(request: Request) -> Response:
        tag = f'"{assets.digest}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
        shown = {"cache-control": _ASK_AGAIN, "etag": tag, "content-security-policy": _POLICY}
        return _answer(assets.index, request.headers, shown)

    @router.get("/assets/{digest}/{name}")
    async def asset(digest: str, name: str, request: Request) -> Response:
        found = await run_in_threadpool(read, name) if digest == assets.digest else None
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such file: load the page anew")
        return _answer(found, request.headers, {"cache-control": _KEEP})

    @router.get("/favicon.ico")
    async def icon(request: Request) -> Response:
        found = read("icon.svg")
        assert found is not None
        return _answer(found, request.headers, {"cache-control": "public, max-age=86400"})

    return router


def _answer(asset: Asset, asked: Mapping[str, str], headers: dict[str, str]) -> Response:
    headers = {**headers, "vary": "accept-encoding"}
    if accepts_gzip(asked):
        headers["content-encoding"] = "gzip"
        return Response(asset.zipped, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
