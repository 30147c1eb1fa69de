"""The paths that pass a wish on to the lifecycle: a training, a verdict."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from vaeiso_monitor.web.answers import answer
from vaeiso_monitor.web.bodies import read_body
from vaeiso_monitor.web.described import answers, body

if TYPE_CHECKING:
    from collections.abc import Callable


class Requests(Protocol):
    """Whoever carries out what is asked over HTTP; each may raise TransientError."""

    def retrain(self, *, adopt: bool) -> dict[str, Any]:
        """Ask for a training; say under ``started`` whether it begins, in ``words`` why not."""

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


class Training(msgspec.Struct, frozen=True):
    """Whether a training begins; where it does not, ``detail`` repeats the words."""

    started: bool
    words: str
    detail: str | None = None


class Judged(msgspec.Struct, frozen=True):
    """What became of a verdict; ``detail`` repeats the words where the alert is not known."""

    alert_id: str
    verdict: Literal["normal", "anomaly"]
    known: bool
    changed: bool
    words: str
    detail: str | None = None


def request_paths(requests: Requests) -> APIRouter:
    """Return the paths that pass on to ``requests``."""
    router = APIRouter(prefix="/api/v1", tags=["requests"])

    @router.post(
        "/retrain",
        status_code=HTTPStatus.ACCEPTED,
        responses=answers(Training, 409, 413, 422, 503, code=202),
        openapi_extra=body(Retrain, required=False),
    )
    async def retrain(request: Request) -> Response:
        """Start a training beside the scoring; 409 says why none can start."""
        wish = await read_body(request, Retrain)
        return await _told(
            lambda: requests.retrain(adopt=wish.adopt),
            "started",
            HTTPStatus.ACCEPTED,
            HTTPStatus.CONFLICT,
        )

    @router.post(
        "/feedback",
        responses=answers(Judged, 404, 413, 422, 503),
        openapi_extra=body(Feedback),
    )
    async def feedback(request: Request) -> Response:
        """Say of an alert whether it was right; it can be said again and changed."""
        said = await read_body(request, Feedback)
        return await _told(
            lambda: requests.judge(said.alert_id, said.verdict, said.note),
            "known",
            HTTPStatus.OK,
            HTTPStatus.NOT_FOUND,
        )

    return router


async def _told(
    ask: Callable[[], dict[str, Any]], success: str, good: HTTPStatus, bad: HTTPStatus
) -> Response:
    """Carry a wish out in another thread and answer by whether it had success."""
    found = await run_in_threadpool(ask)
    if found[success]:
        return answer(found, good)
    return answer({**found, "detail": found.get("words", bad.phrase)}, bad)
