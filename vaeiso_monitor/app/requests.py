"""What may be asked of the daemon over HTTP, once there is a lifecycle to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.errors import TransientError

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle import Lifecycle, Verdict


class Requests:
    """Passes requests on to the lifecycle while it lives; before and after nobody can be asked."""

    def __init__(self) -> None:
        self._lifecycle: Lifecycle | None = None

    @contextmanager
    def open(self, lifecycle: Lifecycle) -> Iterator[None]:
        """Pass requests on to ``lifecycle`` during the block."""
        self._lifecycle = lifecycle
        try:
            yield
        finally:
            self._lifecycle = None

    def retrain(self, *, adopt: bool) -> dict[str, Any]:
        """Ask for a training; raise TransientError while nothing serves."""
        return self._living.ask_for_training(adopt=adopt)

    def judge(self, alert_id: str, verdict: Verdict, note: str) -> dict[str, Any]:
        """Put a verdict on an alert; raise TransientError while that is not possible."""
        return self._living.judge(alert_id, verdict, note).to_dict()

    def living(self) -> bool:
        """Say whether anybody can be asked."""
        return self._lifecycle is not None

    @property
    def _living(self) -> Lifecycle:
        if self._lifecycle is None:
            msg = "the daemon serves no model yet, or stops"
            raise TransientError(msg)
        return self._lifecycle
