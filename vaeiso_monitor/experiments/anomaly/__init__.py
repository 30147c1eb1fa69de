"""Anomaly detection (section 5.3): Table 3 from scratch, the VAE beside the other systems."""

from vaeiso_monitor.experiments.anomaly.data import DATASETS, DEFAULT_CACHE
from vaeiso_monitor.experiments.anomaly.report import AnomalyTable, run_anomaly
from vaeiso_monitor.experiments.anomaly.series import AnomalyConfig, Tell
from vaeiso_monitor.experiments.anomaly.systems import METHODS

__all__ = [
    "DATASETS",
    "DEFAULT_CACHE",
    "METHODS",
    "AnomalyConfig",
    "AnomalyTable",
    "Tell",
    "run_anomaly",
]
