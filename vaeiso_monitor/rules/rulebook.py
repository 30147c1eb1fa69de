"""All rules of a config, group by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.rules import anomalies, model, process, stream
from vaeiso_monitor.rules.rule import Group, LeftOut, Options, Rule
from vaeiso_monitor.rules.terms import Terms

if TYPE_CHECKING:
    from vaeiso_monitor.settings import Settings

_GROUPS: tuple[tuple[str, Callable[[Terms], Sequence[Rule | LeftOut]]], ...] = (
    ("process", process.rules),
    ("stream", stream.rules),
    ("anomalies", anomalies.rules),
    ("model", model.rules),
)


def rulebook(settings: Settings, options: Options) -> tuple[Group, ...]:
    """Return the rules for a daemon that runs with ``settings``.

    Raises ConfigError where it serves no metrics, or where an option names no rule.
    """
    if not settings.server.enabled:
        msg = "server.enabled = false: there are no metrics to write rules for; set it to true"
        raise ConfigError(msg)
    terms = Terms(settings, options)
    found = [(name, make(terms)) for name, make in _GROUPS]
    known = {each.name for _, rules in found for each in rules}
    if unknown := sorted(options.without - known):
        msg = f"there is no rule {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        raise ConfigError(msg)
    return tuple(_group(name, rules, options) for name, rules in found)


def _group(name: str, found: Sequence[Rule | LeftOut], options: Options) -> Group:
    rules = [each for each in found if isinstance(each, Rule) and each.name not in options.without]
    left_out = [each for each in found if isinstance(each, LeftOut)]
    left_out += [LeftOut(each.name, "not wanted") for each in found if each.name in options.without]
    return Group(f"vaeiso-monitor-{name}", rules, left_out)
