"""The regime shift: so many alerts for so long that normal itself seems to have changed."""

from __future__ import annotations

from typing import Literal

import msgspec

from vaeiso_monitor.alerts.words import SCHEMA_VERSION, lasting

RegimeAction = Literal["alert", "adopt"]


class RegimeShift(msgspec.Struct, frozen=True, kw_only=True):
    """An alert about the whole stream: its alert rate is far above budget, or is so no longer.

    One is sent when a shift starts and one with the same ``regime_id`` when it ends.
    ``alert_rate`` is the share of anomalies among ``records``: while the shift was being noticed
    (started), or since it started (ended). ``action`` is what the config wants to be done.
    """

    schema_version: int = SCHEMA_VERSION
    type: str = "regime_shift"
    regime_id: str
    status: Literal["started", "ended"]
    started_at: str
    detected_at: str
    duration_seconds: float
    alert_rate: float
    alert_budget: float
    records: int
    anomalies: int
    action: RegimeAction

    @property
    def key(self) -> bytes:
        """Return the id and the status: a repeat has the same."""
        return f"{self.regime_id}:{self.status}".encode()

    def to_json(self) -> bytes:
        """Return the message as one JSON document."""
        return msgspec.json.encode(self)

    def to_text(self) -> str:
        """Return the message for a terminal: what changed, and what happens now."""
        lines = self._started() if self.status == "started" else self._ended()
        return "\n".join([f"REGIME   {self.detected_at}  {lines[0]}", f"    {lines[1]}"])

    def _started(self) -> tuple[str, str]:
        times = self.alert_rate / self.alert_budget
        remedy = (
            "it will be adopted as the new normal"
            if self.action == "adopt"
            else "if this is the new normal: vaeiso-monitor retrain; if not, look for a fault"
        )
        return (
            f"normal seems to have changed: {self.alert_rate:.1%} of the records are anomalies, "
            f"{times:,.0f} times the budget, for {lasting(self.duration_seconds)}",
            f"{self.anomalies:,} of {self.records:,} records since {self.started_at}; {remedy}",
        )

    def _ended(self) -> tuple[str, str]:
        return (
            f"back to normal after {lasting(self.duration_seconds)}",
            f"{self.anomalies:,} of {self.records:,} records were anomalies since "
            f"{self.started_at} ({self.alert_rate:.1%})",
        )
