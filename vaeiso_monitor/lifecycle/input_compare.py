"""Recent records against training records, feature by feature, over the latest stretches of time.

A short stretch shows a change soon, a long one shows a small change. Each is held to what
stretches of the same length did within the training records, and a feature is told by the stretch
in which it departs most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.bundle.reference_inputs import CategoryReference
from vaeiso_monitor.bundle.reference_stretches import SHARES, Counted
from vaeiso_monitor.detect.stability import largest_gap, stability_index
from vaeiso_monitor.lifecycle.drift_report import FeatureReading, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle.reference_inputs import FeatureReference, InputReference
    from vaeiso_monitor.bundle.reference_stretches import Stretches
    from vaeiso_monitor.lifecycle.drift_config import InputDriftConfig
    from vaeiso_monitor.lifecycle.input_sample import Recent

_MARGIN = 2.0  # times the share that training strayed: the next stretch may stray farther
_FEWEST_PRESENT = 50  # values that a distribution is told from


@dataclass(frozen=True, slots=True, eq=False)
class _Horizon:
    """The latest stretch of some length: counts ``bins`` [f, BINS] and ``shares`` [f, 3]."""

    records: int
    seconds: float
    stretch: int
    bins: NDArray[np.float64]
    shares: NDArray[np.float64]


def compare(
    config: InputDriftConfig, reference: InputReference, recent: Recent, now: float
) -> list[FeatureReading] | None:
    """Return a reading of each feature; None where no stretch is long enough to be judged."""
    horizons = _horizons(config, reference, recent, now)
    if not horizons:
        return None
    found = []
    for f, feature in enumerate(reference.features):
        readings = [_reading(config, reference.stretches, h, f, feature) for h in horizons]
        found.append(max(readings, key=_badness))
    return found


def _horizons(
    config: InputDriftConfig, reference: InputReference, recent: Recent, now: float
) -> list[_Horizon]:
    slots = len(recent.began)
    counted = Counted.of(reference.marks(recent.records), recent.slot, slots)
    lengths = sorted({min(1 << k, slots) for k in range(slots.bit_length() + 1)})
    found = []
    for length in lengths:
        latest = slice(slots - length, slots)
        records = int(counted.records[latest].sum())
        seconds = now - float(recent.began[latest][0])
        stretch = reference.stretches.at(
            _fraction(reference, float(recent.seen[latest].sum()), seconds)
        )
        if records < config.min_records or stretch is None:
            continue
        bins, shares = counted.bins[:, latest].sum(axis=1), counted.shares[:, latest].sum(axis=1)
        found.append(_Horizon(records, seconds, stretch, bins, shares / records))
    return found


def _fraction(reference: InputReference, records: float, seconds: float) -> float:
    """Return how long a stretch is beside the training records, by count and by time.

    Training records may have been thinned, and then say little by their count; what was read at
    full speed from a topic says little by its time. The shorter of the two is on the safe side.
    """
    by_count = records / reference.records
    if not reference.seconds:
        return by_count
    return min(by_count, seconds / reference.seconds)


def _reading(
    config: InputDriftConfig,
    stretches: Stretches,
    horizon: _Horizon,
    f: int,
    feature: FeatureReference,
) -> FeatureReading:
    counts, before = horizon.bins[f, : feature.bins], stretches.counts[f, : feature.bins]
    told = counts.sum() >= _FEWEST_PRESENT and before.sum() >= _FEWEST_PRESENT
    index = float(stability_index(counts, before)) if told else 0.0
    strayed = float(stretches.strayed[f, horizon.stretch])
    psi = Reading("psi", index, 0.0, 0.0, max(config.psi, strayed))
    shares = {
        name: _share(config, stretches, horizon, f, part, name) for part, name in enumerate(SHARES)
    }
    return FeatureReading(
        feature=feature.name,
        psi=psi,
        missing=shares["missing"],
        unseen=shares["unseen"],
        out_of_range=shares["out_of_range"],
        records=horizon.records,
        seconds=horizon.seconds,
        words=_words(feature, counts, before, psi, list(shares.values())),
    )


def _share(
    config: InputDriftConfig,
    stretches: Stretches,
    horizon: _Horizon,
    f: int,
    part: int,
    name: str,
) -> Reading:
    usual = float(stretches.shares[f, part])
    strayed = float(stretches.strayed_shares[f, horizon.stretch, part]) - usual
    high = usual + max(config.share, _MARGIN * strayed)
    return Reading(name, float(horizon.shares[f, part]), usual, 0.0, high)


def _badness(reading: FeatureReading) -> float:
    """Return how far past, or how near to, its limits a feature is: 1 is at one."""
    return max(part.value / part.high for part in reading.readings)


def _words(
    feature: FeatureReference,
    counts: NDArray[np.float64],
    before: NDArray[np.float64],
    psi: Reading,
    shares: Sequence[Reading],
) -> str:
    told = [_SHARE_WORDS[part.name].format(part) for part in shares if part.departed]
    if psi.departed or not told:
        told.insert(0, f"PSI {psi.value:.2g} ({_moved(feature, counts, before)})")
    return f"{feature.name}: {', '.join(told)}"


_SHARE_WORDS = {
    "missing": "missing in {0.value:.0%} (training {0.reference:.1%})",
    "unseen": "unseen values in {0.value:.0%} (training {0.reference:.1%})",
    "out_of_range": "out of the range of training in {0.value:.0%} (training {0.reference:.1%})",
}


def _moved(
    feature: FeatureReference, counts: NDArray[np.float64], before: NDArray[np.float64]
) -> str:
    if isinstance(feature, CategoryReference):
        return _most_changed(feature, counts, before)
    if not len(feature.edges):
        return "one bin"
    edge, above, usual = largest_gap(counts, before)
    unit = f" {feature.unit}" if feature.unit else ""
    return f"{above:.0%} above {feature.edges[edge]:.4g}{unit}, training {usual:.0%}"


def _most_changed(
    feature: CategoryReference, counts: NDArray[np.float64], before: NDArray[np.float64]
) -> str:
    now, usual = (part / max(part.sum(), 1) for part in (counts, before))
    most = int(np.argmax(np.abs(now - usual)))
    own = most < feature.bins - 1
    name = feature.values[most] if own else "other values"
    return f"{name!r} in {now[most]:.0%}, training {usual[most]:.0%}"
