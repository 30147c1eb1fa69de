"""From a score in nats to a decision: the threshold, the tail probability, the severity."""

from vaeiso_monitor.detect.clusters import extremal_index
from vaeiso_monitor.detect.pareto import Pareto, fit_pareto
from vaeiso_monitor.detect.threshold import (
    CRITICAL_SCORE,
    RESOLVING_EXCEEDANCES,
    Severity,
    Threshold,
    calibrate,
    critical,
    severity,
)

__all__ = [
    "CRITICAL_SCORE",
    "RESOLVING_EXCEEDANCES",
    "Pareto",
    "Severity",
    "Threshold",
    "calibrate",
    "critical",
    "extremal_index",
    "fit_pareto",
    "severity",
]
