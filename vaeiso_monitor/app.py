"""The composition root of ``run``: settings become objects, objects become a daemon."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import torch
from prometheus_client import CollectorRegistry

from vaeiso_monitor import __version__
from vaeiso_monitor.alerts import AlertWriter
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import ColdStart, Reporter, Slot
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.pipeline import Pipeline
from vaeiso_monitor.sinks import open_sinks
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.telemetry import ModelFacts, State, Status, Telemetry
from vaeiso_monitor.web import serve, web_app

if TYPE_CHECKING:
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.types import Polled, Source

log = structlog.get_logger(__name__)


class Stop:
    """A wish to stop, made by a signal or a deadline; asking it takes no lock."""

    def __init__(self, after_seconds: float | None = None) -> None:
        self._deadline = None if after_seconds is None else time.monotonic() + after_seconds
        self._wished = False

    def __call__(self) -> bool:
        """Say whether to stop."""
        return self._wished or (self._deadline is not None and time.monotonic() > self._deadline)

    def wish(self) -> None:
        """Ask to stop; safe inside a signal handler."""
        self._wished = True


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask to stop; the second one ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        stop.wish()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    settings: Settings,
    stop: Stop,
    reporter: Reporter,
    on_ready: Callable[[str | None], None] = lambda _: None,
) -> Status:
    """Run the daemon until its source ends or ``stop`` says so; return how it stood at the end.

    ``on_ready`` is called with the URL of the web server (None without one) once it listens.
    """
    telemetry = _telemetry(settings)
    try:
        with ExitStack() as stack, stopped_by_signals(stop):
            _run(settings, stop, reporter, on_ready, telemetry, stack)
    except BaseException as error:
        telemetry.failed(str(error) or type(error).__name__)
        telemetry.state_changed(State.FAILED)
        raise
    return telemetry.status()


def _run(
    settings: Settings,
    stop: Stop,
    reporter: Reporter,
    on_ready: Callable[[str | None], None],
    telemetry: Telemetry,
    stack: ExitStack,
) -> None:
    store = BundleStore(settings.store)
    slot = Slot(_engine(store.current(), settings))
    stack.callback(slot.close)
    stall_seconds = settings.server.stall_seconds
    web = web_app(telemetry.status, telemetry.registry, stall_seconds=stall_seconds)
    on_ready(stack.enter_context(serve(web, settings.server)).url)
    source = stack.enter_context(
        closing(
            open_source(settings.source, max_record_bytes=settings.record_schema.max_record_bytes)
        )
    )
    alerts = stack.enter_context(
        closing(open_sinks(settings.alerts.sinks, _counting(telemetry.alerts_sent)))
    )
    dead_letters = stack.enter_context(
        closing(open_sinks(settings.dead_letters.sinks, _counting(telemetry.dead_letters_sent)))
    )
    pipeline = Pipeline(
        settings.pipeline,
        source=source,
        serving=slot,
        writer=AlertWriter(settings.alerts),
        alerts=alerts,
        dead_letters=dead_letters,
        telemetry=telemetry,
        stop=stop,
    )
    held: list[Polled] = []
    if slot.empty:
        held = _cold_start(settings, stop, reporter, telemetry, store, slot, source, pipeline)
        if slot.empty:
            log.info("stopped_before_the_first_bundle", records_held=len(held))
            return
    bundle = slot.engine.bundle
    telemetry.model_serving(_facts(slot.engine))
    telemetry.state_changed(State.RUNNING)
    log.info("serving", version=bundle.version, threshold_nats=round(bundle.threshold.nats, 2))
    if bundle.threshold.note:
        log.warning("alert_budget", note=bundle.threshold.note)
    pipeline.run(held)
    telemetry.state_changed(State.DRAINING)
    counts = telemetry.status().records
    log.info("stopped", received=counts.received, scored=counts.scored, anomalies=counts.anomalies)


def _cold_start(
    settings: Settings,
    stop: Stop,
    reporter: Reporter,
    telemetry: Telemetry,
    store: BundleStore,
    slot: Slot,
    source: Source,
    pipeline: Pipeline,
) -> list[Polled]:
    cold_start = ColdStart(
        settings.cold_start,
        schema=settings.record_schema,
        recipe=settings.recipe,
        source=source,
        poll=pipeline.poll,
        telemetry=telemetry,
        reporter=reporter,
        stop=stop,
    )
    bundle = cold_start.run()
    if bundle is not None:
        store.add(bundle)
        store.promote(bundle.version)
        engine = _engine(bundle, settings)
        assert engine is not None
        slot.put(engine)
    return cold_start.held


def _engine(bundle: Bundle | None, settings: Settings) -> Engine | None:
    if bundle is None:
        return None
    if difference := bundle.differs_from(settings.record_schema):
        msg = (
            f"[schema] does not fit the serving bundle {bundle.version}: {difference}; restore the "
            "schema, or point store.path elsewhere to start anew"
        )
        raise ConfigError(msg)
    return Engine(bundle, resolve_device(settings.device), settings.record_schema)


def _telemetry(settings: Settings) -> Telemetry:
    on_gpu = resolve_device(settings.device).type == "cuda"
    return Telemetry(
        CollectorRegistry(),
        version=__version__,
        torch_version=torch.__version__,
        gpu_memory=torch.cuda.memory_allocated if on_gpu else None,
    )


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


def _counting(tell: Callable[..., None]) -> Callable[[str, int, bool], None]:
    def delivered(sink: str, messages: int, worked: bool) -> None:
        tell(sink, messages, "delivered" if worked else "failed")

    return delivered
