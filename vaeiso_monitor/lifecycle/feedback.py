"""Feedback: a person's verdict on an alert, and what follows from it for training."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import structlog

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.history_rows import Verdict

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle.history import AlertHistory
    from vaeiso_monitor.lifecycle.history_rows import StoredAlert
    from vaeiso_monitor.lifecycle.window import Window

log = structlog.get_logger(__name__)

MAX_NOTE = 2000
_MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a verdict: is the alert known, is the verdict a new one, and all in words."""

    alert_id: str
    verdict: Verdict
    known: bool
    changed: bool
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


class Feedback:
    """Puts verdicts on alerts, and takes their records into the window or keeps them out.

    The window comes first and the verdict second, and both may be done again: a verdict that was
    cut short by a crash is completed when it is given once more.
    """

    def __init__(
        self, history: AlertHistory, window: Window, clock: Callable[[], float] = time.time
    ) -> None:
        self._history = history
        self._window = window
        self._clock = clock

    def give(self, alert_id: str, verdict: Verdict, note: str = "") -> Judged:
        """Judge an alert, named by its id or the beginning of it; the last verdict stands.

        Raises TransientError where the disk refuses.
        """
        return self.give_all([(alert_id, verdict, note)])[0]

    def give_all(self, verdicts: Sequence[tuple[str, Verdict, str]]) -> list[Judged]:
        """Judge many alerts (id, verdict, note) with few writes to the disk, in their order."""
        found = [self._history.get(alert_id) for alert_id, _, _ in verdicts]
        last = {
            alert.alert_id: given for alert, given in zip(found, verdicts, strict=True) if alert
        }
        taught = {
            alert_id
            for verdict in get_args(Verdict)
            for alert_id in self._teach([i for i, g in last.items() if g[1] == verdict], verdict)
        }
        now = self._clock()
        self._history.judge_all([(i, verdict, note) for i, (_, verdict, note) in last.items()], now)
        return [_judged(alert, given, taught) for alert, given in zip(found, verdicts, strict=True)]

    def _teach(self, alert_ids: Sequence[str], verdict: Verdict) -> Sequence[str]:
        """Let the window learn what these alerts are; return those whose records it can hold."""
        rows = self._history.rows(alert_ids)
        if not len(rows):
            return ()
        try:
            if verdict == "normal":
                self._window.admit(rows.records, rows.nats, rows.alert_ids)
            else:
                self._window.withdraw(rows.records)
        except OSError as error:
            msg = f"the window cannot be written: {error.strerror or error}"
            raise TransientError(msg) from error
        return rows.alert_ids


def _judged(
    alert: StoredAlert | None, given: tuple[str, Verdict, str], taught: Container[str]
) -> Judged:
    alert_id, verdict, _ = given
    if alert is None:
        log.warning("verdict_on_unknown_alert", alert_id=alert_id, verdict=verdict)
        return Judged(alert_id, verdict, False, False, f"no alert {alert_id} is remembered")
    if changed := alert.verdict != verdict:
        log.info("alert_judged", alert_id=alert.alert_id, verdict=verdict)
    outcome = _outcome(verdict, taught=alert.alert_id in taught)
    words = f"alert {alert.alert_id} is called {_ARTICLE[verdict]}: {outcome}"
    return Judged(alert.alert_id, verdict, True, changed, words)


_ARTICLE: dict[Verdict, str] = {"normal": "normal", "anomaly": "an anomaly"}


def _outcome(verdict: Verdict, *, taught: bool) -> str:
    if not taught:
        return "its record was of another schema, so no training is affected"
    if verdict == "normal":
        return "the next training learns from its record"
    return "no training learns from its record"


def checked(body: Mapping[str, Any]) -> tuple[str, Verdict, str]:
    """Return alert id, verdict and note of a request; ValueError in words where it is wrong."""
    if unknown := set(body) - {"alert_id", "verdict", "note"}:
        msg = f"unknown fields {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    alert_id, verdict, note = body.get("alert_id"), body.get("verdict"), body.get("note") or ""
    if not isinstance(alert_id, str) or not 0 < len(alert_id) <= _MAX_ID:
        msg = f"alert_id is a text of 1 to {_MAX_ID} characters"
        raise ValueError(msg)
    if verdict not in get_args(Verdict):
        msg = f"verdict is one of {', '.join(get_args(Verdict))}"
        raise ValueError(msg)
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        msg = f"note is a text of at most {MAX_NOTE} characters"
        raise ValueError(msg)
    return alert_id, "normal" if verdict == "normal" else "anomaly", note
