"""Reading the alert history: by the daemon that writes it, or by another process beside it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import msgspec

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.history_rows import (
    Page,
    Precision,
    RecordRow,
    StoredAlert,
    Verdict,
)

FILE = "alerts.sqlite"
_WAIT_SECONDS = 5.0
_ALERT = "number, alert_id, stored_at, document, verdict, note, judged_at"
_GET = f"SELECT {_ALERT} FROM alerts WHERE alert_id = ?"  # noqa: S608  # nothing from outside
_RECORD = "alert_id, stored_at, nats, numbers, categories"


class HistoryReader:
    """Questions to ``<folder>/alerts.sqlite``, which must exist; any thread may ask them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        self._lock = Lock()
        with self._answered():
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=_WAIT_SECONDS, check_same_thread=False
            )

    def get(self, alert_id: str) -> StoredAlert | None:
        """Return one alert by its id or a beginning of it that no other has."""
        found = self.beginning_with(alert_id)
        if alert_id not in found and len(found) != 1:
            return None
        rows = self._ask(_GET, found[0])
        return next(map(_stored, rows), None)

    def beginning_with(self, text: str, limit: int = 3) -> list[str]:
        """Return up to ``limit`` ids that begin with ``text``, the exact one first."""
        rows = self._ask(
            "SELECT alert_id FROM alerts WHERE alert_id >= ? AND alert_id < ? "
            "ORDER BY alert_id LIMIT ?",
            text,
            text + "\U0010ffff",
            limit,
        )
        return [row[0] for row in rows]

    def page(
        self,
        limit: int = 50,
        before: int | None = None,
        severity: str | None = None,
        entity: str | None = None,
        verdict: Verdict | Literal["none"] | None = None,
        since: float | None = None,
    ) -> Page:
        """Return alerts newest first, those stored before the number ``before``.

        ``entity`` is its name as text; ``verdict`` "none" asks for those that no one judged;
        ``since`` (Unix time) for those stored then or later.
        """
        wanted: dict[str, Any] = {
            "number < ?": before,
            "severity = ?": severity,
            "entity = ?": entity,
            "stored_at >= ?": since,
        }
        if verdict == "none":
            conditions = ["verdict IS NULL"]
        else:
            conditions = []
            wanted["verdict = ?"] = verdict
        conditions += [text for text, value in wanted.items() if value is not None]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._ask(
            f"SELECT {_ALERT} FROM alerts {where} ORDER BY number DESC LIMIT ?",  # noqa: S608  # no value is in it
            *(value for value in wanted.values() if value is not None),
            limit + 1,
        )
        alerts = [_stored(row) for row in rows[:limit]]
        return Page(alerts, alerts[-1].number if len(rows) > limit and alerts else None)

    def precision(self) -> Precision:
        """Return how many of the alerts kept were judged, and how many of them confirmed."""
        rows = self._ask(
            "SELECT count(*), coalesce(sum(verdict = 'anomaly'), 0) FROM alerts "
            "WHERE verdict IS NOT NULL"
        )
        return Precision(*rows[0])

    def recent(
        self,
        columns: str,
        limit: int,
        before: float | None = None,
        severity: str | None = None,
    ) -> list[RecordRow]:
        """Return the latest records of these columns that no one called normal, oldest first."""
        rows = self._ask(
            f"SELECT {_RECORD} FROM alerts WHERE columns = ? AND verdict IS NOT 'normal' "  # noqa: S608
            "AND stored_at < ? AND severity = coalesce(?, severity) ORDER BY number DESC LIMIT ?",
            columns,
            math.inf if before is None else before,
            severity,
            limit,
        )
        return [RecordRow(*row) for row in reversed(rows)]

    def of(self, columns: str, alert_ids: Sequence[str]) -> list[RecordRow]:
        """Return the records of these columns behind some alerts, oldest first."""
        marks = ", ".join("?" * len(alert_ids))
        rows = self._ask(
            f"SELECT {_RECORD} FROM alerts WHERE columns = ? AND alert_id IN ({marks}) "  # noqa: S608
            "ORDER BY number",
            columns,
            *alert_ids,
        )
        return [RecordRow(*row) for row in rows]

    def extent(self) -> tuple[int, int]:
        """Return how many alerts there are, and their bytes."""
        rows = self._ask("SELECT count(*), coalesce(sum(size), 0) FROM alerts")
        return rows[0][0], rows[0][1]

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _ask(self, question: str, *values: Any) -> list[Any]:
        with self._lock, self._answered():
            return self._connection.execute(question, values).fetchall()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            msg = f"{self._path} cannot be read: {error}"
            raise TransientError(msg) from error


def _stored(row: tuple[Any, ...]) -> StoredAlert:
    number, alert_id, stored_at, document, verdict, note, judged_at = row
    decoded = msgspec.json.decode(document, type=dict[str, Any])
    return StoredAlert(number, alert_id, stored_at, decoded, verdict, note, judged_at)
