"""What leaves the daemon: alerts, what is said of many of them, and dead letters."""

from vaeiso_monitor.alerts.alert import Alert, Feature, Latent, Membership, Mode, alert_id
from vaeiso_monitor.alerts.config import AlertsConfig, DeadLettersConfig
from vaeiso_monitor.alerts.dead_letter import DeadLetter, dead_letter
from vaeiso_monitor.alerts.drift import DriftAlert
from vaeiso_monitor.alerts.episodes import Episodes, Told
from vaeiso_monitor.alerts.json_schema import message_schema
from vaeiso_monitor.alerts.regime_shift import RegimeAction, RegimeShift
from vaeiso_monitor.alerts.summary import Summary
from vaeiso_monitor.alerts.tally import Blame, Worst
from vaeiso_monitor.alerts.writer import AlertWriter

__all__ = [
    "Alert",
    "AlertWriter",
    "AlertsConfig",
    "Blame",
    "DeadLetter",
    "DeadLettersConfig",
    "DriftAlert",
    "Episodes",
    "Feature",
    "Latent",
    "Membership",
    "Mode",
    "RegimeAction",
    "RegimeShift",
    "Summary",
    "Told",
    "Worst",
    "alert_id",
    "dead_letter",
    "message_schema",
]
