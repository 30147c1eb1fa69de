"""Scoring over HTTP: what the serving model would say of some records, without any alert."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from vaeiso_monitor.alerts import Feature
from vaeiso_monitor.web.answers import answer
from vaeiso_monitor.web.bodies import read_body
from vaeiso_monitor.web.described import answers, body

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/api/v1/score"
_AT_ONCE = 4  # one is scored, the others wait with their bodies in memory


class Scoring(Protocol):
    """Whoever scores records beside the loop."""

    def score(self, records: Sequence[bytes]) -> dict[str, Any]:
        """Score JSON documents, a result for each in their order; TransientError if no one can."""


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records to be scored: JSON objects as the stream brings them."""

    records: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


class ScoredRecord(msgspec.Struct, frozen=True):
    """One record's score, and the features that cost most; or, alone, why it was ``rejected``.

    ``anomaly_score`` is 1 on the alert line and null where it has no bound; ``severity`` is null
    for a normal record.
    """

    score_nats: float | None = None
    anomaly_score: float | None = None
    tail_probability: float | None = None
    severity: Literal["warning", "critical"] | None = None
    features: list[Feature] = []
    rejected: str | None = None
    detail: str | None = None


class Scored(msgspec.Struct, frozen=True):
    """A result for each record, in their order, and the model that scored them."""

    model: str
    threshold_nats: float
    results: list[ScoredRecord]


def score_paths(scoring: Scoring, *, max_records: int) -> APIRouter:
    """Return the path that scores; the size of its body is bounded before it is read."""
    router = APIRouter(tags=["score"])
    asked = 0

    @router.post(PATH, responses=answers(Scored, 413, 422, 503), openapi_extra=body(Score))
    async def score(request: Request) -> Response:
        """Score records with the serving model; nothing is stored and no alert is sent."""
        nonlocal asked
        if asked >= _AT_ONCE:
            words = f"{_AT_ONCE} other requests are being scored"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "1"})
        asked += 1
        try:
            records = (await read_body(request, Score)).records
            if len(records) > max_records:
                words = f"records: at most {max_records:,} at once (server.max_score_records)"
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, words)
            return answer(await run_in_threadpool(scoring.score, [bytes(r) for r in records]))
        finally:
            asked -= 1

    return router
