"""The change of the serving model: loaded, warmed up, and put to work between two batches."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

import structlog
import torch

from vaeiso_monitor.bundle import Bundle, BundleStore, Engine
from vaeiso_monitor.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle.slot import Slot
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

log = structlog.get_logger(__name__)


class Swap:
    """Lets another bundle serve while the loop goes on; where that fails, the old one stays.

    The store's pointer moves before the slot does: a process that dies between the two serves the
    new bundle when it starts again. ``rows`` is the size of a batch; ``on_serving`` is told of the
    engine that took over.
    """

    def __init__(
        self,
        store: BundleStore,
        slot: Slot,
        *,
        device: torch.device,
        schema: Schema,
        rows: int,
        telemetry: LifecycleTelemetry,
        on_serving: Callable[[Engine], None],
    ) -> None:
        self._store = store
        self._slot = slot
        self._device = device
        self._schema = schema
        self._rows = rows
        self._telemetry = telemetry
        self._on_serving = on_serving
        self._lock = Lock()
        self._threads = torch.get_num_threads()
        self._refused: str | None = None

    @property
    def serving(self) -> Bundle:
        """The bundle that serves."""
        return self._slot.engine.bundle

    def adopt(self, version: str, instead_of: str) -> None:
        """Let a stored bundle serve ``instead_of`` another.

        Raises BundleError where it cannot be loaded or run, or the other serves no more.
        """
        with self._lock:
            if (now := self._store.serving()) != instead_of:
                msg = f"{instead_of}, which it was compared with, has made way for {now} meanwhile"
                raise BundleError(msg)
            engine = self._ready(version)
            try:
                self._store.promote(version)
            except BaseException:
                engine.close()
                raise
            self._put(engine)

    def follow(self) -> None:
        """Take up what the store's pointer names, if ``models promote`` or ``rollback`` moved it.

        A bundle that cannot serve is not tried again, and the pointer goes back to the one that
        does.
        """
        with self._lock:
            wanted, here = self._wanted(), self.serving.version
            if wanted is None or wanted in (here, self._refused):
                return
            try:
                engine = self._ready(wanted)
            except BundleError as error:
                self._refused = wanted
                log.error("swap_failed", version=wanted, serving=here, error=str(error))  # noqa: TRY400
                self._store.promote(here)
                return
            self._put(engine)

    def _wanted(self) -> str | None:
        try:
            return self._store.serving()
        except BundleError as error:
            log.error("pointer_damaged", serving=self.serving.version, error=str(error))  # noqa: TRY400
            self._store.promote(self.serving.version)
            return None

    def _ready(self, version: str) -> Engine:
        try:
            return self._loaded(version)
        except (BundleError, ConfigError):
            self._telemetry.swapped(worked=False)
            raise

    def _loaded(self, version: str) -> Engine:
        bundle = self._store.load(version)
        if difference := bundle.differs_from(self._schema):
            msg = f"[schema] does not fit the bundle {version}: {difference}"
            raise BundleError(msg)
        # a thread that began while another computed alone would give the engine one worker
        torch.set_num_threads(self._threads)
        engine = Engine(bundle, self._device, self._schema)
        try:
            engine.warm_up(self._rows)
        except BundleError:
            engine.close()
            raise
        return engine

    def _put(self, engine: Engine) -> None:
        before = self.serving.version
        self._slot.put(engine)
        self._refused = None
        self._telemetry.swapped(worked=True)
        self._on_serving(engine)
        log.info("swapped", version=engine.bundle.version, before=before)
