"""The composition root of ``run``: settings become objects, objects become a daemon."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import torch
from prometheus_client import CollectorRegistry

from vaeiso_monitor import __version__
from vaeiso_monitor.alerts import AlertWriter
from vaeiso_monitor.bundle import BundleStore, Engine
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import ColdStart, Reporter, Slot
from vaeiso_monitor.pipeline import Pipeline
from vaeiso_monitor.sinks import open_sinks
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.telemetry import ModelFacts, State, Status, Telemetry
from vaeiso_monitor.web import serve, web_app

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.types import Polled, Source

log = structlog.get_logger(__name__)

_COLLECT_AFTER = 30_000  # new objects; a batch makes some thousands that go again by themselves

_STOPPING = (signal.SIGINT, signal.SIGTERM)


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
        del number, frame
        stop.wish()
        for each in _STOPPING:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in _STOPPING}
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
    daemon = _Daemon(settings, stop, reporter)
    with stopped_by_signals(stop), ExitStack() as stack:
        on_ready(daemon.listen(stack))
        return daemon.work(stack)


class _Daemon:
    """The objects that the settings stand for, put together; an ExitStack takes them apart."""

    def __init__(self, settings: Settings, stop: Stop, reporter: Reporter) -> None:
        self._settings = settings
        self._stop = stop
        self._reporter = reporter
        self._device = settings.torch_device()
        self._telemetry = _telemetry(self._device)
        self._store = BundleStore(settings.store)
        self._slot = Slot()
        if (bundle := self._store.current()) is not None:
            self._serve(bundle)

    def listen(self, stack: ExitStack) -> str | None:
        """Start the web server, if there is to be one, and return its URL."""
        stack.callback(self._slot.close)
        telemetry, config = self._telemetry, self._settings.server
        web = web_app(telemetry.status, telemetry.registry, stall_seconds=config.stall_seconds)
        url = stack.enter_context(serve(web, config)).url
        if url is not None:
            log.info("listening", url=url)
        return url

    def work(self, stack: ExitStack) -> Status:
        """Train the first bundle where none serves, then score until the end."""
        try:
            self._work(stack)
        except BaseException as error:
            self._telemetry.failed(str(error) or type(error).__name__)
            self._telemetry.state_changed(State.FAILED)
            raise
        return self._telemetry.status()

    def _work(self, stack: ExitStack) -> None:
        source = self._open_source(stack)
        pipeline = self._pipeline(stack, source)
        held: Iterable[Polled] = ()
        if self._slot.empty:
            held = self._cold_start(source, pipeline)
            if self._slot.empty:
                log.info("stopped_before_the_first_bundle")
                return
        self._tell_what_serves()
        with _seldom_collecting():
            pipeline.run(held)
        counts = self._telemetry.status().records
        log.info(
            "stopped", received=counts.received, scored=counts.scored, anomalies=counts.anomalies
        )

    def _open_source(self, stack: ExitStack) -> Source:
        limit = self._settings.record_schema.max_record_bytes
        source = open_source(self._settings.source, max_record_bytes=limit)
        return stack.enter_context(closing(source))

    def _pipeline(self, stack: ExitStack, source: Source) -> Pipeline:
        settings, telemetry = self._settings, self._telemetry
        alerts = open_sinks(settings.alerts.sinks, _counting(telemetry.alerts_sent))
        stack.enter_context(closing(alerts))
        dead_letters = open_sinks(
            settings.dead_letters.sinks, _counting(telemetry.dead_letters_sent)
        )
        stack.enter_context(closing(dead_letters))
        return Pipeline(
            settings.pipeline,
            source=source,
            serving=self._slot,
            writer=AlertWriter(settings.alerts),
            alerts=alerts,
            dead_letters=dead_letters,
            telemetry=telemetry,
            stop=self._stop,
        )

    def _cold_start(self, source: Source, pipeline: Pipeline) -> Iterable[Polled]:
        """Fill the slot, if no one stops it, and return what was read meanwhile."""
        self._store.prepare()  # or the training would be for nothing
        cold_start = ColdStart(
            self._settings.cold_start,
            schema=self._settings.record_schema,
            recipe=self._settings.recipe,
            source=source,
            intake=pipeline,
            telemetry=self._telemetry,
            reporter=self._reporter,
            stop=self._stop,
        )
        bundle = cold_start.run()
        if bundle is not None:
            self._store.add(bundle)
            self._store.promote(bundle.version)
            self._serve(bundle)
        return cold_start.release()

    def _serve(self, bundle: Bundle) -> None:
        schema = self._settings.record_schema
        if difference := bundle.differs_from(schema):
            msg = (
                f"[schema] does not fit the serving bundle {bundle.version}: {difference}; restore "
                "the schema, or point store.path elsewhere to start anew"
            )
            raise ConfigError(msg)
        self._slot.put(Engine(bundle, self._device, schema))

    def _tell_what_serves(self) -> None:
        engine = self._slot.engine
        threshold = engine.bundle.threshold
        self._telemetry.model_serving(_facts(engine))
        self._telemetry.state_changed(State.RUNNING)
        log.info("serving", version=engine.bundle.version, threshold_nats=round(threshold.nats, 2))
        if threshold.note:
            log.warning("alert_budget", note=threshold.note)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Keep the garbage collector off what the start made: it would cost a fifth of the loop."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _telemetry(device: torch.device) -> Telemetry:
    return Telemetry(
        CollectorRegistry(),
        version=__version__,
        torch_version=torch.__version__,
        gpu_memory=torch.cuda.memory_allocated if device.type == "cuda" else None,
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
