"""How the model and its stream are: what the web says beside the status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.web import Condition, Drift, drift_of

if TYPE_CHECKING:
    from vaeiso_monitor.app.joints import Memory
    from vaeiso_monitor.app.shown import ShownModels
    from vaeiso_monitor.telemetry import Telemetry

_KINDS: tuple[Literal["isometry", "inputs"], ...] = ("isometry", "inputs")


class Conditions:
    """Looks at the memory of the lifecycle, once there is one."""

    def __init__(self, telemetry: Telemetry, models: ShownModels) -> None:
        self._telemetry = telemetry
        self._models = models
        self._memory: Memory | None = None

    @contextmanager
    def open(self, memory: Memory) -> Iterator[None]:
        """Look at ``memory`` during the block."""
        self._memory = memory
        try:
            yield
        finally:
            self._memory = None

    def __call__(self) -> Condition:
        """Return how things are right now; cheap enough for once a second."""
        memory, lifecycle = self._memory, self._telemetry.lifecycle
        if memory is None:
            return Condition()
        shift = memory.regime.shifted
        return Condition(
            regime_shift=None if shift is None else msgspec.to_builtins(shift),
            drift=self._drift(memory),
            verdict=self._verdict(),
            config_refused=lifecycle.config_refused,
            restart_needed=lifecycle.restart_needed,
        )

    def _drift(self, memory: Memory) -> dict[Literal["isometry", "inputs"], Drift]:
        model = self._telemetry.status().model
        if model is None:
            return {}
        found = {kind: memory.checks.checks(kind, model.version)[-1:] for kind in _KINDS}
        return {kind: drift_of(kind, checks[0]) for kind, checks in found.items() if checks}

    def _verdict(self) -> dict[str, Any] | None:
        try:
            return self._models.last_verdict()
        except TransientError:
            return None
