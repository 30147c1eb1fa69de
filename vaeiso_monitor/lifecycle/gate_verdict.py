"""What the gate found: whether a candidate may serve, why, and every figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a candidate: its answer in words, and the figures behind it.

    A check that is ``waived`` was made and does not count.
    """

    name: str
    passed: bool
    words: str
    figures: Mapping[str, float] = field(default_factory=dict)
    waived: bool = False


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's verdict on a candidate beside the champion, made at ``judged_at`` (Unix time).

    ``adopted`` means that a change of regime was to be adopted: then the checks that hold the
    candidate to the old one are waived. ``over_line`` records that the candidate learned from had
    lain over the alert line: see :class:`~vaeiso_monitor.lifecycle.ledger.Ledger`.
    """

    candidate: str
    champion: str
    judged_at: float
    adopted: bool
    checks: Sequence[Check]
    over_line: int = 0

    @property
    def accepted(self) -> bool:
        """Whether every check that counts was passed."""
        return all(check.passed or check.waived for check in self.checks)

    @property
    def figures(self) -> dict[str, float]:
        """All figures of all checks, by name."""
        return {name: value for check in self.checks for name, value in check.figures.items()}

    @property
    def sentence(self) -> str:
        """The verdict in one sentence: what spoke against it, or that nothing did."""
        against = [check.words for check in self.checks if not check.passed and not check.waived]
        waived = [check.name for check in self.checks if check.waived]
        but = f" (waived to adopt a new regime: {', '.join(waived)})" if waived else ""
        if self.over_line:
            but += f"; {self.over_line:,} of its records had lain over the alert line"
        if against:
            return f"rejected: {'; '.join(against)}{but}"
        return f"accepted: it passed {len(self.checks) - len(waived)} checks{but}"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON takes it: what is not a finite number becomes null."""
        return {
            "accepted": self.accepted,
            "sentence": self.sentence,
            "candidate": self.candidate,
            "champion": self.champion,
            "judged_at": datetime.fromtimestamp(self.judged_at, UTC).isoformat(),
            "adopted": self.adopted,
            "over_line": self.over_line,
            "checks": [_check(check) for check in self.checks],
        }


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "waived": check.waived,
        "words": check.words,
        "figures": {n: v if math.isfinite(v) else None for n, v in check.figures.items()},
    }
