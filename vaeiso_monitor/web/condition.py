"""The state of the model and of its stream, and in words what is wrong right now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from vaeiso_monitor.telemetry import State, Status

_NAMES = 5
_DRIFTS = {"isometry": "the ruler bent", "inputs": "the inputs moved"}


class Drift(msgspec.Struct, frozen=True):
    """What the last check of a kind found, for the serving model; ``names`` are what drifted."""

    checked_at: str
    drifted: bool
    names: list[str]
    words: str


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong right now, in words; ``since`` in ISO 8601 where it is known."""

    severity: Literal["warning", "critical"]
    text: str
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known beside the status: the regime, the drift, the latest verdict of the gate."""

    regime_shift: Mapping[str, Any] | None = None
    drift: Mapping[Literal["isometry", "inputs"], Drift] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    config_refused: bool = False
    restart_needed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the parts of a status document."""
        return {
            "regime_shift": self.regime_shift,
            "drift": {kind: self.drift.get(kind) for kind in ("isometry", "inputs")},
            "verdict": self.verdict,
        }


def drift_of(kind: str, check: Mapping[str, Any]) -> Drift:
    """Return one check of the drift history (``at``, ``drifted``) for a person."""
    names = list(check["drifted"])
    listed = ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
    words = f"{_DRIFTS[kind]}: {listed}" if names else "no drift"
    at = datetime.fromtimestamp(check["at"], UTC).isoformat(timespec="milliseconds")
    return Drift(at, bool(names), names, words)


def problems(status: Status, condition: Condition, stall_seconds: float) -> list[Problem]:
    """Return what is wrong right now, the worst first; empty while all is well."""
    found = [*_of_the_daemon(status, stall_seconds), *_of_the_model(status, condition)]
    return sorted(found, key=lambda problem: problem.severity)  # critical before warning


def _of_the_daemon(status: Status, stall_seconds: float) -> list[Problem]:
    found = []
    if status.state is State.FAILED:
        found += [Problem("critical", reason) for reason in status.reasons]
    elif status.heartbeat_age_seconds > stall_seconds:
        since = _iso(status.heartbeat_at)
        age = f"{status.heartbeat_age_seconds:.0f}"
        found.append(Problem("critical", f"the loop has made no turn for {age} seconds", since))
    for what, peers in (("source", status.sources), ("sink", status.sinks)):
        found += [
            Problem("critical", f"{what} {name} is not connected") for name, up in peers if not up
        ]
    return found


def _of_the_model(status: Status, condition: Condition) -> list[Problem]:
    found = []
    if (shift := condition.regime_shift) is not None:
        rate = f"{shift['alert_rate']:.1%}"
        text = f"normal seems to have changed: {rate} of the records are anomalies"
        found.append(Problem("critical", text, shift["started_at"]))
    drifts = (drift for drift in condition.drift.values() if drift.drifted)
    found += [Problem("warning", drift.words) for drift in drifts]
    last = status.retrain.last or {}
    if last.get("status") == "failed":
        text = f"the last training failed: {last['words']}"
        found.append(Problem("warning", text, _iso(last["at"])))
    if status.model is not None and status.model.threshold_note:
        found.append(Problem("warning", status.model.threshold_note))
    if condition.config_refused:
        found.append(Problem("warning", "the changed config file is not valid: the log says why"))
    if condition.restart_needed:
        found.append(Problem("warning", "the config file changed in keys that need a restart"))
    return found


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")
