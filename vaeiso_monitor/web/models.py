"""The stored models over HTTP: what they are, what the gate said, and which one is to serve."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, HTTPException, Path, Response

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.web.answers import answer
from vaeiso_monitor.web.described import answers

if TYPE_CHECKING:
    from collections.abc import Callable

Version = Annotated[
    str,
    Path(min_length=1, max_length=64, description="A version, or a unique beginning or end of it."),
]


class Models(Protocol):
    """Whoever keeps the models; each may raise TransientError, and BundleError for a damaged one.

    A version that is not known is a LookupError.
    """

    def all(self) -> list[dict[str, Any]]:
        """Return the facts of every model, newest first."""

    def get(self, version: str) -> dict[str, Any]:
        """Return all that is known of one."""

    def promote(self, version: str) -> dict[str, Any]:
        """Let one serve; say so in ``words``."""


class StoredModel(msgspec.Struct, frozen=True):
    """A stored model in short; ``error`` says why a damaged one has no figures."""

    version: str
    serving: bool
    created: str | None = None
    records: int | None = None
    beta: float | None = None
    latent_dim: int | None = None
    held_out_nats: float | None = None
    threshold_nats: float | None = None
    alert_budget: float | None = None
    isometry_healthy: bool | None = None
    accepted: bool | None = None
    verdict_sentence: str | None = None
    error: str | None = None


class StoredModels(msgspec.Struct, frozen=True):
    """The stored models, newest first."""

    models: list[StoredModel]


class BetaPoint(msgspec.Struct, frozen=True):
    """One beta that was tried in training, and what it came to on held-out records."""

    beta: float
    held_out_nats: float | None
    best_step: int
    stopped: str
    winner: bool


class ModelDetails(msgspec.Struct, frozen=True):
    """All that is known of one model; ``verdict`` is the gate's, null where it never judged."""

    version: str
    serving: bool
    created: str
    records: int
    beta: float
    latent_dim: int
    held_out_nats: float | None
    threshold_nats: float
    alert_budget: float
    isometry_healthy: bool | None
    accepted: bool | None
    verdict_sentence: str | None
    threshold: dict[str, Any]
    latents: list[dict[str, Any]]
    isometry: dict[str, Any]
    beta_curve: list[BetaPoint]
    training: dict[str, Any]
    features: list[str]
    trained_with: dict[str, Any]
    verdict: dict[str, Any] | None


class Promoted(msgspec.Struct, frozen=True):
    """What became of a promotion; the loop takes the model up within seconds."""

    version: str
    words: str


def model_paths(models: Models) -> APIRouter:
    """Return the paths that show ``models`` and choose among them."""
    router = APIRouter(prefix="/api/v1", tags=["models"])

    @router.get("/models", responses=answers(StoredModels, 503))
    def all_of_them() -> Response:
        """Show what the store holds, newest first."""
        return answer({"models": models.all()})

    @router.get("/models/{version}", responses=answers(ModelDetails, 404, 409, 422, 503))
    def one(version: Version) -> Response:
        """Show one model: how it was trained, its alert line, its latents, and the verdict."""
        return answer(_found(lambda: models.get(version)))

    @router.post("/models/{version}/promote", responses=answers(Promoted, 404, 409, 422, 503))
    def promote(version: Version) -> Response:
        """Let a model serve, whatever the gate said; a way back after a bad swap."""
        return answer(_found(lambda: models.promote(version)))

    return router


def _found(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except LookupError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
    except BundleError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from error
