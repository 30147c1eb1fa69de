"""The HTTP face: every answer is a look at one status snapshot, the registry, or what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query, Response
from prometheus_client.exposition import choose_encoder

from vaeiso_monitor.telemetry import State, Status, Telemetry
from vaeiso_monitor.web.alerts import AlertPage, Alerts, alert_paths
from vaeiso_monitor.web.answers import answer, answer_in_words
from vaeiso_monitor.web.condition import Condition, problems
from vaeiso_monitor.web.config import ServerConfig
from vaeiso_monitor.web.described import METRICS_ANSWERS, answers, describe, probe_answers
from vaeiso_monitor.web.models import (
    ModelDetails,
    Models,
    Promoted,
    StoredModels,
    model_paths,
)
from vaeiso_monitor.web.overview import Overview, overview_paths
from vaeiso_monitor.web.page import Assets, page_paths
from vaeiso_monitor.web.reference import reference_paths
from vaeiso_monitor.web.requests import (
    Feedback,
    Judged,
    Requests,
    Retrain,
    Training,
    request_paths,
)
from vaeiso_monitor.web.score import Score, Scored, Scoring, score_paths
from vaeiso_monitor.web.shapes import Health, Readiness, ShownStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_DESCRIBED = (
    AlertPage,
    Feedback,
    Health,
    Judged,
    ModelDetails,
    Overview,
    Promoted,
    Readiness,
    Retrain,
    Score,
    Scored,
    ShownStatus,
    StoredModels,
    Training,
)
_NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class Behind:
    """Who stands behind which paths; where there is nobody, there are no such paths."""

    requests: Requests | None = None
    alerts: Alerts | None = None
    models: Models | None = None
    scoring: Scoring | None = None
    telemetry: Telemetry | None = None


def web_app(
    status: Callable[[], Status],
    registry: CollectorRegistry,
    *,
    config: ServerConfig | None = None,
    behind: Behind | None = None,
    condition: Callable[[], Condition] = Condition,
) -> FastAPI:
    """Build the application over a status function and a registry, neither of which it changes.

    It refuses nobody: :func:`vaeiso_monitor.web.serve` stands in front of it. ``condition`` is what
    the status document says beside the status.
    """
    config, behind = config or ServerConfig(), behind or Behind()
    app = FastAPI(
        title="vaeiso_monitor", docs_url=None, redoc_url=None, redirect_slashes=False, version="1"
    )
    answer_in_words(app)
    app.include_router(_probes(status, registry, config.stall_seconds))

    def document() -> dict[str, Any]:
        now, beside = status(), condition()
        found = problems(now, beside, config.stall_seconds)
        return now.to_dict() | beside.to_dict() | {"problems": found}

    app.include_router(_status_path(document))
    app.include_router(reference_paths())
    assets = Assets()
    app.include_router(page_paths(assets))
    if behind.telemetry is not None:
        app.include_router(overview_paths(document, behind.telemetry, assets.digest))
    for router in _routers(behind, config):
        app.include_router(router)
    describe(app, _DESCRIBED, ("/healthz", "/readyz"))
    return app


def _routers(behind: Behind, config: ServerConfig) -> list[APIRouter]:
    """Return the paths of those who are there."""
    found = []
    if behind.requests is not None:
        found.append(request_paths(behind.requests))
    if behind.alerts is not None:
        found.append(alert_paths(behind.alerts))
    if behind.models is not None:
        found.append(model_paths(behind.models))
    if behind.scoring is not None:
        found.append(score_paths(behind.scoring, max_records=config.max_score_records))
    return found


def _status_path(document: Callable[[], dict[str, Any]]) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get("/api/v1/status", responses=answers(ShownStatus, 503))
    def api_status() -> Response:
        """Show what the daemon is doing right now, and in words what is wrong."""
        return answer(document())

    return router


def _probes(
    status: Callable[[], Status], registry: CollectorRegistry, stall_seconds: float
) -> APIRouter:
    """Return the paths that machines ask again and again."""
    router = APIRouter(tags=["probes"])

    @router.get("/metrics", response_class=Response, responses=METRICS_ANSWERS)
    async def metrics(
        accept: Annotated[str, Header()] = "",
        names: Annotated[list[str] | None, Query(alias="name[]", json_schema_extra=_NAMES)] = None,
    ) -> Response:
        """Show every metric in the format that the scraper asks for."""
        encode, content_type = choose_encoder(accept)
        chosen = registry if names is None else registry.restricted_registry(names)
        return Response(encode(chosen), media_type=content_type)

    @router.get("/healthz", responses=probe_answers(Health, "The loop is stuck or has failed."))
    async def healthz() -> Response:
        """Say whether the process does its work; if not it should be restarted."""
        return _verdict("healthy", _illness(status(), stall_seconds))

    @router.get("/readyz", responses=probe_answers(Readiness, "Not ready yet, with the reasons."))
    async def readyz() -> Response:
        """Say whether records are being scored and alerts can be delivered."""
        return _verdict("ready", list(status().reasons))

    return router


def _verdict(word: str, reasons: list[str]) -> Response:
    code = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return answer({word: not reasons, "reasons": reasons}, code)


def _illness(status: Status, stall_seconds: float) -> list[str]:
    if status.state is State.FAILED:
        return list(status.reasons)
    if status.heartbeat_age_seconds > stall_seconds:
        return [f"the loop has made no turn for {status.heartbeat_age_seconds:.0f} seconds"]
    return []
