"""What the daemon tells of itself: its telemetry, the bundle that serves, and each delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
import torch
from prometheus_client import CollectorRegistry

from vaeiso_monitor import __version__
from vaeiso_monitor.bundle import portrait_of
from vaeiso_monitor.telemetry import (
    ModelFacts,
    State,
    Telemetry,
    cpu_limit_cores,
    memory_limit_bytes,
)

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Engine
    from vaeiso_monitor.sinks import FanOut

log = structlog.get_logger(__name__)


def telemetry_of(device: torch.device) -> Telemetry:
    """Return the telemetry of a daemon that computes on ``device``, and its limits."""
    telemetry = Telemetry(
        CollectorRegistry(),
        version=__version__,
        torch_version=torch.__version__,
        gpu_memory=torch.cuda.memory_allocated if device.type == "cuda" else None,
    )
    telemetry.limits(memory_limit_bytes(), cpu_limit_cores())
    return telemetry


def _facts(engine: Engine) -> ModelFacts:
    bundle = engine.bundle
    return ModelFacts(
        version=bundle.version,
        trained_at=bundle.created.timestamp(),
        beta=bundle.model.betas[0],
        latent_dim=bundle.model.latent_dim,
        device=engine.device.type,
        threshold_nats=bundle.threshold.nats,
        alert_budget=bundle.threshold.budget,
        threshold_note=bundle.threshold.note,
    )


def tell_what_serves(telemetry: Telemetry, engine: Engine) -> None:
    """Show which bundle serves, and log what its operator should know of it."""
    threshold = engine.bundle.threshold
    telemetry.model_serving(_facts(engine))
    telemetry.overview.serving(portrait_of(engine.bundle))
    telemetry.state_changed(State.RUNNING)
    log.info("serving", version=engine.bundle.version, threshold_nats=round(threshold.nats, 2))
    if threshold.note:
        log.warning("alert_budget", note=threshold.note)
    if note := engine.bundle.summary.get("training", {}).get("note"):
        log.warning("few_records", note=note)


def from_nothing(tell: Callable[..., None], sinks: FanOut) -> None:
    """Show a scrape the counts of each sink before the first, or nobody sees the first failure."""
    for sink in sinks.sinks:
        tell(sink.name, 0, "delivered")
        tell(sink.name, 0, "failed")


def counting(tell: Callable[..., None]) -> Callable[[str, int, bool], None]:
    """Return what a fan-out calls after each delivery: it tells of messages delivered or failed."""

    def delivered(sink: str, messages: int, worked: bool) -> None:
        tell(sink, messages, "delivered" if worked else "failed")

    return delivered
