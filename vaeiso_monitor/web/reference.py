"""The description of the API for people, at ``/docs``: Swagger UI, out of an installed package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse

from vaeiso_monitor.errors import ConfigError

_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_KEPT = {"Cache-Control": "public, max-age=86400"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>vaeiso_monitor: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#api", deepLinking: true,
  defaultModelsExpandDepth: 0, validatorUrl: null,
});
"""


def reference_paths() -> APIRouter:
    """Return the page and its files; it needs no CDN and no inline script."""
    router = APIRouter(include_in_schema=False)
    folder = _folder()

    @router.get("/docs")
    async def page() -> HTMLResponse:
        """Show every path, to be tried out."""
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        """Start the page."""
        return Response(_START, media_type="text/javascript", headers=_KEPT)

    for name, kind in _FILES.items():
        router.add_api_route(f"/docs/{name}", _file(folder / name, kind), methods=["GET"])
    return router


def _file(path: Path, kind: str) -> Callable[[], Awaitable[FileResponse]]:
    async def file() -> FileResponse:
        return FileResponse(path, media_type=kind, headers=_KEPT)

    return file


def _folder() -> Path:
    """Return where the package keeps the files, without running any of its code."""
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        msg = "the package fastapi-offline is missing: `pip install fastapi-offline`"
        raise ConfigError(msg)
    return Path(found.origin).parent / "static"
