"""What a stored bundle says about itself, as plain values: for the command line and the web."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeiso_monitor.bundle.artefact import Bundle


def facts_of(bundle: Bundle, verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures that stored bundles are compared by, and whether the gate took it."""
    return {
        "version": bundle.version,
        "created": bundle.created.isoformat(),
        "records": bundle.summary["records"],
        "beta": bundle.model.betas[0],
        "latent_dim": bundle.model.latent_dim,
        "held_out_nats": bundle.summary["held_out_nats"],
        "threshold_nats": bundle.threshold.nats,
        "alert_budget": bundle.threshold.budget,
        "isometry_healthy": bundle.isometry_healthy,
        "accepted": (verdict or {}).get("accepted"),
    }


def beta_curve(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each beta that was tried, in rising order, from a training report."""
    rows = [
        {
            "beta": member["beta"],
            "held_out_nats": member["held_out_nats"],
            "best_step": member["best_step"],
            "stopped": member["stopped"],
            "winner": i == training.get("winner"),
        }
        for i, member in enumerate(training["members"])
    ]
    return sorted(rows, key=lambda row: row["beta"])


def latents_of(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the latents as they were measured in training, each with what it stands for."""
    measured = summary.get("isometry", {}).get("latents", [])
    loadings = summary.get("loadings", [])
    return [
        {**latent, "loadings": loadings[i] if i < len(loadings) else []}
        for i, latent in enumerate(measured)
    ]
