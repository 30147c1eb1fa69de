"""What a rule is: data, from which the file for Prometheus and the tests are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert: when ``expr`` has held for ``for_seconds``, and what is said to a person then.

    ``summary`` and ``description`` may hold Prometheus templates. A critical alert is worth being
    woken for, a warning is worth a look within the day.
    """

    name: str
    severity: Severity
    expr: str
    for_seconds: float
    summary: str
    description: str

    @property
    def anchor(self) -> str:
        """The heading's anchor in docs/runbooks.md."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule that this config has no use for, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that belong together; ``left_out`` are those that this config has no use for."""

    name: str
    rules: Sequence[Rule]
    left_out: Sequence[LeftOut]


@dataclass(frozen=True, slots=True)
class Options:
    """What the config does not say: how Prometheus calls the daemon, and where the runbooks are.

    ``job`` is the job label that the scrape gives it. ``without`` names rules that are not wanted,
    ``labels`` are put on every alert. ``speed`` divides all waiting times and windows, for a trial.
    """

    job: str = "vaeiso-monitor"
    runbooks: str = "docs/runbooks.md"
    without: frozenset[str] = frozenset()
    labels: dict[str, str] = field(default_factory=dict)
    speed: float = 1.0
