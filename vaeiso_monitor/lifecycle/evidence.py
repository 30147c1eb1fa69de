"""What a candidate learns from, and what it is judged on: two parts of what was seen lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaeiso_monitor.lifecycle.gate import Evidence, GateConfig
from vaeiso_monitor.lifecycle.joined import with_sample
from vaeiso_monitor.lifecycle.rows import taken
from vaeiso_monitor.lifecycle.trainer import TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.joined import NormalNow, Snapshot
    from vaeiso_monitor.types import Records

_RUNS = 20
_PARTS = np.linspace(0.0, 1.0, 65)
_ALERTED, _UNFILTERED = 500, 5000
_NEIGHBOURS = 200
_FEWEST_NEIGHBOURS = 20
_OUTSTANDING = 4.0  # quartile distances above the median; of normal scores 2 in 10 million are


class Past(Protocol):
    """Whoever remembers what was seen."""

    def snapshot(self) -> Snapshot:
        """Return the normal records."""

    def unfiltered(self, since: float | None = None) -> Snapshot:
        """Return a sample of all records, seen at or after ``since``."""


class Alerted(Protocol):
    """Records that raised alerts, when (Unix seconds, float64 [n]), and what each cost then."""

    @property
    def records(self) -> Records:
        """The records."""

    @property
    def seen(self) -> NDArray[np.float64]:
        """When each was scored."""

    @property
    def nats(self) -> NDArray[np.float64]:
        """What each cost then."""


class AlertedPast(Protocol):
    """Whoever remembers the alerts."""

    def recent_rows(
        self, limit: int, before: float | None = None, severity: str | None = None
    ) -> Alerted:
        """Return the records of the latest alerts, those judged normal left out.

        With ``before`` only of earlier ones, with ``severity`` only of one kind.
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
    normal_now: NormalNow | None = None,
) -> Material:
    """Split what is remembered into what a candidate learns from and what it is judged on.

    What alerted once and is ``normal_now`` to the serving model is learned from as well.
    To adopt a new regime, only what was seen since it began counts, anomalous or not, but for what
    stands out even there; and what was an anomaly before it must be found still.
    """
    sample = past.unfiltered()
    if adopt_since is None:
        source = with_sample(past.snapshot(), sample, normal_now)
    else:
        source = past.unfiltered(adopt_since)
    held = held_out(source, gate, champion_since if adopt_since is None else 0.0)
    learned = np.ones(len(source.seen), dtype=bool)
    learned[held] = False
    ledger = {**source.ledger.to_dict(), "held_out_for_the_gate": len(held)}
    if learned.any():
        ledger["seen_quantiles"] = np.quantile(source.seen[learned], _PARTS).round(3).tolist()
    if adopt_since is not None:
        outstanding = standing_out(source.nats)
        ledger["adopted_since"] = datetime.fromtimestamp(adopt_since, UTC).isoformat()
        ledger["left_out_standing_out"] = int((outstanding & learned).sum())
        learned &= ~outstanding
        held = held[~outstanding[held]]
    earlier = None
    if adopt_since is not None:
        earlier = alerts.recent_rows(_ALERTED, adopt_since, "critical").records
    evidence = Evidence(
        recent=taken(source.records, held),
        alerted=_remarkable(alerts.recent_rows(_ALERTED, None, "critical"), sample),
        unfiltered=_some(sample, champion_since if adopt_since is None else adopt_since),
        earlier=earlier,
        over_line=source.ledger.over_line + source.ledger.normal_since,
        oldest=source.ledger.oldest,
        adopt_since=adopt_since,
    )
    return Material(TrainingSet(taken(source.records, np.flatnonzero(learned)), ledger), evidence)


def _some(sample: Snapshot, since: float) -> Records:
    lately = np.flatnonzero(sample.seen >= since)
    few = np.linspace(0, len(lately) - 1, min(_UNFILTERED, len(lately)))
    return taken(sample.records, lately[few.astype(np.int64)])


def _remarkable(alerted: Alerted, sample: Snapshot) -> Records:
    """Return those alerts that cost far more than the records beside them.

    After a slow change good records alert as well, even critically; but then all around them cost
    more than they did.
    """
    half = _NEIGHBOURS // 2
    kept = np.ones(len(alerted.nats), dtype=bool)
    for i, place in enumerate(np.searchsorted(sample.seen, alerted.seen).tolist()):
        near = sample.nats[max(place - half, 0) : place + half]
        if place and len(near) >= _FEWEST_NEIGHBOURS:  # else nobody remembers its time
            kept[i] = not alerted.nats[i] <= _limit(near)
    return taken(alerted.records, np.flatnonzero(kept))


def standing_out(nats: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of the records [n], in the order they came, cost far more than their neighbours.

    To a model of another regime all of them are anomalies, but the faults among them still cost
    more. A line drawn over as many as the budget lets pass would lie above every fault.
    """
    found = np.zeros(len(nats), dtype=bool)
    for block in np.array_split(np.arange(len(nats)), max(len(nats) // _NEIGHBOURS, 1)):
        if len(block):
            found[block] = nats[block] > _limit(nats[block])
    return found


def _limit(nats: NDArray[np.float64]) -> float:
    low, middle, high = np.quantile(nats, [0.25, 0.5, 0.75])
    return float(middle + _OUTSTANDING * (high - low))


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
