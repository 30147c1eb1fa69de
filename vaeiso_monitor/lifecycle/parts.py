"""What a lifecycle is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vaeiso_monitor.alerts import RegimeShift
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.lifecycle.feedback import Feedback
    from vaeiso_monitor.lifecycle.retraining import Retraining
    from vaeiso_monitor.lifecycle.spool import Spool
    from vaeiso_monitor.lifecycle.swap import Swap
    from vaeiso_monitor.lifecycle.watches import Watches


class Regime(Protocol):
    """Whoever knows whether normal itself has changed."""

    @property
    def shifted(self) -> RegimeShift | None:
        """The start of the shift that goes on, None while all is well."""


class Memory(Protocol):
    """Something that is written now and then, and forgets what is too old."""

    def flush(self) -> None:
        """Write what was taken since the last time."""


class Tidied(Protocol):
    """Something that forgets what is too old."""

    def tidy(self, now: float) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a lifecycle is put together from."""

    store: BundleStore
    swap: Swap
    retraining: Retraining
    watches: Watches
    regime: Regime
    feedback: Feedback
    spool: Spool
    window: Memory
    history: Tidied
