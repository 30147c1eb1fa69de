"""The HTTP face: every answer is a look at one status snapshot or at the registry."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client.exposition import choose_encoder

from vaeiso_monitor.telemetry import State, Status
from vaeiso_monitor.web.requests import Requests, request_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>vaeiso_monitor</title>
<style>
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; }}
</style>
<h1>vaeiso_monitor</h1>
<p>{state}</p>
<ul>
<li><a href="/api/v1/status">Status</a> as JSON
<li><a href="/metrics">Metrics</a> for Prometheus
<li><a href="/healthz">Health</a>: is the loop alive
<li><a href="/readyz">Readiness</a>: are records being scored
</ul>
</html>
"""


def web_app(
    status: Callable[[], Status],
    registry: CollectorRegistry,
    *,
    stall_seconds: float = 60.0,
    requests: Requests | None = None,
) -> FastAPI:
    """Build the application over a status function and a registry, neither of which it changes.

    ``/healthz`` fails when the loop made no turn for ``stall_seconds``: restart the process then.
    What changes something is passed on to ``requests``; without it there is no such path.
    """
    # The interactive pages would load scripts from a CDN, which a plant's network does not reach.
    app = FastAPI(title="vaeiso_monitor", docs_url=None, redoc_url=None)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return _INDEX.format(state=_in_words(status()))

    @app.get("/metrics", response_class=Response)
    async def metrics(
        accept: Annotated[str, Header()] = "",
        names: Annotated[list[str] | None, Query(alias="name[]")] = None,
    ) -> Response:
        """Show every metric in the format that the scraper asks for."""
        encode, content_type = choose_encoder(accept)
        chosen = registry if names is None else registry.restricted_registry(names)
        return Response(encode(chosen), media_type=content_type)

    @app.get("/healthz", responses={503: {"description": "The loop is stuck or has failed."}})
    async def healthz() -> JSONResponse:
        """Say whether the process does its work; if not it should be restarted."""
        return _verdict("healthy", _illness(status(), stall_seconds))

    @app.get("/readyz", responses={503: {"description": "Not ready yet, with the reasons."}})
    async def readyz() -> JSONResponse:
        """Say whether records are being scored and alerts can be delivered."""
        return _verdict("ready", list(status().reasons))

    @app.get("/api/v1/status")
    async def api_status() -> dict[str, Any]:
        """Show what the daemon is doing right now."""
        return status().to_dict()

    if requests is not None:
        app.include_router(request_paths(requests))
    return app


def _verdict(word: str, reasons: list[str]) -> JSONResponse:
    code = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return JSONResponse({word: not reasons, "reasons": reasons}, code)


def _illness(status: Status, stall_seconds: float) -> list[str]:
    if status.state is State.FAILED:
        return list(status.reasons)
    if status.heartbeat_age_seconds > stall_seconds:
        return [f"the loop has made no turn for {status.heartbeat_age_seconds:.0f} seconds"]
    return []


def _in_words(status: Status) -> str:
    if status.ready:
        return f"Ready: {status.records.scored:,} records scored so far."
    return "Not ready yet: see readiness below for the reasons."
