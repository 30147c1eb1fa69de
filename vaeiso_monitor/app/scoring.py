"""Records that are posted to be scored: by the serving engine, beside the loop."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vaeiso_monitor.alerts import AlertWriter
from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.types import RawBatch, Span

if TYPE_CHECKING:
    from vaeiso_monitor.alerts import Alert, AlertsConfig
    from vaeiso_monitor.bundle import Engine
    from vaeiso_monitor.bundle import Scored as ScoredBatch
    from vaeiso_monitor.lifecycle import Slot

_STOPPING = "the daemon stops"


class Scoring:
    """Scores posted records in a thread of its own, one request after the other.

    The engine is borrowed as the loop borrows it, so that a swap does not close it underneath.
    """

    def __init__(self, slot: Slot, alerts: AlertsConfig) -> None:
        self._slot = slot
        self._writer = AlertWriter(replace(alerts, include_record=False))
        # torch hands a thread that begins while another computes alone that one's single core
        self._pool = ThreadPoolExecutor(
            1, "posted", torch.set_num_threads, (torch.get_num_threads(),)
        )

    def score(self, records: Sequence[bytes]) -> dict[str, Any]:
        """Score JSON documents, a result for each; TransientError while no model serves."""
        try:
            future = self._pool.submit(self._score, records)
        except RuntimeError as error:  # the pool is closed
            raise TransientError(_STOPPING) from error
        try:
            return future.result()
        except CancelledError as error:
            raise TransientError(_STOPPING) from error

    def close(self) -> None:
        """Wait for what is being scored."""
        self._pool.shutdown(cancel_futures=True)

    def _score(self, records: Sequence[bytes]) -> dict[str, Any]:
        if self._slot.empty:
            msg = "no model serves yet"
            raise TransientError(msg)
        engine = self._slot.borrow()
        try:
            batch = RawBatch(records, [Span("http", "posted", 0, 0, range(len(records)))])
            scored = engine.launch(batch).wait()
            rows = np.arange(len(scored.records), dtype=np.int64)
            explained = self._writer.write(engine, scored, rows, datetime.now(UTC))
        finally:
            self._slot.give_back(engine)
        return _results(engine, scored, explained, len(records))


def _results(
    engine: Engine, scored: ScoredBatch, explained: Sequence[Alert], count: int
) -> dict[str, Any]:
    results: list[dict[str, Any]] = [{} for _ in range(count)]
    anomalous = engine.bundle.threshold.anomalous(scored.nats).tolist()
    for row, alert, over in zip(scored.records.rows.tolist(), explained, anomalous, strict=True):
        results[row] = {
            "score_nats": alert.nats,
            "anomaly_score": alert.anomaly_score,
            "tail_probability": alert.tail_probability,
            "severity": alert.severity if over else None,
            "features": alert.features,
        }
    for reject in scored.rejects:
        results[reject.position.offset] = {"rejected": reject.reason, "detail": reject.detail}
    bundle = engine.bundle
    return {
        "model": bundle.version,
        "threshold_nats": bundle.threshold.nats,
        "results": results,
    }
