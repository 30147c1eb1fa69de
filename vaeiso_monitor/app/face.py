"""The daemon's face: what it shows over HTTP, joined to those who stand behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import structlog

from vaeiso_monitor.app.condition import Conditions
from vaeiso_monitor.app.requests import Requests
from vaeiso_monitor.app.scoring import Scoring
from vaeiso_monitor.app.shown import ShownAlerts, ShownModels
from vaeiso_monitor.web import Behind, serve, web_app
from vaeiso_monitor.web.config import is_loopback

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vaeiso_monitor.app.joints import Memory
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.lifecycle import Lifecycle, Slot
    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.telemetry import Telemetry

log = structlog.get_logger(__name__)


class Face:
    """Answers from the first moment on; what is not there yet is refused until it is."""

    def __init__(
        self, settings: Settings, store: BundleStore, slot: Slot, telemetry: Telemetry
    ) -> None:
        self._config = settings.server
        self._telemetry = telemetry
        self._requests = Requests()
        self._alerts = ShownAlerts()
        self._models = ShownModels(store, settings.record_schema, self._requests.living)
        self._scoring = Scoring(slot, settings.alerts)
        self._conditions = Conditions(telemetry, self._models)

    def listen(self, stack: ExitStack) -> str | None:
        """Start the web server, if there is to be one, and return its URL."""
        stack.enter_context(closing(self._scoring))
        url = stack.enter_context(serve(self._app(), self._config)).url
        if url is not None:
            log.info("listening", url=url)
            if not is_loopback(self._config.host) and self._config.tls_cert_file is None:
                log.warning("tokens_in_clear_text", remedy="set server.tls_cert_file")
        return url

    def remember(self, memory: Memory, stack: ExitStack) -> None:
        """Show what the lifecycle remembers until ``stack`` is unwound."""
        stack.enter_context(self._alerts.open(memory.history))
        stack.enter_context(self._conditions.open(memory))

    @contextmanager
    def living(self, lifecycle: Lifecycle) -> Iterator[None]:
        """Pass requests on to ``lifecycle`` during the block."""
        with self._requests.open(lifecycle):
            yield

    def _app(self) -> FastAPI:
        telemetry = self._telemetry
        behind = Behind(self._requests, self._alerts, self._models, self._scoring, telemetry)
        return web_app(
            telemetry.status,
            telemetry.registry,
            config=self._config,
            behind=behind,
            condition=self._conditions,
        )
