"""The loop: poll, decode, encode, score, decide, deliver, commit, report."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from annotated_types import Ge, Gt

from vaeiso_monitor.alerts import AlertsConfig, Episodes, dead_letter
from vaeiso_monitor.records import parse_time
from vaeiso_monitor.telemetry import Scored as ScoredBatch
from vaeiso_monitor.telemetry import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.alerts import Alert, AlertWriter, Told
    from vaeiso_monitor.bundle import Engine, Launched, Scored
    from vaeiso_monitor.sinks import FanOut
    from vaeiso_monitor.telemetry import Telemetry
    from vaeiso_monitor.types import Message, Polled, RawBatch, Reject, Source

_TICK_SECONDS = 1.0
_BUSY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """How many records make a batch, and how long the loop waits for the first of them."""

    batch_records: Annotated[int, Ge(1)] = 4096
    linger_seconds: Annotated[float, Gt(0)] = 0.5


class Serving(Protocol):
    """Whoever knows which bundle serves; asked once a batch."""

    def borrow(self) -> Engine:
        """Return the engine of the serving bundle, open until it is given back."""

    def give_back(self, engine: Engine) -> None:
        """Say that one batch with ``engine`` is finished."""


class Keeper(Protocol):
    """Whoever learns from what was scored, and may have something to tell."""

    def keep(self, scored: Scored, anomalous: NDArray[np.bool_], alerts: Sequence[Alert]) -> None:
        """Take note of a committed batch; ``alerts`` are those of its anomalous records."""

    def news(self) -> Sequence[Message]:
        """Return what is to be sent to the alert sinks beside the alerts; asked once a second."""


class Regime(Protocol):
    """Whoever watches over the alert rate of the whole stream."""

    def observe(self, records: int, anomalies: int, now: float) -> Message | None:
        """Count one batch; return what is to be said of the whole stream, if anything."""

    def settle(self) -> None:
        """Be told that what was to be said is delivered."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    engine: Engine
    launched: Launched
    checkpoint: Any


