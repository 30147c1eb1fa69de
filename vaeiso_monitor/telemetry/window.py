"""What the window holds for training, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaeiso_monitor.telemetry.series import Labels, Series


class WindowTelemetry:
    """The facts about the window; reached as ``Telemetry.window``."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._set_aside: dict[str, int] = {}

    def stands(
        self,
        *,
        rows: Mapping[str, int],
        size_bytes: int,
        oldest: float | None,
        set_aside: Mapping[str, int],
    ) -> None:
        """Say what is on disk: rows by kind, bytes, the oldest row's time (Unix time).

        ``set_aside`` counts the segments that could not be used since the start, by reason.
        """
        shown: dict[Labels, float] = {(kind,): float(count) for kind, count in rows.items()}
        self._series.replace(metrics.WINDOW_ROWS, shown)
        self._series.set(metrics.WINDOW_BYTES, size_bytes)
        self._series.replace(metrics.WINDOW_OLDEST, {} if oldest is None else {(): oldest})
        for reason, count in set_aside.items():
            rise = count - self._set_aside.get(reason, 0)
            self._series.add(metrics.WINDOW_SET_ASIDE, rise, reason)
        self._set_aside = dict(set_aside)

    def not_written(self) -> None:
        """Say that the window could not be written."""
        self._series.add(metrics.WINDOW_ERRORS, 1)
