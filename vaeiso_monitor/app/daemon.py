"""The daemon: the loop, the web, and the lifecycle of the model beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from vaeiso_monitor.alerts import AlertWriter, Episodes
from vaeiso_monitor.app.collector import seldom_collecting
from vaeiso_monitor.app.face import Face
from vaeiso_monitor.app.joints import Daemon, Joints
from vaeiso_monitor.app.reload import Reload
from vaeiso_monitor.app.stop import Stop, stopped_by_signals
from vaeiso_monitor.app.telling import (
    counting,
    from_nothing,
    telemetry_of,
    tell_what_serves,
)
from vaeiso_monitor.bundle import BundleStore, Engine
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import ColdStart, Reporter, Slot, owned
from vaeiso_monitor.pipeline import Pipeline
from vaeiso_monitor.sinks import open_sinks
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.telemetry import State, Status, configure_logging
from vaeiso_monitor.types import Refreshed

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.types import Polled, Sink, Source

log = structlog.get_logger(__name__)

_TELL_SECONDS = 5.0


def run(
    settings: Settings,
    stop: Stop,
    reporter: Reporter,
    on_ready: Callable[[str | None], None] = lambda _: None,
    config_file: Path | None = None,
) -> Status:
    """Run the daemon until its source ends or ``stop`` says so; return how it stood at the end.

    ``on_ready`` is called with the URL of the web server (None without one) once it listens.
    Changes of ``config_file``, where the settings come from, are taken up.
    """
    with stopped_by_signals(stop), ExitStack() as stack:
        folder = stack.enter_context(owned(settings.lifecycle))
        daemon = _Daemon(settings, stop, reporter, folder, config_file)
        on_ready(daemon.listen(stack))
        return daemon.work(stack)


class _Daemon:
    """The objects that the settings stand for, put together; an ExitStack takes them apart."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        reporter: Reporter,
        folder: Path,
        config_file: Path | None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._reporter = reporter
        self._folder = folder
        self._config_file = config_file
        self._device = settings.torch_device()
        self._telemetry = telemetry_of(self._device)
        self._telemetry.columns(column.name for column in settings.record_schema.columns)
        self._store = BundleStore(settings.store)
        self._slot = Slot()
        self._face = Face(settings, self._store, self._slot, self._telemetry)
        self._sinks: tuple[Sink, ...] = ()
        if (bundle := self._store.current()) is not None:
            self._serve(bundle)

    def listen(self, stack: ExitStack) -> str | None:
        """Start the web server, if there is to be one, and return its URL."""
        stack.callback(self._slot.close)
        return self._face.listen(stack)

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
        joints = self._join(stack)
        self._face.remember(joints.memory, stack)
        source = self._open_source(stack)
        pipeline = self._pipeline(stack, source, joints)
        held: Iterable[Polled] = ()
        if self._slot.empty:
            held = self._cold_start(source, pipeline)
            if self._slot.empty:
                log.info("stopped_before_the_first_bundle")
                return
        self._tell_what_serves(self._slot.engine)
        with seldom_collecting(), self._living(joints):
            pipeline.run(held)
        counts = self._telemetry.status().records
        log.info(
            "stopped", received=counts.received, scored=counts.scored, anomalies=counts.anomalies
        )

    def _join(self, stack: ExitStack) -> Joints:
        daemon = Daemon(
            settings=self._settings,
            store=self._store,
            slot=self._slot,
            device=self._device,
            telemetry=self._telemetry,
            stop=self._stop,
            on_serving=self._tell_what_serves,
        )
        return Joints(daemon, self._folder, stack)

    @contextmanager
    def _living(self, joints: Joints) -> Iterator[None]:
        """Let the lifecycle run beside the block."""
        with closing(joints.lifecycle) as lifecycle:
            lifecycle.start()
            turned = self._telemetry.lifecycle.scheduler_turned
            lifecycle.timer.every(_TELL_SECONDS, "heartbeat", turned)
            lifecycle.timer.every(_TELL_SECONDS, "sinks", self._tell_of_sinks)
            lifecycle.timer.every(_TELL_SECONDS, "refresh", self._refresh_sinks)
            if self._config_file is not None and self._settings.reload.enabled:
                reload = Reload(
                    self._config_file,
                    self._settings,
                    lambda settings: self._apply(settings, joints),
                    self._telemetry.lifecycle,
                )
                every = self._settings.reload.interval_seconds
                lifecycle.timer.every(every, "config", reload.look)
            with self._face.living(lifecycle):
                yield

    def _apply(self, settings: Settings, joints: Joints) -> None:
        for name in self._settings.log.levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
        configure_logging(settings.log)
        joints.apply(settings)

    def _open_source(self, stack: ExitStack) -> Source:
        limit = self._settings.record_schema.max_record_bytes
        source = open_source(self._settings.source, max_record_bytes=limit)
        return stack.enter_context(closing(source))

    def _pipeline(self, stack: ExitStack, source: Source, joints: Joints) -> Pipeline:
        settings, telemetry = self._settings, self._telemetry
        alerts = open_sinks(
            settings.alerts.sinks,
            counting(telemetry.alerts_sent),
            quiet_seconds=settings.alerts.cooldown_seconds,
            folder=self._folder,
        )
        stack.enter_context(closing(alerts))
        dead_letters = open_sinks(
            settings.dead_letters.sinks, counting(telemetry.dead_letters_sent)
        )
        stack.enter_context(closing(dead_letters))
        self._sinks = (*alerts.sinks, *dead_letters.sinks)
        from_nothing(telemetry.alerts_sent, alerts)
        from_nothing(telemetry.dead_letters_sent, dead_letters)
        return Pipeline(
            settings.pipeline,
            source=source,
            serving=self._slot,
            writer=AlertWriter(settings.alerts),
            alerts=alerts,
            dead_letters=dead_letters,
            telemetry=telemetry,
            stop=self._stop,
            episodes=Episodes(settings.alerts, self._folder / "episodes.json"),
            regime=joints.memory.regime,
            keeper=joints.memory.keeper,
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

    def _tell_of_sinks(self) -> None:
        """Say how the sinks stand, also while the loop waits for one that takes nothing."""
        for sink in self._sinks:
            self._telemetry.sink_connected(sink.name, sink.connected())

    def _refresh_sinks(self) -> None:
        """Let the sinks send again what still holds."""
        for sink in self._sinks:
            if isinstance(sink, Refreshed):
                sink.refresh()

    def _tell_what_serves(self, engine: Engine) -> None:
        tell_what_serves(self._telemetry, engine)
