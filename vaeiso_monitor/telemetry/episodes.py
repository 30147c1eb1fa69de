"""What became of the alerts: episodes begun, alerts held back for a summary, floods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from vaeiso_monitor.telemetry.series import Series


class EpisodesTelemetry:
    """The facts about episodes; reached as ``Telemetry.episodes``."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def told(self, begun: int, cooled: int, flooded: int) -> None:
        """Say how many episodes began in a batch, and how many alerts wait for a summary."""
        self._series.together(
            [
                (metrics.EPISODES_BEGUN, (), begun),
                (metrics.ALERTS_SUPPRESSED, ("cooldown",), cooled),
                (metrics.ALERTS_SUPPRESSED, ("flood",), flooded),
            ]
        )

    def stand(self, open_: int, *, flooding: bool) -> None:
        """Say how many episodes go on, and whether they are a flood."""
        self._series.set(metrics.EPISODES_OPEN, open_)
        self._series.set(metrics.ALERT_FLOOD, float(flooding))
