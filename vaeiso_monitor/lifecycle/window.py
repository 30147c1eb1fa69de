"""The window: recent normal records on disk, and a small sample of all records beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import structlog

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle.ledger import Which
from vaeiso_monitor.lifecycle.tail import Tail
from vaeiso_monitor.lifecycle.window_bounds import Bounds
from vaeiso_monitor.lifecycle.window_buffer import Buffer
from vaeiso_monitor.lifecycle.window_config import WindowConfig
from vaeiso_monitor.lifecycle.window_rows import Layout, fingerprints
from vaeiso_monitor.lifecycle.window_segments import DAMAGED, FOREIGN, Segments, Tally
from vaeiso_monitor.lifecycle.window_snapshot import Found, WindowSnapshot, look
from vaeiso_monitor.lifecycle.window_strand import Strand
from vaeiso_monitor.lifecycle.withdrawn import Withdrawn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.detect import Threshold
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.telemetry.window import WindowTelemetry
    from vaeiso_monitor.types import Records

log = structlog.get_logger(__name__)

__all__ = ["Window", "WindowConfig", "WindowSnapshot"]

_SLOTS = 128  # stretches of max_age_seconds that have equal shares of max_rows
_TAIL_SLOTS = 16  # stretches after which the scores that were counted are mostly forgotten
_MIN_BUFFER, _MAX_BUFFER = 256, 16_384


class Window:
    """Keeps what a training may learn from, in ``folder``, within bounds of rows, bytes and age.

    The rows are spread over the whole age: of each of 128 stretches about as many are kept, however
    fast the stream is, and older ones are thinned as time goes on. The sample of all records
    reaches as far back, but holds more of the latest stretches, so that a shift is soon in it. One
    thread calls :meth:`keep`, any other the rest; the disk is never waited for in ``keep``.
    """

    def __init__(
        self,
        config: WindowConfig,
        schema: Schema,
        folder: Path,
        clock: Callable[[], float] = time.time,
        *,
        telemetry: WindowTelemetry | None = None,
        seed: int | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._telemetry = telemetry
        self._rng = np.random.default_rng(seed)
        memory = _TAIL_SLOTS * config.max_age_seconds / _SLOTS
        self._tail = Tail(memory, np.random.default_rng(seed))
        self._disk = RLock()
        self._layout = Layout(schema)
        self._segments = Segments(folder, self._layout)
        self._failing = False
        try:
            found = self._segments.open()
            self._withdrawn = Withdrawn(folder / "withdrawn.json")
        except OSError as error:
            msg = f"cannot keep the window in {folder}: {error.strerror or error}"
            raise ConfigError(msg) from error
        limits = {"normal": config.max_rows, "unfiltered": config.unfiltered_rows}
        self._buffers = {which: self._buffer(which, rows) for which, rows in limits.items()}
        self._normal = self._strand("normal", self._buffers["normal"], _evenly)
        self._unfiltered = self._strand("unfiltered", self._buffers["unfiltered"], _latest_first)
        self._admitted = self._strand("admitted", self._buffer("normal", 0), _evenly)
        for strand in self._strands:
            strand.adopt(found, clock())
        self._bounds = Bounds(
            config, self._segments, self._normal, self._unfiltered, self._admitted
        )
        self._report()

    def keep(
        self,
        records: Records,
        nats: NDArray[np.float64],
        anomalous: NDArray[np.bool_],
        line: Threshold | None = None,
    ) -> None:
        """Take what is to be kept of a scored batch: ``nats`` and ``anomalous`` [n] belong to it.

        Of the anomalous ones that are not critical by the alert ``line`` so many are taken for
        normal as those under it let expect (see :class:`Tail`). It only chooses
        and copies a few rows; :meth:`flush` writes them.
        """
        if not len(records):
            return
        now = self._clock()
        let_in = None
        if line is not None and self._config.let_in_over_line:
            let_in = self._tail.choose(line, nats, now)
        for buffer in self._buffers.values():
            buffer.offer(records, nats, anomalous, now, let_in)

    def admit(self, records: Records, nats: NDArray[np.float64], origins: Sequence[str]) -> None:
        """Put records [n] that a person called normal in; those there already are left as they are.

        ``origins`` are the ids of their alerts. They are durable when this returns; raises OSError
        where the disk refuses. What was withdrawn before comes in again.
        """
        with self._disk:
            self._withdrawn.discard(fingerprints(records).tolist())
            now = self._clock()
            known = set(self._admitted.read().column("origin").to_pylist())
            about = {
                "seen": np.full(len(records), now),
                "nats": nats,
                "share": np.ones(len(records)),
                "anomalous": np.ones(len(records), bool),
                "origin": list(origins),
            }
            table = self._layout.table(records, about)
            table = table.filter(pa.array([origin not in known for origin in origins]))
            if table.num_rows:
                self._admitted.put(table, now)
            self._bounds.enforce(now)
        self._report()

    def withdraw(self, records: Records) -> None:
        """Keep records that a person called anomalies out of every snapshot from now on.

        Their equals stay out as well, and those admitted before. Durable when this returns; raises
        OSError where the disk refuses.
        """
        with self._disk:
            self._withdrawn.add(fingerprints(records).tolist())

    def flush(self) -> None:
        """Write what was taken since the last time and keep within the bounds.

        Where the disk refuses, the rows are lost and counted, and the next flush tries again.
        """
        with self._disk:
            now = self._clock()
            try:
                self._normal.write(now, self._bounds.normal_rows)
                self._unfiltered.write(now, self._config.unfiltered_rows)
                self._bounds.enforce(now)
            except OSError as error:
                self._failed(error)
            else:
                self._failing = False
        self._report()

    def snapshot(self) -> WindowSnapshot:
        """Return the normal records and those admitted, oldest first."""
        with self._disk:
            self.flush()
            return self._look("normal", (self._normal, self._admitted))

    def unfiltered(self, since: float | None = None) -> WindowSnapshot:
        """Return the sample of all records, anomalous or not, seen at or after ``since``.

        Only what a person called an anomaly is missing.
        """
        with self._disk:
            self.flush()
            return self._look("unfiltered", (self._unfiltered,), since)

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    @property
    def _strands(self) -> tuple[Strand, ...]:
        return self._normal, self._unfiltered, self._admitted

    def _buffer(self, which: str, rows: int) -> Buffer:
        limit = min(max(rows // 8, _MIN_BUFFER), _MAX_BUFFER)
        return Buffer(limit, which == "normal", self._rng.spawn(1)[0])

    def _strand(self, kind: str, buffer: Buffer, weigh: Callable[..., Any]) -> Strand:
        return Strand(
            kind,
            segments=self._segments,
            layout=self._layout,
            buffer=buffer,
            slot_seconds=self._config.max_age_seconds / _SLOTS,
            weigh=weigh,
            rng=self._rng,
        )

    def _look(
        self, which: Which, strands: tuple[Strand, ...], since: float | None = None
    ) -> WindowSnapshot:
        now = self._clock()
        table = pa.concat_tables([strand.read() for strand in strands])
        found = Found(
            table,
            sum((strand.tally for strand in strands), Tally()),
            len(self._segments.aside(DAMAGED)),
            len(self._segments.aside(FOREIGN)),
        )
        oldest = now - self._config.max_age_seconds
        return look(
            which, found, self._layout, self._withdrawn, now=now, oldest=oldest, since=since
        )

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            log.warning("window_not_written", reason=error.strerror or str(error))
        self._failing = True
        if self._telemetry is not None:
            self._telemetry.not_written()

    def _report(self) -> None:
        if self._telemetry is None:
            return
        spans = [s.about.first for strand in self._strands for s in strand.held]
        self._telemetry.stands(
            rows={strand.kind: strand.rows for strand in self._strands},
            size_bytes=self._bounds.size,
            oldest=min(spans, default=None),
            set_aside={ending[1:]: n for ending, n in self._segments.set_aside.items()},
        )


def _evenly(ages: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(ages)


def _latest_first(ages: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + ages)
