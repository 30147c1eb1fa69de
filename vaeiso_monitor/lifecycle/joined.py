"""The window and what is normal in the sample of all records, joined for a training.

The window has an equal share of every stretch of its time, the sample more of the latest; together
they know the past and follow a slow change. What once raised an alert gets a second look: is it
normal to the model that serves now?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaeiso_monitor.lifecycle.cold_start import concatenate
from vaeiso_monitor.lifecycle.rows import taken
from vaeiso_monitor.lifecycle.window_rows import fingerprints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.ledger import Ledger
    from vaeiso_monitor.types import Records

NormalNow = Callable[["Records"], "NDArray[np.bool_]"]
"""Which of some records [n] the serving model finds normal."""


class Snapshot(Protocol):
    """Records seen lately, oldest first, and when (Unix seconds, float64 [n])."""

    @property
    def records(self) -> Records:
        """The records."""

    @property
    def seen(self) -> NDArray[np.float64]:
        """When each was scored."""

    @property
    def nats(self) -> NDArray[np.float64]:
        """What each cost then."""

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Which of them were over the alert line then."""

    @property
    def let_in(self) -> NDArray[np.bool_]:
        """Which of those count as normal all the same."""

    @property
    def origins(self) -> Sequence[str | None]:
        """The alert of those that a person called normal."""

    @property
    def ledger(self) -> Ledger:
        """Where they come from."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A snapshot of several parts."""

    records: Records
    seen: NDArray[np.float64]
    nats: NDArray[np.float64]
    anomalous: NDArray[np.bool_]
    let_in: NDArray[np.bool_]
    origins: Sequence[str | None]
    ledger: Ledger


def with_sample(
    window: Snapshot, sample: Snapshot, normal_now: NormalNow | None = None
) -> Snapshot:
    """Return ``window`` with what is normal in ``sample`` and not in the window already.

    With ``normal_now`` that is also what raised an alert once and is normal to the serving model.
    """
    good = ~sample.anomalous | sample.let_in
    again = np.flatnonzero(~good)
    if normal_now is not None and len(again):
        good[again] = normal_now(taken(sample.records, again))
    rows = np.flatnonzero(good)
    known = fingerprints(window.records)
    rows = rows[~np.isin(fingerprints(taken(sample.records, rows)), known)]
    return _joined(window, sample, rows) if len(rows) else window


def _joined(window: Snapshot, sample: Snapshot, rows: NDArray[np.int64]) -> Joined:
    seen = np.concatenate([window.seen, sample.seen[rows]])
    order = np.argsort(seen, kind="stable")
    records = concatenate([window.records, taken(sample.records, rows)])
    origins = [*window.origins, *(None for _ in rows)]
    return Joined(
        taken(records, order),
        seen[order],
        np.concatenate([window.nats, sample.nats[rows]])[order],
        np.concatenate([window.anomalous, sample.anomalous[rows]])[order],
        np.concatenate([window.let_in, sample.let_in[rows]])[order],
        [origins[i] for i in order.tolist()],
        _ledger(window.ledger, sample, rows),
    )


def _ledger(ledger: Ledger, sample: Snapshot, rows: NDArray[np.int64]) -> Ledger:
    let_in = sample.let_in[rows]
    return replace(
        ledger,
        records=ledger.records + len(rows),
        sampled=len(rows),
        over_line=ledger.over_line + int(let_in.sum()),
        normal_since=int((sample.anomalous[rows] & ~let_in).sum()),
    )
