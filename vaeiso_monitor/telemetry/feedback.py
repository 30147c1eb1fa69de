"""The alerts that are remembered and what people said about them, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry.series import Labels, Series


class FeedbackTelemetry:
    """The facts about the alert history and its verdicts; reached as ``Telemetry.feedback``."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def remembered(self, alerts: int) -> None:
        """Say how many alerts the history holds."""
        self._series.set(metrics.HISTORY_ALERTS, alerts)

    def not_remembered(self, alerts: int, reason: str) -> None:
        """Say how many alerts were sent but not stored: ``flood`` or ``error``."""
        self._series.add(metrics.HISTORY_SKIPPED, alerts, reason)

    def judged(self, normal: int, anomaly: int) -> None:
        """Say how many of the alerts remembered were called what, and so how many are true."""
        total = normal + anomaly
        verdicts: dict[Labels, float] = {("normal",): normal, ("anomaly",): anomaly}
        precision: dict[Labels, float] = {(): anomaly / total} if total else {}
        self._series.replace(metrics.FEEDBACK_VERDICTS, verdicts)
        self._series.replace(metrics.FEEDBACK_PRECISION, precision)
