"""What a check of the ruler or of the inputs found: figures, a verdict and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vaeiso_monitor.lifecycle.drift_config import DriftAction


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity beside its reference; ``low`` to ``high`` is what chance and size allow.

    ``excess`` is how far the value lies outside of that, 0 inside.
    """

    name: str
    value: float
    reference: float
    low: float
    high: float

    @property
    def excess(self) -> float:
        """Distance past the nearer limit, infinite for a value that is no number."""
        if math.isnan(self.value):
            return math.inf
        return max(self.value - self.high, self.low - self.value, 0.0)

    @property
    def departed(self) -> bool:
        """Whether the value lies outside of what is allowed."""
        return self.excess > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, what is derived included."""
        return {**asdict(self), "excess": self.excess, "departed": self.departed}


@dataclass(frozen=True, slots=True)
class LatentReading:
    """One latent of the serving model on recent records: its norm and its off-diagonal."""

    latent: int
    meaningful: bool
    kl_nats: float
    norm: Reading
    orthogonality: Reading

    @property
    def departed(self) -> bool:
        """Whether the latent meant something in training and is bent."""
        return self.meaningful and (self.norm.departed or self.orthogonality.departed)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "latent": self.latent,
            "meaningful": self.meaningful,
            "kl_nats": self.kl_nats,
            "norm": self.norm.to_dict(),
            "orthogonality": self.orthogonality.to_dict(),
            "departed": self.departed,
        }


@dataclass(frozen=True, slots=True)
class FeatureReading:
    """One feature of the recent records against the training records.

    ``psi`` is the population stability index. The others are shares of the records. Each is of the
    stretch of time in ``seconds`` in which the feature departs most. ``words`` says what moved.
    """

    feature: str
    psi: Reading
    missing: Reading
    unseen: Reading
    out_of_range: Reading
    records: int
    seconds: float
    words: str

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All four figures."""
        return self.psi, self.missing, self.unseen, self.out_of_range

    @property
    def departed(self) -> bool:
        """Whether one of the figures is outside of what is allowed."""
        return any(reading.departed for reading in self.readings)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "feature": self.feature,
            **{reading.name: reading.to_dict() for reading in self.readings},
            "records": self.records,
            "seconds": self.seconds,
            "departed": self.departed,
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks so far amount to.

    ``judged`` is False where there was no reference or too little to measure, and ``sentence`` says
    why. ``departed`` is this check alone; ``drifted`` means that ``departures`` of the last checks
    are enough. ``began`` and ``ended`` are True in the one check where ``drifted`` changed.
    ``action`` is what the config asks for, "none" unless drifted.
    """

    judged: bool
    departed: bool
    departures: int
    drifted: bool
    began: bool
    ended: bool
    action: DriftAction
    sentence: str


@dataclass(frozen=True, slots=True)
class IsometryDriftReport:
    """The serving model measured on recent normal records, against its training.

    ``altered`` is True where it measures otherwise on its own reference records too: then the
    weights are no longer those that were trained. None where it could not be told.
    """

    checked_at: float
    version: str
    records: int
    verdict: Verdict
    altered: bool | None
    quantities: Sequence[Reading]
    latents: Sequence[LatentReading]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it: what is not a finite number becomes null."""
        found = {
            "altered": self.altered,
            "quantities": {reading.name: reading.to_dict() for reading in self.quantities},
            "latents": [latent.to_dict() for latent in self.latents],
        }
        return dict(_finite(_head(self) | found))


@dataclass(frozen=True, slots=True)
class InputDriftReport:
    """Each feature of recent records against the training records of the serving model.

    ``drifted_features`` have departed in enough checks, the one that moved most first.
    """

    checked_at: float
    version: str
    records: int
    verdict: Verdict
    drifted_features: Sequence[str]
    features: Sequence[FeatureReading]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it: what is not a finite number becomes null."""
        features = [feature.to_dict() for feature in self.features]
        found = {"drifted_features": list(self.drifted_features), "features": features}
        return dict(_finite(_head(self) | found))


def _head(report: IsometryDriftReport | InputDriftReport) -> dict[str, Any]:
    return {
        "checked_at": report.checked_at,
        "version": report.version,
        "records": report.records,
        **asdict(report.verdict),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
