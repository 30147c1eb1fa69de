"""Whether normal itself has changed, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry.series import Series


class RegimeTelemetry:
    """The facts about regime shifts; reached as ``Telemetry.regime``."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def watching(self, line: float, *, shifted: bool) -> None:
        """Say above which alert rate the stream counts as shifted, and whether it is."""
        self._series.set(metrics.REGIME_LINE, line)
        self._series.set(metrics.REGIME_SHIFT, float(shifted))

    def started(self) -> None:
        """Say that a shift has started."""
        self._series.add(metrics.REGIME_SHIFTS, 1)
        self._series.set(metrics.REGIME_SHIFT, 1.0)

    def ended(self) -> None:
        """Say that it is over."""
        self._series.set(metrics.REGIME_SHIFT, 0.0)
