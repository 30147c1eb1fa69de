"""The lifecycle of one daemon, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaeiso_monitor.bundle import BundleStore, Engine
from vaeiso_monitor.lifecycle import (
    REQUESTS,
    AlertHistory,
    ChildTrainer,
    DriftHistory,
    Feedback,
    Gate,
    InputDrift,
    IsometryDrift,
    Keeper,
    Lifecycle,
    Parts,
    RegimeWatch,
    Retraining,
    Slot,
    Spool,
    Swap,
    Terms,
    Watches,
    Window,
)

if TYPE_CHECKING:
    import torch

    from vaeiso_monitor.settings import Settings
    from vaeiso_monitor.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the lifecycle needs of the daemon that it belongs to."""

    settings: Settings
    store: BundleStore
    slot: Slot
    device: torch.device
    telemetry: Telemetry
    stop: Callable[[], bool]
    on_serving: Callable[[Engine], None]


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart: records, alerts, the regime, the checks of the past."""

    window: Window
    history: AlertHistory
    regime: RegimeWatch
    checks: DriftHistory
    ruler: IsometryDrift
    inputs: InputDrift
    keeper: Keeper


class Joints:
    """The lifecycle of a daemon over ``folder``; ``stack`` takes it apart again."""

    def __init__(self, daemon: Daemon, folder: Path, stack: ExitStack) -> None:
        settings = daemon.settings
        self._device = daemon.device
        self.memory = _memory(daemon, folder, stack)
        self._trainer = ChildTrainer(settings.trainer, settings.record_schema, folder / "training")
        self._trainer.clean()
        swap = _swap(daemon)
        self._retraining = Retraining(
            terms_of(settings, daemon.device),
            trainer=self._trainer,
            past=self.memory.window,
            alerts=self.memory.history,
            store=daemon.store,
            swap=swap,
            telemetry=daemon.telemetry.lifecycle,
            stop=daemon.stop,
        )
        self.lifecycle = Lifecycle(
            self._parts(daemon, swap, folder),
            settings.retrain,
            settings.drift,
            flush_seconds=settings.window.flush_seconds,
            telemetry=daemon.telemetry.lifecycle,
        )

    def apply(self, settings: Settings) -> None:
        """Go by other settings, as far as that needs no restart."""
        memory = self.memory
        self._retraining.terms = terms_of(settings, self._device)
        self._trainer.config = settings.trainer
        memory.ruler.config, memory.inputs.config = settings.drift.isometry, settings.drift.inputs
        memory.regime.configure(settings.regime, settings.threshold.alert_budget)
        self.lifecycle.configure(settings.retrain, settings.drift)

    def _drifted(self) -> None:
        self.lifecycle.drifted()  # which is made of those who call this

    def _parts(self, daemon: Daemon, swap: Swap, folder: Path) -> Parts:
        memory = self.memory
        watches = Watches(
            memory.ruler,
            memory.inputs,
            past=memory.window,
            serving=lambda: swap.serving,
            tell=memory.keeper.tell,
            retrain=self._drifted,
        )
        return Parts(
            store=daemon.store,
            swap=swap,
            retraining=self._retraining,
            watches=watches,
            regime=memory.regime,
            feedback=Feedback(memory.history, memory.window),
            spool=Spool(folder / REQUESTS),
            window=memory.window,
            history=memory.history,
        )


def _memory(daemon: Daemon, folder: Path, stack: ExitStack) -> Memory:
    settings, telemetry, slot = daemon.settings, daemon.telemetry, daemon.slot
    schema = settings.record_schema
    window = stack.enter_context(
        closing(Window(settings.window, schema, folder / "window", telemetry=telemetry.window))
    )
    history = stack.enter_context(
        closing(AlertHistory(settings.history, schema, folder, telemetry=telemetry.feedback))
    )
    budget, path = settings.threshold.alert_budget, folder / "regime.json"
    regime = stack.enter_context(
        closing(RegimeWatch(settings.regime, budget, path, telemetry=telemetry.regime))
    )
    checks = DriftHistory(folder / "drift.json")
    ruler = IsometryDrift(settings.drift.isometry, checks, telemetry.drift)
    inputs = InputDrift(settings.drift.inputs, checks, telemetry.drift)
    keeper = Keeper(window, history, inputs, line=lambda: slot.engine.bundle.threshold)
    return Memory(window, history, regime, checks, ruler, inputs, keeper)


def _swap(daemon: Daemon) -> Swap:
    return Swap(
        daemon.store,
        daemon.slot,
        device=daemon.device,
        schema=daemon.settings.record_schema,
        rows=daemon.settings.pipeline.batch_records,
        telemetry=daemon.telemetry.lifecycle,
        on_serving=daemon.on_serving,
    )


def terms_of(settings: Settings, device: torch.device) -> Terms:
    """Return what a training goes by; it uses the device that the daemon started with."""
    return Terms(
        recipe=replace(settings.recipe, device=str(device)),
        gate=Gate(settings.gate, device),
        gate_config=settings.gate,
        min_records=settings.retrain.min_records,
        adopt_min_records=settings.retrain.adopt_min_records,
    )
