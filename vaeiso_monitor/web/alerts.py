"""The alerts over HTTP: pages of them, and one explained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from vaeiso_monitor.alerts import Feature, Latent, Membership, Mode
from vaeiso_monitor.web.answers import answer
from vaeiso_monitor.web.described import answers

_LARGEST = 2**63 - 1  # of a number in SQLite
_MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which alerts are wanted, newest first; ``since`` is Unix time, ``before`` a page's cursor."""

    limit: int
    before: int | None
    severity: str | None
    entity: str | None
    verdict: Literal["normal", "anomaly", "none"] | None
    since: float | None


class Alerts(Protocol):
    """Whoever remembers the alerts; each may raise TransientError."""

    def page(self, query: AlertQuery) -> tuple[list[dict[str, Any]], int | None]:
        """Return alerts, and the cursor of the next page: None at the end."""

    def get(self, alert_id: str) -> dict[str, Any] | None:
        """Return one alert by its id or a beginning that no other has."""


class Judgement(msgspec.Struct, frozen=True):
    """What a person said of an alert."""

    verdict: Literal["normal", "anomaly"]
    note: str
    judged_at: str


class ShownAlert(msgspec.Struct, frozen=True):
    """An alert as the sinks get it, its number in the history, and the verdict on it if any."""

    number: int
    alert_id: str
    severity: Literal["warning", "critical"]
    event_time: str | None
    detected_at: str
    source: dict[str, Any]
    entity: dict[str, Any] | None
    record_key: Any
    model: dict[str, Any]
    nats: float | None
    threshold_nats: float
    anomaly_score: float | None
    tail_probability: float | None
    alert_budget: float
    distortion_nats: float | None
    rate_nats: float | None
    features: list[Feature]
    latents: list[Latent]
    record: dict[str, Any] | None
    mode: Mode | None = None
    episode: Membership | None = None
    feedback: Judgement | None = None


class AlertPage(msgspec.Struct, frozen=True):
    """Some alerts, newest first; ``next`` is the ``before`` of the next page, null at the end."""

    alerts: list[ShownAlert]
    next: int | None


def alert_paths(alerts: Alerts) -> APIRouter:
    """Return the paths that show ``alerts``."""
    router = APIRouter(prefix="/api/v1", tags=["alerts"])

    @router.get("/alerts", responses=answers(AlertPage, 422, 503), dependencies=[Depends(_once)])
    def page(
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 50,
        before: Annotated[int | None, Query(ge=0, le=_LARGEST)] = None,
        severity: Literal["warning", "critical"] | None = None,
        entity: Annotated[str | None, Query(max_length=1000)] = None,
        verdict: Literal["normal", "anomaly", "none"] | None = None,
        since: Annotated[
            datetime | None,
            Query(description="ISO 8601, UTC where it names no zone; or Unix time."),
        ] = None,
    ) -> Response:
        """Show alerts, newest first; verdict "none" asks for those that no one judged."""
        after = None if since is None else _instant(since)
        found, older = alerts.page(AlertQuery(limit, before, severity, entity, verdict, after))
        return answer({"alerts": found, "next": older})

    @router.get("/alerts/{alert_id}", responses=answers(ShownAlert, 404, 422, 503))
    def one(alert_id: Annotated[str, Path(min_length=1, max_length=64)]) -> Response:
        """Show one alert with its reasons; the id may be shortened while it stays unique."""
        found = alerts.get(alert_id)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such alert is remembered")
        return answer(found)

    return router


def _once(request: Request) -> None:
    """Refuse a parameter that is given more than once: which of them is meant, no one can tell."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            words = f"{name[:100]}: given {names.count(name)} times"
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, words)


def _instant(since: datetime) -> float:
    """Return Unix time; HTTPException for an instant that only its zone puts into the calendar."""
    try:
        return (since if since.tzinfo is not None else since.replace(tzinfo=UTC)).timestamp()
    except OverflowError as error:
        words = "since: no calendar has that instant"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, words) from error
