"""What the program says about itself: metrics, the status, and the log."""

from vaeiso_monitor.telemetry.catalogue import METRICS, Metric
from vaeiso_monitor.telemetry.episodes import EpisodesTelemetry
from vaeiso_monitor.telemetry.limits import cpu_limit_cores, memory_limit_bytes
from vaeiso_monitor.telemetry.logs import LoggingConfig, configure_logging
from vaeiso_monitor.telemetry.overview import OverviewTelemetry
from vaeiso_monitor.telemetry.regime import RegimeTelemetry
from vaeiso_monitor.telemetry.status import Counts, ModelFacts, Partition, Scored, State, Status
from vaeiso_monitor.telemetry.telemetry import Telemetry

__all__ = [
    "METRICS",
    "Counts",
    "EpisodesTelemetry",
    "LoggingConfig",
    "Metric",
    "ModelFacts",
    "OverviewTelemetry",
    "Partition",
    "RegimeTelemetry",
    "Scored",
    "State",
    "Status",
    "Telemetry",
    "configure_logging",
    "cpu_limit_cores",
    "memory_limit_bytes",
]
