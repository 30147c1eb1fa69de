"""What a bundle measured like when it was trained, in short: for those who look at it serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeiso_monitor.bundle.artefact import Bundle

_FIGURES = (
    "healthy", "verdict", "norm_error", "orthogonality_error", "transform_coding_ratio",
    "effective_dimension",
)  # fmt: skip
_OF_A_LATENT = ("latent", "meaningful", "kl_nats", "norm_mean", "norm_expected")


def portrait_of(bundle: Bundle) -> dict[str, Any]:
    """Return the isometry at training, and each latent with its share of importance (Eq. 22).

    JSON-able; what an earlier version did not measure is null or missing.
    """
    summary = bundle.summary
    table = summary.get("isometry", {})
    latents = table.get("latents", [])
    total = sum(latent["importance"] for latent in latents) or 1.0
    return {
        "version": bundle.version,
        "records": summary.get("records"),
        "held_out_nats": summary.get("held_out_nats"),
        "isometry": {name: table.get(name) for name in _FIGURES},
        "latents": [
            {name: latent.get(name) for name in _OF_A_LATENT}
            | {"importance": latent["importance"] / total}
            for latent in latents
        ],
    }
