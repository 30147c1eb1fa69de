"""Feedback: a person's verdict on an alert, and what follows from it for training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import structlog

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.history_rows import Verdict

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle.history import AlertHistory
    from vaeiso_monitor.lifecycle.history_rows import AlertedRows
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
        found = self._history.get(alert_id)
        if found is None:
            log.warning("verdict_on_unknown_alert", alert_id=alert_id, verdict=verdict)
            return Judged(alert_id, verdict, False, False, f"no alert {alert_id} is remembered")
        rows = self._history.rows([found.alert_id])
        self._teach(rows, verdict)
        judged = self._history.judge(found.alert_id, verdict, note, self._clock())
        changed = judged is not None and judged.verdict != found.verdict
        if changed:
            log.info("alert_judged", alert_id=found.alert_id, verdict=verdict)
        words = f"alert {found.alert_id} is called {_ARTICLE[verdict]}: {_outcome(rows, verdict)}"
        return Judged(found.alert_id, verdict, True, changed, words)

    def carry_out(self, body: Mapping[str, Any]) -> Judged:
        """Carry out a request (``alert_id``, ``verdict``, ``note``); ValueError if it is none."""
        return self.give(*checked(body))

    def _teach(self, rows: AlertedRows, verdict: Verdict) -> None:
        if not len(rows):
            return
        try:
            if verdict == "normal":
                self._window.admit(rows.records, rows.nats, rows.alert_ids)
            else:
                self._window.withdraw(rows.records)
        except OSError as error:
            msg = f"the window cannot be written: {error.strerror or error}"
            raise TransientError(msg) from error


_ARTICLE: dict[Verdict, str] = {"normal": "normal", "anomaly": "an anomaly"}


def _outcome(rows: AlertedRows, verdict: Verdict) -> str:
    if not len(rows):
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
