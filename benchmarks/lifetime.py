"""The daemon's loop and its whole lifecycle in one thread, under a clock that the script moves.

All parts are the real ones: pipeline, window, alert history, gate, retraining, swap, watches. Only
the timer is another: it runs what is due when the script says so, and a training takes no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from vaeiso_monitor.alerts import Alert, AlertsConfig, AlertWriter, Episodes
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine, Scored, StoreConfig
from vaeiso_monitor.detector import Recipe
from vaeiso_monitor.lifecycle import (
    REQUESTS,
    AlertHistory,
    DriftConfig,
    DriftHistory,
    Feedback,
    Gate,
    GateConfig,
    HistoryConfig,
    InputDrift,
    IsometryDrift,
    Keeper,
    Lifecycle,
    LocalTrainer,
    Outcome,
    Parts,
    RegimeConfig,
    RegimeWatch,
    RetrainConfig,
    Retraining,
    Slot,
    Spool,
    Swap,
    Terms,
    Watches,
    Window,
    WindowConfig,
)
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.records import Schema
from vaeiso_monitor.sinks import FanOut
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Message, PartitionProgress, Polled, RawBatch, Span

DEVICE = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Plan:
    """The sections of a config that a lifecycle goes by."""

    recipe: Recipe
    window: WindowConfig = field(default_factory=WindowConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    regime: RegimeConfig = field(default_factory=RegimeConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training: when, why, what came of it, and the gate's verdict (None where none came)."""

    at: float
    reason: str
    outcome: Outcome
    champion: str
    verdict: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the loop made of a batch."""

    scored: Scored
    anomalous: NDArray[np.bool_]
    alerts: Sequence[Alert]
    bundle: Bundle


class Clock:
    """Unix seconds that stand still until someone moves them."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class ScriptTimer:
    """Takes the place of the lifecycle's timer; what is due runs when :meth:`run` is called."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._repeated: dict[str, tuple[float, float, Callable[[], Any]]] = {}
        self._once: dict[str, tuple[float, Callable[[], Any]]] = {}
        self.alive = False

    def every(self, seconds: float, name: str, job: Callable[[], Any]) -> None:
        self._repeated[name] = (self._clock() + seconds, seconds, job)

    def at(self, instant: float, name: str, job: Callable[[], Any]) -> None:
        self._once[name] = (instant, job)

    def cancel(self, name: str) -> None:
        self._once.pop(name, None)

    def start(self) -> None:
        self.alive = True

    def close(self) -> None:
        self.alive = False

    def run(self) -> None:
        """Run what is due; what is due several times runs once, as in the daemon."""
        now = self._clock()
        for name, (due, seconds, job) in list(self._repeated.items()):
            if due <= now:
                self._repeated[name] = (now + seconds, seconds, job)
                job()
        for name, (due, job) in list(self._once.items()):
            if due <= now and self._once.get(name) == (due, job):
                del self._once[name]
                job()


class Script:
    """The source: a batch whenever the loop asks for one, and nothing in between.

    The script goes on when the batch before is finished: delivered, committed and kept.
    """

    name = "script"
    errors = 0

    def __init__(self, batches: Iterator[Sequence[bytes]]) -> None:
        self._batches = batches
        self._resting = False
        self._read = 0

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        del max_records, timeout
        self._resting = not self._resting
        if not self._resting:
            return Polled(RawBatch([], ()), self._read)
        payload = next(self._batches, None)
        if payload is None:
            return None
        start, self._read = self._read, self._read + len(payload)
        return Polled(
            RawBatch(payload, (Span(self.name, "0", 0, 0, range(start, self._read)),)), self._read
        )

    def commit(self, checkpoint: int) -> None:
        pass

    def keep_alive(self) -> None:
        pass

    def progress(self) -> Sequence[PartitionProgress]:
        return ()

    def connected(self) -> bool:
        return True

    def check(self) -> str:
        return "a script"

    def close(self) -> None:
        pass


class News:
    """A sink that keeps what is no alert: regime shifts and drifts."""

    name = "news"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def deliver(self, messages: Sequence[Message]) -> None:
        self.messages += [message for message in messages if not isinstance(message, Alert)]

    def connected(self) -> bool:
        return True

    def check(self) -> str:
        return "news stay in memory"

    def close(self) -> None:
        pass


class Witness(Keeper):
    """The keeper, and a note of the last batch for the script."""

    def __init__(
        self, slot: Slot, window: Window, history: AlertHistory, inputs: InputDrift, clock: Clock
    ) -> None:
        super().__init__(window, history, inputs, clock, line=lambda: slot.engine.bundle.threshold)
        self._slot = slot
        self.seen: Seen | None = None

    def keep(self, scored: Scored, anomalous: NDArray[np.bool_], alerts: Sequence[Alert]) -> None:
        super().keep(scored, anomalous, alerts)
        self.seen = Seen(scored, anomalous, alerts, self._slot.engine.bundle)


class Noted(Retraining):
    """The retraining, and a list of what came of each attempt."""

    def watch(self, store: BundleStore, clock: Clock, serving: Callable[[], Bundle]) -> None:
        self.attempts: list[Attempt] = []
        self._stored, self._now, self._serving = store, clock, serving

    def attempt(self, reason: str, adopt_since: float | None = None) -> Outcome:
        champion = self._serving().version
        outcome = super().attempt(reason, adopt_since)
        version = outcome.version
        verdict = None if version is None else self._stored.verdict(version)
        self.attempts.append(Attempt(self._now(), reason, outcome, champion, verdict))
        return outcome


class Lifetime:
    """A daemon that serves ``first`` and keeps itself true by ``plan``, in ``folder``."""

    def __init__(
        self, plan: Plan, schema: Schema, first: Bundle, folder: Path, clock: Clock
    ) -> None:
        self.clock = clock
        self._stack = ExitStack()
        telemetry = Telemetry(CollectorRegistry(), clock=clock)
        self.telemetry = telemetry
        self.store = BundleStore(StoreConfig(str(folder / "store"), max_bundles=200), clock)
        self.store.add(first)
        self.store.promote(first.version)
        self.slot = Slot(Engine(first, DEVICE, schema))
        self._stack.callback(self.slot.close)
        opened = self._stack.enter_context
        budget = first.threshold.budget
        self.window = opened(closing(Window(plan.window, schema, folder / "window", clock, seed=0)))
        self.history = opened(closing(AlertHistory(plan.history, schema, folder)))
        self.regime = opened(
            closing(RegimeWatch(plan.regime, budget, folder / "regime.json", clock=clock))
        )
        checks = DriftHistory(folder / "drift.json")
        self.ruler = IsometryDrift(plan.drift.isometry, checks, telemetry.drift, clock)
        self.inputs = InputDrift(plan.drift.inputs, checks, telemetry.drift, clock)
        self.witness = Witness(self.slot, self.window, self.history, self.inputs, clock)
        self.feedback = Feedback(self.history, self.window, clock)
        self.spool = Spool(folder / REQUESTS, clock)
        self.news = News()
        swap = Swap(
            self.store,
            self.slot,
            device=DEVICE,
            schema=schema,
            rows=64,
            telemetry=telemetry.lifecycle,
            on_serving=lambda _: None,
        )
        self.retraining = Noted(
            Terms(
                plan.recipe,
                Gate(plan.gate, DEVICE, clock),
                plan.gate,
                plan.retrain.min_records,
                plan.retrain.adopt_min_records,
            ),
            trainer=LocalTrainer(schema, clock),
            past=self.window,
            alerts=self.history,
            store=self.store,
            swap=swap,
            telemetry=telemetry.lifecycle,
            stop=lambda: False,
        )
        self.retraining.watch(self.store, clock, lambda: swap.serving)
        watches = Watches(
            self.ruler,
            self.inputs,
            past=self.window,
            serving=lambda: swap.serving,
            tell=self.witness.tell,
            retrain=self._drifted,
        )
        parts = Parts(
            store=self.store,
            swap=swap,
            retraining=self.retraining,
            watches=watches,
            regime=self.regime,
            feedback=self.feedback,
            spool=self.spool,
            window=self.window,
            history=self.history,
        )
        self.lifecycle = Lifecycle(
            parts,
            plan.retrain,
            plan.drift,
            flush_seconds=plan.window.flush_seconds,
            telemetry=telemetry.lifecycle,
            clock=clock,
        )
        self.timer = ScriptTimer(clock)
        self.lifecycle.timer = self.timer  # type: ignore[assignment]
        self._folder = folder

    @property
    def serving(self) -> Bundle:
        """The bundle that serves."""
        return self.slot.engine.bundle

    def run(self, batches: Iterator[Sequence[bytes]]) -> None:
        """Let the loop score all ``batches``; the script goes on between two of them."""
        alerts = AlertsConfig()
        pipeline = Pipeline(
            PipelineConfig(),
            source=Script(batches),
            serving=self.slot,
            writer=AlertWriter(alerts),
            alerts=FanOut([self.news]),
            dead_letters=FanOut([]),
            telemetry=self.telemetry,
            stop=lambda: False,
            episodes=Episodes(alerts),
            regime=self.regime,
            keeper=self.witness,
            clock=self.clock,
        )
        self.lifecycle.start()
        with self._stack:
            pipeline.run()
            self.lifecycle.close()

    def _drifted(self) -> None:
        self.lifecycle.drifted()  # which is made of those who call this

    def last(self) -> Seen:
        """Return what became of the last batch, and let the clock's jobs run that are due."""
        seen, self.witness.seen = self.witness.seen, None
        assert seen is not None, "no batch was finished"
        self.timer.run()
        return seen
