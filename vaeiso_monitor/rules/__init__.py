"""Alert rules for Prometheus, written from the config so that they never contradict it."""

from vaeiso_monitor.rules.document import Format, to_yaml
from vaeiso_monitor.rules.rule import Group, LeftOut, Options, Rule
from vaeiso_monitor.rules.rulebook import rulebook

__all__ = ["Format", "Group", "LeftOut", "Options", "Rule", "rulebook", "to_yaml"]
