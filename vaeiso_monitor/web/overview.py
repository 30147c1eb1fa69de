"""One bounded look at everything, for the page: ``GET /api/v1/overview``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Response

from vaeiso_monitor.web.answers import answer
from vaeiso_monitor.web.described import answers

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry import Telemetry

_MOST = 10  # of anything that is listed
_MOST_LATENTS = 32
_MOST_TEXT = 300
_OF_A_NORM = ("value", "low", "high", "departed")


class Overview(msgspec.Struct, frozen=True):
    """All that the page shows but the alerts and the stored models; docs/page.md says more.

    ``page`` is the version of the page that belongs to the daemon. ``status`` is the status
    document with its lists cut short. ``series`` holds counts per 5 seconds and ``scores`` a
    histogram, both of the last 15 minutes. ``model`` is what the serving one measured at training;
    ``isometry`` and ``inputs`` are the latest checks of drift, null before the first since the
    start.
    """

    page: str
    status: dict[str, Any]
    series: dict[str, Any]
    scores: dict[str, Any]
    model: dict[str, Any]
    isometry: dict[str, Any] | None
    inputs: dict[str, Any] | None


def overview_paths(
    document: Callable[[], Mapping[str, Any]], telemetry: Telemetry, page: str
) -> APIRouter:
    """Return the path that the page reads every two seconds.

    ``document`` returns the status document, ``page`` is :attr:`Overview.page`. The answer stays
    under 60 kB whatever the stream and the model are like.
    """
    router = APIRouter(prefix="/api/v1", tags=["status"])

    @router.get("/overview", responses=answers(Overview, 503))
    def overview() -> Response:
        """Show at one look how the daemon, its stream and its model are, and have been lately."""
        return answer({"page": page, **overview_of(document(), telemetry)})

    return router


def overview_of(document: Mapping[str, Any], telemetry: Telemetry) -> dict[str, Any]:
    """Return the status without its long lists, the last 15 minutes, the model and its drift."""
    past = telemetry.overview.snapshot()
    portrait = past.pop("portrait") or {}
    reports = telemetry.drift.last
    shown = {
        "status": _standing(msgspec.to_builtins(document)),
        **past,
        "model": {**portrait, "latents": _most_important(portrait.get("latents", ()))},
        "isometry": _ruler(reports.get("isometry")),
        "inputs": _inputs(reports.get("inputs")),
    }
    return _bounded(shown)  # type: ignore[no-any-return]


def _standing(shown: dict[str, Any]) -> dict[str, Any]:
    partitions = shown.pop("partitions")
    partitions.sort(key=lambda part: -(part["lag_records"] or 0))
    lags = [part["lag_records"] for part in partitions if part["lag_records"] is not None]
    counted = {"lag_records": sum(lags) if lags else None, "partition_count": len(partitions)}
    return {**_short(shown), **counted, "partitions": partitions[:_MOST]}


def _short(value: Any) -> Any:
    """Cut every list within ``value``."""
    match value:
        case Mapping():
            return {key: _short(inner) for key, inner in value.items()}
        case list():
            return [_short(inner) for inner in value[:_MOST]]
        case _:
            return value


def _most_important(latents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(latents, key=lambda latent: -(latent["importance"] or 0))[:_MOST_LATENTS]


def _ruler(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the latest check of the ruler, those latents first that carry most."""
    if report is None:
        return None
    latents = sorted(report["latents"], key=lambda latent: -(latent["kl_nats"] or 0))
    shown = [
        {
            "latent": latent["latent"],
            "kl_nats": latent["kl_nats"],
            "norm": {name: latent["norm"][name] for name in _OF_A_NORM},
        }
        for latent in latents[:_MOST_LATENTS]
    ]
    return {**report, "latents": shown}


def _inputs(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the latest check of the inputs, with the features that moved most."""
    if report is None:
        return None
    drifted = report["drifted_features"]
    features = sorted(
        report["features"],
        key=lambda feature: (
            feature["feature"] not in drifted,
            not feature["departed"],
            -(feature["psi"]["value"] or 0),
        ),
    )
    return {
        **report,
        "drifted_features": drifted[:_MOST],
        "feature_count": len(features),
        "features": [_brief(feature) for feature in features[:_MOST]],
    }


def _brief(feature: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: feature[key] for key in ("feature", "departed", "words", "records", "seconds")}
    return {**named, "psi": feature["psi"]}


def _bounded(value: Any) -> Any:
    """Cut texts that are too long, and turn what is no finite number into null."""
    match value:
        case str():
            return value if len(value) <= _MOST_TEXT else f"{value[: _MOST_TEXT - 1]}…"
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _bounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_bounded(inner) for inner in value]
        case _:
            return value
