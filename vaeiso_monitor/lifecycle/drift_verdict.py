"""From the departures of single checks to a drift: size first, then persistence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaeiso_monitor.lifecycle.drift_config import InputDriftConfig, IsometryDriftConfig
from vaeiso_monitor.lifecycle.drift_history import DriftHistory, DriftKind
from vaeiso_monitor.lifecycle.drift_report import Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found before anything is made of it: names that departed, and figures."""

    kind: DriftKind
    version: str
    at: float
    departed: Sequence[str]
    figures: Mapping[str, float]


def settle(
    config: IsometryDriftConfig | InputDriftConfig,
    history: DriftHistory,
    found: Found,
    *,
    together: bool,
) -> tuple[Verdict, list[str]]:
    """Keep one check in the history; return the verdict without its words, and what has drifted.

    ``together``: any departure counts with any other, as those of one ruler do; else each name has
    to depart again by itself. Checks of another bundle do not count.
    """
    last = history.checks(found.kind)[-1:]
    earlier = history.checks(found.kind, found.version)[-config.of_checks :][1 - config.of_checks :]
    checks = [check["departed"] for check in earlier if config.of_checks > 1]
    drifted = _persistent([*checks, list(found.departed)], config.persistence, together=together)
    was = bool(last and last[0]["drifted"])
    verdict = Verdict(
        judged=True,
        departed=bool(found.departed),
        departures=sum(map(bool, [*checks, found.departed])),
        drifted=bool(drifted),
        began=bool(drifted) and not was,
        ended=was and not drifted,
        action=config.action if drifted else "none",
        sentence="",
    )
    history.keep(found.kind, _document(found, drifted))
    return verdict, drifted


def not_judged(why: str) -> Verdict:
    """Return the verdict of a check that could not be made; it counts for nothing."""
    return Verdict(
        judged=False,
        departed=False,
        departures=0,
        drifted=False,
        began=False,
        ended=False,
        action="none",
        sentence=why,
    )


def log_level(verdict: Verdict) -> str:
    """Return how loud a check is: a warning where a drift begins, else what debugging wants."""
    if verdict.began:
        return "warning"
    return "info" if verdict.departed or verdict.ended else "debug"


def _persistent(checks: Sequence[Sequence[str]], persistence: int, *, together: bool) -> list[str]:
    names = list(dict.fromkeys(name for check in reversed(checks) for name in check))
    if together:
        return names if sum(map(bool, checks)) >= persistence else []
    return [name for name in names if sum(name in check for check in checks) >= persistence]


def _document(found: Found, drifted: list[str]) -> dict[str, Any]:
    return {
        "at": found.at,
        "version": found.version,
        "departed": list(found.departed),
        "drifted": drifted,
        "figures": {name: value for name, value in found.figures.items() if math.isfinite(value)},
    }
