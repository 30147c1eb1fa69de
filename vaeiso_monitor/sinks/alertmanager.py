"""Alerts at Alertmanager: each episode one alert that stands while it goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import msgspec
import stamina
import structlog

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.sinks.alertmanager_board import Board, Said, Standing
from vaeiso_monitor.sinks.alertmanager_members import Members, Unavailable

if TYPE_CHECKING:
    from vaeiso_monitor.sinks.alertmanager_config import AlertmanagerSinkConfig
    from vaeiso_monitor.types import Message

log = structlog.get_logger(__name__)

_STANDS_FOR: Final = 4  # times resend_seconds: as long as an alert of Prometheus does
_ATTEMPTS: Final = 100


class AlertmanagerSink:
    """Posts what begins and what gets worse at once; ``refresh`` sends again what goes on.

    ``deliver`` and ``refresh`` may be called from different threads. ``quiet_seconds`` without an
    anomaly end an episode. In ``folder``, if there is one, stands what goes on, for the next start.
    """

    name = "alertmanager"

    def __init__(
        self,
        config: AlertmanagerSinkConfig,
        *,
        quiet_seconds: float = 300.0,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._clock = clock
        self._works = True
        self._busy = Lock()
        self._sent = 0.0
        self._members = Members(config)
        self._board = Board(quiet_seconds, config.max_alerts, config.labels)
        self._path = None if folder is None else folder / _file_name(config)
        if self._path is not None:
            self._board.standing = _restored(self._path)

    def deliver(self, messages: Sequence[Message]) -> None:
        """Post what is new of them, or raise TransientError when the time is used up.

        Raises ConfigError with the answer where Alertmanager refuses the alerts for good.
        """
        now = self._clock()
        with self._busy:
            began: list[Standing] = []
            over: list[Standing] = []
            for message in messages:
                said = msgspec.json.decode(message.to_json(), type=Said)
                new, old = self._board.take(said, message.to_text(), now)
                began = [each for each in began if each not in old] + new
                over += old
            begun = [each.labels for each in began]
            over = [each for each in over if each.labels not in begun]
            if began or over:
                self._post_until_taken(self._posts(began, over, now))
                self._save()

    def refresh(self) -> None:
        """Send again what goes on, if it is time, and tell what is over; failures are only logged.

        While a delivery is under way nothing is done.
        """
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._refresh(self._clock())
        finally:
            self._busy.release()

    def connected(self) -> bool:
        """Say whether the last exchange worked."""
        return self._works

    def check(self) -> str:
        """Ask each Alertmanager for its version, as the user that the configuration names."""
        return self._members.versions()

    def close(self) -> None:
        """Close the connections; what goes on stands until the next start, or for a while."""
        self._members.close()

    def _refresh(self, now: float) -> None:
        over = self._board.ended(now)
        due = abs(now - self._sent) >= self._config.resend_seconds
        ongoing = list(self._board.standing.values()) if due else []
        if due:
            self._sent = now
        if not over and not ongoing:
            return
        try:
            self._members.post(self._posts(ongoing, over, now))
        except (Unavailable, ConfigError) as error:
            self._works = False
            log.warning("alertmanager_not_reached", error=str(error), action="send again later")
            return
        self._works = True
        self._save()

    def _posts(
        self, ongoing: Sequence[Standing], over: Sequence[Standing], now: float
    ) -> list[dict[str, Any]]:
        until = now + _STANDS_FOR * self._config.resend_seconds
        url = self._config.page_url
        ended = [each.posted(now, url) for each in over]
        return [*ended, *(each.posted(until, url) for each in ongoing)]

    def _post_until_taken(self, alerts: list[dict[str, Any]]) -> None:
        try:
            for attempt in stamina.retry_context(
                on=Unavailable,
                attempts=_ATTEMPTS,
                timeout=self._config.deadline_seconds,
                wait_initial=0.1,
                wait_max=10.0,
            ):
                with attempt:
                    self._attempt(alerts)
        except Unavailable as error:
            msg = f"Alertmanager at {self._config.where} takes no alerts: {error}"
            raise TransientError(msg) from error

    def _attempt(self, alerts: list[dict[str, Any]]) -> None:
        try:
            self._members.post(alerts)
        except (Unavailable, ConfigError):
            self._works = False
            raise
        self._works = True

    def _save(self) -> None:
        if self._path is not None:
            beside = self._path.with_name(f"{self._path.name}.new")
            beside.write_bytes(msgspec.json.encode(self._board.standing))
            beside.replace(self._path)


def _restored(path: Path) -> dict[str, Standing]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Standing])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("standing_alerts_forgotten", path=str(path), error=str(error))
        return {}


def _file_name(config: AlertmanagerSinkConfig) -> str:
    return f"alertmanager-{hashlib.sha256(config.where.encode()).hexdigest()[:8]}.json"
