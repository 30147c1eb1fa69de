"""A look at the window: the records that a training may learn from, and their ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vaeiso_monitor.lifecycle.ledger import Ledger, Which
from vaeiso_monitor.lifecycle.window_rows import LET_IN, Layout, fingerprints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.window_segments import Tally
    from vaeiso_monitor.lifecycle.withdrawn import Withdrawn
    from vaeiso_monitor.types import Records


@dataclass(frozen=True, slots=True, eq=False)
class WindowSnapshot:
    """Records of the window, oldest first, without labels.

    ``seen`` float64 [n] is when they were scored in Unix seconds, ``nats`` float64 [n] their scores
    at that time (by whichever bundle served then), ``anomalous`` bool [n] that bundle's decision,
    ``let_in`` bool [n] which of the anomalous ones count as normal all the same, ``origins`` the
    alert id of those that a person called normal, None for all others.
    """

    records: Records
    seen: NDArray[np.float64]
    nats: NDArray[np.float64]
    anomalous: NDArray[np.bool_]
    let_in: NDArray[np.bool_]
    origins: Sequence[str | None]
    ledger: Ledger

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.seen)


@dataclass(frozen=True, slots=True)
class Found:
    """What is on disk: the rows, what happened while they were gathered, and what lies aside."""

    table: pa.Table
    tally: Tally
    damaged_segments: int
    foreign_segments: int


def look(
    which: Which,
    found: Found,
    layout: Layout,
    withdrawn: Withdrawn,
    *,
    now: float,
    oldest: float,
    since: float | None = None,
) -> WindowSnapshot:
    """Return the rows seen since ``oldest`` and ``since`` that no one called an anomaly."""
    order = np.argsort(found.table.column("seen").to_numpy(), kind="stable")
    table = found.table.take(pa.array(order))
    seen = table.column("seen").to_numpy()
    expired = seen < oldest
    before = ~expired & (seen < (float("-inf") if since is None else since))
    judged = ~expired & ~before
    if len(withdrawn):
        judged &= withdrawn.among(fingerprints(layout.records(table)))
    else:
        judged[:] = False
    kept = ~(expired | before | judged)
    left_out = {"expired": expired, "before": before, "judged_anomalous": judged}
    counts = {reason: int(np.count_nonzero(rows)) for reason, rows in left_out.items()}
    return _snapshot(which, table.filter(pa.array(kept)), layout, found, counts, (oldest, now))


def _snapshot(
    which: Which,
    table: pa.Table,
    layout: Layout,
    found: Found,
    left_out: dict[str, int],
    span: tuple[float, float],
) -> WindowSnapshot:
    seen = table.column("seen").to_numpy()
    texts = table.column("origin").to_pylist()
    let_in = np.array([text == LET_IN for text in texts], dtype=bool)
    origins = [text or None for text in texts]
    nats = table.column("nats").to_numpy()
    anomalous = np.array(table.column("anomalous"), dtype=bool)
    tally = found.tally
    ledger = Ledger(
        which=which,
        taken_at=span[1],
        oldest=span[0],
        records=len(seen),
        first_seen=float(seen[0]) if len(seen) else None,
        last_seen=float(seen[-1]) if len(seen) else None,
        received=tally.received,
        admitted=len(origins) - origins.count(None),
        over_line=int(let_in.sum()),
        left_out={
            "anomalous": tally.anomalous,
            "thinned": tally.thinned,
            "not_written": tally.not_written,
            **left_out,
        },
        damaged_segments=found.damaged_segments,
        foreign_segments=found.foreign_segments,
    )
    return WindowSnapshot(layout.records(table), seen, nats, anomalous, let_in, origins, ledger)
