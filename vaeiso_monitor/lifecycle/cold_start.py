"""Cold start: with no bundle yet, collect records, train on them, and lose none of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np
import structlog
from annotated_types import Ge

from vaeiso_monitor.detector import train
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.model import TrainingStopped
from vaeiso_monitor.records import Decoder
from vaeiso_monitor.telemetry import State
from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.detector import Recipe
    from vaeiso_monitor.model import Progress
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.telemetry import Telemetry
    from vaeiso_monitor.types import Polled, Reject, Source

log = structlog.get_logger(__name__)

_KEEP_ALIVE_SECONDS = 0.5
_HOPELESS_SHARE = 20  # times min_records received without min_records that fit


@dataclass(frozen=True, slots=True)
class ColdStartConfig:
    """How many records that fit the schema the first training waits for."""

    min_records: Annotated[int, Ge(10)] = 5000


class Reporter(Protocol):
    """Whoever shows a person how far a long thing is."""

    def collecting(self, records: int, required: int) -> None:
        """Say how many records there are."""

    def training(self, progress: Progress) -> None:
        """Say how far training is; called from another thread."""

    def finished(self) -> None:
        """Say that the waiting is over, one way or the other."""


class Intake(Protocol):
    """The loop's own way to read, so that what is read here is counted like everything else."""

    def poll(self) -> Polled | None:
        """Read one batch; None at the end of the source."""

    def tick(self) -> None:
        """Report what changes by itself, if a second is over."""


class ColdStart:
    """Collects what the source yields, keeps it for scoring, and trains the first bundle on it."""

    def __init__(
        self,
        config: ColdStartConfig,
        *,
        schema: Schema,
        recipe: Recipe,
        source: Source,
        intake: Intake,
        telemetry: Telemetry,
        reporter: Reporter,
        stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._schema = schema
        self._recipe = recipe
        self._source = source
        self._intake = intake
        self._telemetry = telemetry
        self._reporter = reporter
        self._stop = stop
        self._abandoned = False
        self.held: deque[Polled] = deque()

    def run(self) -> Bundle | None:
        """Return the first bundle, or None when it was asked to stop before; see ``held``.

        The batches read meanwhile stay in ``held``, uncommitted: they are to be scored like any
        other, and are read again if the process ends before.
        """
        try:
            records = self._collect()
            return None if records is None else self._train(records)
        finally:
            self._reporter.finished()

    def release(self) -> Iterator[Polled]:
        """Yield the batches held back, and let each of them go."""
        while self.held:
            yield self.held.popleft()

    def _collect(self) -> Records | None:
        required = self._config.min_records
        self._telemetry.state_changed(State.WARMING_UP)
        log.info("cold_start", records_required=required, reason="no bundle serves yet")
        decoder = Decoder(self._schema)
        parts: list[Records] = []
        rejects: list[Reject] = []
        collected = received = 0
        while collected < required:
            self._telemetry.warming_up(collected, required)
            self._intake.tick()
            self._reporter.collecting(collected, required)
            if self._stop():
                return None
            polled = self._intake.poll()
            if polled is None:
                raise _too_few(collected, required)
            if not polled.batch.received:
                continue
            self.held.append(polled)
            records, refused = decoder.decode(polled.batch)
            parts.append(records)
            rejects += [*polled.batch.rejects, *refused]
            collected, received = collected + len(records), received + polled.batch.received
            if collected < required and received > _HOPELESS_SHARE * required:
                raise _hopeless(received, rejects)
        self._telemetry.warming_up(collected, required)
        self._reporter.collecting(collected, required)
        return concatenate(parts)

    def _train(self, records: Records) -> Bundle | None:
        self._telemetry.state_changed(State.TRAINING)
        log.info("training_started", records=len(records))
        with (
            self._telemetry.stage("train"),
            ThreadPoolExecutor(1, thread_name_prefix="training") as pool,
        ):
            future = pool.submit(
                train,
                records,
                self._schema,
                self._recipe,
                progress=self._training_progressed,
                stop=lambda: self._abandoned or self._stop(),
            )
            self._wait(future)
        try:
            return future.result()
        except TrainingStopped:
            return None
        except ValueError as error:
            msg = f"the first {len(records)} records cannot be trained on: {error}"
            raise ConfigError(msg) from error

    def _wait(self, future: Future[Bundle]) -> None:
        """Wait for training; where the source fails meanwhile, do not wait for its end."""
        try:
            while not wait([future], timeout=_KEEP_ALIVE_SECONDS).done:
                self._source.keep_alive()
                self._intake.tick()
        except BaseException:
            self._abandoned = True
            raise

    def _training_progressed(self, progress: Progress) -> None:
        self._telemetry.training(progress.step / progress.max_steps)
        self._reporter.training(progress)


def concatenate(parts: Sequence[Records]) -> Records:
    """Join decoded batches; the rows are numbered anew and the labels are left out."""
    numbers = np.concatenate([part.numbers for part in parts])
    columns = zip(*(part.categories for part in parts), strict=True)
    categories = [list(chain.from_iterable(column)) for column in columns]
    return Records(numbers, categories, np.arange(len(numbers), dtype=np.int64))


def first_of(records: Records, count: int) -> Records:
    """Return the first ``count`` records without their labels."""
    if len(records) <= count:
        return records
    categories = [column[:count] for column in records.categories]
    return Records(records.numbers[:count], categories, records.rows[:count])


def _too_few(collected: int, required: int) -> ConfigError:
    msg = (
        f"the source ended after {collected} records that fit the schema, the first training waits "
        f"for {required}: lower cold_start.min_records or train on other records first "
        "(`vaeiso-monitor train`)"
    )
    return ConfigError(msg)


def _hopeless(received: int, rejects: Sequence[Reject]) -> ConfigError:
    (reason, detail), count = Counter((r.reason.value, r.detail) for r in rejects).most_common(1)[0]
    msg = (
        f"{len(rejects)} of the first {received} records do not fit the schema, most often because "
        f"of {reason} ({detail}; {count} times): correct [schema], `vaeiso-monitor init` helps"
    )
    return ConfigError(msg)
