"""Panels that stand on more than one dashboard."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table

from deploy.grafana.source.style import ORANGE, RED, Text
from deploy.grafana.source.tables import Column, sheet

FIRING = Text(
    "What the alert rules say",
    "Rules of `vaeiso-monitor rules` that fire now, the worst first. Empty is good, provided that "
    "Prometheus has loaded them: it lists them under Status, Rules. Each has a runbook.",
    "runbooks.md",
)
_RULES = 'max by (alertname, severity, instance) (ALERTS{alertstate="firing", job=~"$job"})'


def firing() -> table.Panel:
    """Return the table of the rules that fire."""
    colours = {"critical": RED, "warning": ORANGE}
    words = {name: (name, colour) for name, colour in colours.items()}
    columns = [
        Column("severity", "Severity", cell="background", words=words, width=120),
        Column("alertname", "Rule", width=300),
        Column("instance", "Daemon", cell="link", url="http://${__value.raw}/"),
    ]
    return sheet(FIRING, [_RULES], columns, order=("Severity", False), nothing="no rule fires")
