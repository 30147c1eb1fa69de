"""What a candidate learns from, and what it is judged on: two parts of what was seen lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaeiso_monitor.lifecycle.gate import Evidence, GateConfig
from vaeiso_monitor.lifecycle.rows import taken
from vaeiso_monitor.lifecycle.trainer import TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.ledger import Ledger
    from vaeiso_monitor.types import Records

_RUNS = 20
_ALERTED, _UNFILTERED = 500, 5000
_NEIGHBOURS = 200
_OUTSTANDING = 4.0  # quartile distances above the median; of normal scores 2 in 10 million are


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
    def origins(self) -> Sequence[str | None]:
        """The alert of those that a person called normal."""

    @property
    def ledger(self) -> Ledger:
        """Where they come from."""


class Past(Protocol):
    """Whoever remembers what was seen."""

    def snapshot(self) -> Snapshot:
        """Return the normal records."""

    def unfiltered(self, since: float | None = None) -> Snapshot:
        """Return a sample of all records, seen at or after ``since``."""


class Alerted(Protocol):
    """Records that raised alerts."""

    @property
    def records(self) -> Records:
        """The records."""


class AlertedPast(Protocol):
    """Whoever remembers the alerts."""

    def recent_rows(self, limit: int, before: float | None = None) -> Alerted:
        """Return the records of the latest alerts, those judged normal left out.

        With ``before`` only of earlier ones.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """One attempt's training set, and the evidence that was kept from it."""

    given: TrainingSet
    evidence: Evidence


def gathered(
    past: Past,
    alerts: AlertedPast,
    gate: GateConfig,
    *,
    champion_since: float,
    adopt_since: float | None = None,
) -> Material:
    """Split what is remembered into what a candidate learns from and what it is judged on.

    To adopt a new regime, only what was seen since it began counts, anomalous or not, but for what
    stands out even there; and what was an anomaly before it must be found still.
    """
    unfiltered = past.unfiltered(champion_since if adopt_since is None else adopt_since)
    source = past.snapshot() if adopt_since is None else unfiltered
    held = held_out(source, gate, champion_since if adopt_since is None else 0.0)
    learned = np.ones(len(source.seen), dtype=bool)
    learned[held] = False
    ledger = {**source.ledger.to_dict(), "held_out_for_the_gate": len(held)}
    if adopt_since is not None:
        outstanding = standing_out(source.nats)
        ledger["left_out_standing_out"] = int((outstanding & learned).sum())
        learned &= ~outstanding
    few = np.linspace(0, len(unfiltered.seen) - 1, min(_UNFILTERED, len(unfiltered.seen)))
    evidence = Evidence(
        recent=taken(source.records, held),
        alerted=alerts.recent_rows(_ALERTED).records,
        unfiltered=taken(unfiltered.records, few.astype(np.int64)),
        earlier=alerts.recent_rows(_ALERTED, adopt_since).records if adopt_since else None,
    )
    return Material(TrainingSet(taken(source.records, np.flatnonzero(learned)), ledger), evidence)


def standing_out(nats: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of the records [n], in the order they came, cost far more than their neighbours.

    To a model of another regime all of them are anomalies, but the faults among them still cost
    more. A line drawn over as many as the budget lets pass would lie above every fault.
    """
    found = np.zeros(len(nats), dtype=bool)
    for block in np.array_split(np.arange(len(nats)), max(len(nats) // _NEIGHBOURS, 1)):
        if len(block):
            low, middle, high = np.quantile(nats[block], [0.25, 0.5, 0.75])
            found[block] = nats[block] > middle + _OUTSTANDING * (high - low)
    return found


def held_out(source: Snapshot, gate: GateConfig, since: float) -> NDArray[np.int64]:
    """Return the rows that the gate judges on: runs of neighbours, in the order they came.

    They are newer than ``since``, so that the champion had not seen them either; where too few
    are, any. What a person called normal is learned from and not judged on.
    """
    judged = np.array([origin is None for origin in source.origins], dtype=bool)
    wanted = min(gate.max_records, round(gate.held_out_share * len(judged)))
    fresh = np.flatnonzero(judged & (source.seen > since))
    if len(fresh) < max(gate.min_records, wanted // 10):
        fresh = np.flatnonzero(judged)
    wanted = min(wanted, len(fresh) // 2)
    edges = np.linspace(0, len(fresh), min(_RUNS, max(wanted, 1)) + 1).astype(np.int64)
    lengths = np.diff(np.linspace(0, wanted, len(edges)).astype(np.int64))
    runs = [fresh[stop - n : stop] for stop, n in zip(edges[1:], lengths, strict=True)]
    return np.concatenate(runs) if runs else fresh[:0]