class Pipeline:
    """Scores until the source ends or someone asks it to stop.

    One batch is in flight: the next is read and decoded while it is on the device. A batch is
    committed after its alerts and dead letters were delivered, so an alert may repeat after a crash
    but never vanishes. There is no ``try``: what the source and the sinks could not mend ends the
    process, and what was not committed is read again.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        source: Source,
        serving: Serving,
        writer: AlertWriter,
        alerts: FanOut,
        dead_letters: FanOut,
        telemetry: Telemetry,
        stop: Callable[[], bool],
        episodes: Episodes | None = None,
        regime: Regime | None = None,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._config = config
        self._source = source
        self._serving = serving
        self._writer = writer
        self._alerts = alerts
        self._dead_letters = dead_letters
        self._telemetry = telemetry
        self._stop = stop
        self._episodes = episodes or Episodes(AlertsConfig())
        self._regime = regime
        self._keeper = keeper
        self._clock = clock
        self._in_flight: deque[_InFlight] = deque()
        self._next_tick = 0.0

    def run(self, held: Iterable[Polled] = ()) -> None:
        """Score the batches ``held`` back so far, then all that comes, and finish what is begun."""
        for polled in self._batches(held):
            if polled.batch.received:
                self._in_flight.append(self._launch(polled))
            while len(self._in_flight) > (1 if polled.batch.received else 0):
                self._finish(self._in_flight.popleft())
            self.tick()
        self._telemetry.state_changed(State.DRAINING)
        while self._in_flight:
            self._finish(self._in_flight.popleft())
        self.tick()
        self._summarise(self._episodes.flush(self._clock()), at_once=True)

    def poll(self) -> Polled | None:
        """Read one batch and count it; None at the end of the source."""
        began = perf_counter()
        # what is in flight must not wait for the next record of a quiet stream
        timeout = _BUSY_SECONDS if self._in_flight else self._config.linger_seconds
        polled = self._source.poll(self._config.batch_records, timeout)
        if polled is not None and polled.batch.received:
            self._telemetry.stage_finished("poll", perf_counter() - began)
            for stream, count, size in _received(polled.batch):
                self._telemetry.records_received(self._source.name, stream, count, size)
        return polled

    def tick(self) -> None:
        """Report what changes by itself, about once a second however often it is called."""
        if monotonic() < self._next_tick:
            return
        self._next_tick = monotonic() + _TICK_SECONDS
        self._telemetry.heartbeat()
        self._summarise(self._episodes.due(self._clock()))
        if self._keeper and (news := self._keeper.news()):
            self._alerts.deliver(news)
        self._telemetry.source_connected(self._source.name, self._source.connected())
        self._telemetry.source_failures(self._source.name, self._source.errors)
        self._telemetry.partitions(self._source.progress())
        for sink in self._alerts.sinks + self._dead_letters.sinks:
            self._telemetry.sink_connected(sink.name, sink.connected())

    def _batches(self, held: Iterable[Polled]) -> Iterable[Polled]:
        for polled in held:
            if self._stop():
                return
            yield polled
        while not self._stop() and (read := self.poll()) is not None:
            yield read

    def _launch(self, polled: Polled) -> _InFlight:
        engine = self._serving.borrow()  # once a batch: encoder, weights and threshold agree
        return _InFlight(engine, engine.launch(polled.batch), polled.checkpoint)

    def _finish(self, flight: _InFlight) -> None:
        began = perf_counter()
        scored = flight.launched.wait()
        waited = perf_counter()
        threshold = flight.engine.bundle.threshold
        anomalous = threshold.anomalous(scored.nats)
        seconds = self._clock()
        now = datetime.fromtimestamp(seconds, UTC)
        found = self._writer.write(flight.engine, scored, np.flatnonzero(anomalous), now)
        told = self._episodes.tell(found, seconds)
        alerts = told.every
        rejects = [*scored.batch.rejects, *scored.rejects]
        written = perf_counter()
        self._deliver(told, len(scored.nats), seconds)
        if rejects:
            self._dead_letters.deliver([dead_letter(reject, now) for reject in rejects])
        delivered = perf_counter()
        self._source.commit(flight.checkpoint)
        committed = perf_counter()
        if self._keeper:
            self._keeper.keep(scored, anomalous, alerts)
        self._serving.give_back(flight.engine)
        kept = perf_counter()
        self._report(flight, scored, alerts, rejects)
        stages = {
            **flight.launched.seconds,
            "score": waited - began,
            "decide": written - waited,
            "deliver": delivered - written,
            "commit": committed - delivered,
            "keep": kept - committed,
        }
        for stage, seconds in stages.items():
            self._telemetry.stage_finished(stage, seconds)

    def _deliver(self, told: Told, scored: int, now: float) -> None:
        """Deliver the alerts of a batch and, should it bring one, the news of a regime shift."""
        shift = self._regime and self._regime.observe(scored, len(told.every), now)
        news = [shift] if shift else []
        if told.every or news:
            self._alerts.deliver([*told.every, *news], [*told.brief, *news])
            self._episodes.save(now)
            self._telemetry.episodes.told(told.begun, told.cooled, told.flooded)
        if self._regime:
            self._regime.settle()

    def _summarise(self, brief: Sequence[Message], *, at_once: bool = False) -> None:
        """Deliver what is due of the episodes to the sinks that want it."""
        if brief:
            self._alerts.deliver([], brief)
        self._episodes.save(self._clock(), at_once=at_once)
        self._telemetry.episodes.stand(self._episodes.open, flooding=self._episodes.flooding)

    def _report(
        self,
        flight: _InFlight,
        scored: Scored,
        alerts: Sequence[Alert],
        rejects: Sequence[Reject],
    ) -> None:
        severities = Counter(alert.severity for alert in alerts)
        self._telemetry.records_rejected(Counter(reject.reason.value for reject in rejects))
        self._telemetry.batch_scored(
            ScoredBatch(
                nats=scored.nats,
                anomaly_scores=flight.engine.bundle.threshold.anomaly_score(scored.nats),
                records=len(scored.nats),
                warnings=severities["warning"],
                criticals=severities["critical"],
            )
        )
        blamed = Counter(alert.features[0].name for alert in alerts if alert.features)
        self._telemetry.anomalies_blamed(blamed)
        encoder = flight.engine.bundle.encoder
        if encoder.dropped:
            departed = int(np.count_nonzero(encoder.departures(scored.records)))
            self._telemetry.constants_departed(departed)
        times = scored.records.times
        if times and (latest := parse_time(times[-1])) is not None:
            self._telemetry.event_time(self._source.name, latest.timestamp())


def _received(batch: RawBatch) -> Iterable[tuple[str, int, int]]:
    """Yield stream, records and bytes of each span (of Arrow rows, their size in memory)."""
    for span in batch.spans:
        rows = slice(span.start, span.start + len(span.offsets))
        if isinstance(batch.payload, Sequence):
            size = sum(map(len, filter(None, batch.payload[rows])))
        else:
            size = batch.payload[rows].nbytes
        yield span.stream, len(span.offsets), size
    for reject in batch.rejects:
        yield reject.position.stream, 1, len(reject.raw)
