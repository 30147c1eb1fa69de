"""The alert: one anomalous record, how rare it is, and why."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from vaeiso_monitor.alerts.words import SCHEMA_VERSION, named, rarity, short_id, shown

if TYPE_CHECKING:
    from vaeiso_monitor.types import Position


_COLUMNS = 43  # characters for a name and a value, or for the names of several columns


class Feature(msgspec.Struct, frozen=True, gc=False):
    """One column's share of the score: its value, what the model expected, and the nats it cost.

    Of ``nats`` the ``extreme_nats`` are for how far from the middle of all the value is.
    """

    name: str
    value: Any
    expected: Any
    nats: float
    unit: str | None = None
    imputed: bool = False
    extreme_nats: float = 0.0


class Latent(msgspec.Struct, frozen=True, gc=False):
    """One latent's share of the score (its rate, KL), and its importance among all (Eq. 22).

    It ``moves`` these columns, the one it moves most first.
    """

    index: int
    nats: float
    importance_ratio: float | None = None
    moves: tuple[str, ...] = ()


class Mode(msgspec.Struct, frozen=True, gc=False):
    """The operating mode of a record: which, its share of normal operation, and what it cost."""

    index: int
    share: float
    nats: float


class Membership(msgspec.Struct, frozen=True, gc=False):
    """The episode that an alert belongs to, and the how-manieth of it this alert is."""

    id: str
    first_event_time: str | None
    count: int


class Alert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One anomalous record; docs/alerts.md describes every field.

    ``nats`` = sum of all feature nats + sum of all latent nats + nats of the mode + the model's
    constant; only the top features and latents are listed. ``anomaly_score`` is 1.0 on the alert
    line. ``mode`` is None for a model without operating modes.
    """

    schema_version: int = SCHEMA_VERSION
    type: str = "alert"
    alert_id: str
    severity: str
    event_time: str | None
    detected_at: str
    source: dict[str, Any]
    entity: dict[str, Any] | None
    record_key: Any
    model: dict[str, Any]
    nats: float
    threshold_nats: float
    anomaly_score: float
    tail_probability: float
    alert_budget: float
    distortion_nats: float
    rate_nats: float
    features: list[Feature]
    latents: list[Latent]
    mode: Mode | None = None
    episode: Membership | None = None
    record: dict[str, Any] | None

    @property
    def key(self) -> bytes:
        """Return the alert's id: the same for a repeat of the same record and bundle."""
        return self.alert_id.encode()

    def to_json(self) -> bytes:
        """Return the alert as one JSON document; what is not finite becomes null."""
        return msgspec.json.encode(self, enc_hook=str)

    def to_text(self) -> str:
        """Return the alert for a terminal: what, when, how rare, and why."""
        who = named(self.entity)
        if not who and self.record_key is not None:
            who = str(self.record_key)
        head = (
            f"{self.severity.upper():8} {self.event_time or self.detected_at}  {who}  "
            f"{self.nats:.1f} nats (alert line {self.threshold_nats:.1f}), "
            f"{rarity(self.tail_probability)}  ({short_id(self.alert_id)})"
        )
        lines = [_feature_line(feature) for feature in self.features[:3]]
        lines += [_latent_line(latent) for latent in self.latents[:1] if self._is_more(latent)]
        if self.mode is not None:
            lines.append(_mode_line(self.mode))
        return "\n".join([head, *(f"    {line}" for line in lines)])

    def _is_more(self, latent: Latent) -> bool:
        """Return whether a latent says more of the score than any column does by itself."""
        return latent.nats > max((feature.nats for feature in self.features), default=0.0)


def alert_id(position: Position, version: str) -> str:
    """Return the id of an alert: a hash of where the record was read and of who scored it."""
    return hashlib.sha256(f"{position}|{version}".encode()).hexdigest()[:32]


def _feature_line(feature: Feature) -> str:
    unit = f" {feature.unit}" if feature.unit else ""
    value = "missing" if feature.imputed else f"{shown(feature.value)}{unit}"
    expected = f"expected {shown(feature.expected)}{unit if feature.expected is not None else ''}"
    return f"{feature.name:24} {value:>18}   {expected:28} {feature.nats:+8.1f} nats"


def _latent_line(latent: Latent) -> str:
    columns = ", ".join(latent.moves) or "latent"
    if len(columns) > _COLUMNS:
        columns = f"{columns[: _COLUMNS - 1]}…"
    together = "" if len(latent.moves) == 1 else " together"
    what = f"unusual{together} (latent {latent.index})"
    return f"{columns:{_COLUMNS}}   {what:28} {latent.nats:+8.1f} nats"


def _mode_line(mode: Mode) -> str:
    share = f"{100 * mode.share:.2g} % of normal operation"
    return f"{'operating mode':24} {mode.index:>18}   {share:28} {mode.nats:+8.1f} nats"
