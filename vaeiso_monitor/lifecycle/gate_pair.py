"""The same records under two bundles: what each of them says, and by how much they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.bundle import Bundle, in_common_units
from vaeiso_monitor.lifecycle.rows import taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle import BundleScorer
    from vaeiso_monitor.types import Records

_DRAWS = 2000
_BLOCKS = 100
_CAP_NATS = 30.0  # above its alert line; one record in a million must not decide a mean


class Pair:
    """The same records under both bundles: ``old`` and ``new`` are their scores [n]."""

    def __init__(
        self,
        champion: Bundle,
        candidate: Bundle,
        old: BundleScorer,
        new: BundleScorer,
        records: Records,
    ) -> None:
        self.champion, self.candidate, self.records = champion, candidate, records
        old_x, new_x = (bundle.encoder.encode(records) for bundle in (champion, candidate))
        self.old, self.new = old.score(old_x), new.score(new_x)
        mine, theirs = champion.model, candidate.model
        same = (mine.betas, mine.distortion.state()) == (theirs.betas, theirs.distortion.state())
        self._beyond = [
            0.0 if same else each.beyond_proper(x) for each, x in ((old, old_x), (new, new_x))
        ]
        self.new_anomalous = candidate.threshold.anomalous(self.new)
        self.new_alerts = int(self.new_anomalous.sum())
        self.old_alerts = int(champion.threshold.anomalous(self.old).sum())

    def worse_nats(self) -> NDArray[np.float64]:
        """Return by how much the candidate's nats are higher than the champion's [n]."""
        beyond_old, beyond_new = self._beyond
        old = _capped(self.champion, self.old - beyond_old)
        new = _capped(self.candidate, self.new - beyond_new)
        return in_common_units(self.candidate, new, self.records, self.champion) - in_common_units(
            self.champion, old, self.records, self.candidate
        )


def _capped(bundle: Bundle, nats: NDArray[np.float64]) -> NDArray[np.float64]:
    ceiling = bundle.threshold.nats + _CAP_NATS
    return np.where(nats <= ceiling, nats, ceiling)


def remembered(champion: Bundle, oldest: float | None) -> Records | None:
    """Return those of a champion's reference records that were seen at or after ``oldest``.

    They lie evenly among the records that it was trained on, in the order these were seen, and its
    ledger tells when that was; where it does not, all count.
    """
    sample = champion.sample
    seen = (champion.summary.get("training_set") or {}).get("seen_quantiles")
    if sample is None or seen is None or oldest is None:
        return sample
    places = np.linspace(0.0, 1.0, len(sample))
    times = np.interp(places, np.linspace(0.0, 1.0, len(seen)), seen)
    return taken(sample, np.flatnonzero(times >= oldest))


def knows(champion: Bundle, adopt_since: float | None) -> bool:
    """Return whether a champion adopted the regime that began at ``adopt_since`` itself."""
    adopted = (champion.summary.get("training_set") or {}).get("adopted_since") is not None
    return adopted and adopt_since is not None and adopt_since < champion.created.timestamp()


def interval(worse: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return a bootstrap interval of the mean; whole runs are drawn, for neighbours are alike."""
    count = min(_BLOCKS, len(worse))
    edges = np.linspace(0, len(worse), count + 1).astype(np.int64)
    lengths = np.diff(edges)
    sums = np.add.reduceat(worse, edges[:-1])
    drawn = np.random.default_rng(0).integers(count, size=(_DRAWS, count))
    means = sums[drawn].sum(axis=1) / lengths[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
