"""The alerts that were raised lately, and what people said about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import structlog

from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle.history_config import HistoryConfig
from vaeiso_monitor.lifecycle.history_file import open_history
from vaeiso_monitor.lifecycle.history_flood import Allowance, worst_of
from vaeiso_monitor.lifecycle.history_reader import HistoryReader
from vaeiso_monitor.lifecycle.history_rows import (
    AlertedRows,
    Page,
    Precision,
    StoredAlert,
    Verdict,
    alerted_rows,
    as_stored,
)
from vaeiso_monitor.lifecycle.window_rows import Layout

if TYPE_CHECKING:
    from vaeiso_monitor.alerts import Alert
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.telemetry.feedback import FeedbackTelemetry
    from vaeiso_monitor.types import Records

log = structlog.get_logger(__name__)

_AT_ONCE = 1000  # rows that are forgotten in one step
_INSERT = """
INSERT OR IGNORE INTO alerts
(alert_id, stored_at, severity, entity, nats, columns, size, numbers, categories, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_JUDGE = """
UPDATE alerts SET verdict = ?, note = ?, judged_at = ?
WHERE alert_id = ? AND (verdict IS NOT ? OR note IS NOT ?)
"""
_FORGET = {
    "unjudged": """
        SELECT number FROM alerts WHERE verdict IS NULL
        AND number <= (SELECT max(number) FROM alerts) - ? ORDER BY number LIMIT ?
    """,
    "any": "SELECT number FROM alerts ORDER BY number LIMIT ?",
    "old": "SELECT number FROM alerts WHERE stored_at < ? LIMIT ?",
}


class AlertHistory:
    """Remembers alerts in ``<folder>/alerts.sqlite``, within bounds of number, bytes and age.

    Alerts that no one judged are forgotten first. In a flood the worst of each batch are stored, as
    many as ``max_per_second`` allows, and the rest is counted. Safe for several threads. A file
    that is damaged is set aside at the start; when the disk refuses later, alerts are not stored
    and counted, and the loop goes on.
    """

    def __init__(
        self,
        config: HistoryConfig,
        schema: Schema,
        folder: Path,
        *,
        telemetry: FeedbackTelemetry | None = None,
    ) -> None:
        self._config = config
        self._schema = schema
        self._columns = Layout(schema).columns
        self._telemetry = telemetry
        self._lock = Lock()
        self._failing = False
        self._allowance = Allowance(config.max_per_second)
        self._connection = open_history(folder)
        self._reader = HistoryReader(folder)
        self._rows, self._size = self._reader.extent()
        self._report()

    def add(self, alerts: Sequence[Alert], records: Records, now: float) -> int:
        """Store alerts with their records (one each, in the same order); return how many were new.

        A repeat of an alert changes nothing. Never raises for a disk that refuses.
        """
        if not alerts:
            return 0
        chosen = worst_of(alerts, self._allowance.of(len(alerts), now))
        rows = [as_stored(alerts[i], records, i, self._columns, now) for i in chosen]
        try:
            with self._lock, self._writing() as connection:
                added, size = self._insert(connection, rows)
                self._rows, self._size = self._rows + added, self._size + size
                self._shrink(connection)
        except sqlite3.DatabaseError as error:
            self._failed(error, len(rows))
            added = 0
        else:
            self._failing = False
        if len(rows) < len(alerts):
            self._skipped(len(alerts) - len(rows), "flood")
        if self._telemetry is not None:
            self._telemetry.remembered(self._rows)
        return added

    def judge(self, alert_id: str, verdict: Verdict, note: str, now: float) -> StoredAlert | None:
        """Put a verdict on an alert, over an earlier one; return it as it is now.

        None for an id that is not known (or the beginning of several). The same verdict again
        changes nothing, not even its time, unless the note differs. Raises TransientError.
        """
        found = self.get(alert_id)
        if found is None:
            return None
        self.judge_all([(found.alert_id, verdict, note)], now)
        return self.get(found.alert_id)

    def judge_all(self, verdicts: Sequence[tuple[str, Verdict, str]], now: float) -> None:
        """Put verdicts on alerts (whole id, verdict, note), all or none; raises TransientError."""
        try:
            with self._lock, self._writing() as connection:
                connection.executemany(
                    _JUDGE,
                    [
                        (verdict, note, now, known, verdict, note)
                        for known, verdict, note in verdicts
                    ],
                )
        except sqlite3.DatabaseError as error:
            which = verdicts[0][0] if len(verdicts) == 1 else f"{len(verdicts)} alerts"
            msg = f"the verdict on {which} cannot be stored: {error}"
            raise TransientError(msg) from error
        self._report()

    def get(self, alert_id: str) -> StoredAlert | None:
        """Return one alert by its id or a beginning of it that no other has."""
        return self._reader.get(alert_id)

    def page(
        self,
        limit: int = 50,
        before: int | None = None,
        severity: str | None = None,
        entity: str | None = None,
        verdict: Verdict | Literal["none"] | None = None,
        since: float | None = None,
    ) -> Page:
        """Return alerts newest first; ``before`` is the ``older`` of the page before this one.

        ``entity`` is its name as text; ``verdict`` "none" asks for those that no one judged;
        ``since`` (Unix time) for those stored then or later.
        """
        return self._reader.page(limit, before, severity, entity, verdict, since)

    def precision(self) -> Precision:
        """Return how many of the alerts kept were judged, and how many of them confirmed."""
        return self._reader.precision()

    def recent_rows(
        self, limit: int, before: float | None = None, severity: str | None = None
    ) -> AlertedRows:
        """Return the records of the latest alerts, those judged normal left out, oldest first.

        With ``before`` (Unix time) only of those that were stored earlier, with ``severity`` only
        of such.
        """
        rows = self._reader.recent(self._columns, limit, before, severity)
        return alerted_rows(rows, self._schema)

    def rows(self, alert_ids: Sequence[str]) -> AlertedRows:
        """Return the records behind some alerts; those unknown or of another schema are missing."""
        return alerted_rows(self._reader.of(self._columns, alert_ids), self._schema)

    def tidy(self, now: float) -> None:
        """Forget what is too old; to be called now and then."""
        try:
            with self._lock, self._writing() as connection:
                self._forget(connection, "old", now - self._config.max_age_seconds, _AT_ONCE)
        except sqlite3.DatabaseError as error:
            self._failed(error, 0)
        self._report()

    def close(self) -> None:
        """Release the file."""
        self._reader.close()
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _insert(
        self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]
    ) -> tuple[int, int]:
        added = size = 0
        for row in rows:
            if connection.execute(_INSERT, row).rowcount:
                added, size = added + 1, size + row[6]
        return added, size

    def _shrink(self, connection: sqlite3.Connection) -> None:
        while self._rows > self._config.max_alerts or self._size > self._config.max_bytes:
            excess = self._rows - self._config.max_alerts
            step = excess if excess > 0 else min(self._rows // 16 + 1, _AT_ONCE)
            recent = max(self._rows // 2, 1)  # or verdicts would leave no room for what is new
            if not self._forget(connection, "unjudged", recent, step):
                self._forget(connection, "any", step)

    def _forget(self, connection: sqlite3.Connection, which: str, *values: float) -> int:
        gone = connection.execute(
            f"DELETE FROM alerts WHERE number IN ({_FORGET[which]}) RETURNING size",  # noqa: S608
            values,
        ).fetchall()
        self._rows -= len(gone)
        self._size -= sum(row[0] for row in gone)
        return len(gone)

    def _failed(self, error: sqlite3.DatabaseError, alerts: int) -> None:
        if not self._failing:
            log.warning("alert_history_not_written", reason=str(error))
        self._failing = True
        self._skipped(alerts, "error")
        with suppress(TransientError):
            self._rows, self._size = self._reader.extent()  # what was counted was taken back

    def _skipped(self, alerts: int, reason: str) -> None:
        if self._telemetry is not None:
            self._telemetry.not_remembered(alerts, reason)

    def _report(self) -> None:
        if self._telemetry is None:
            return
        precision = self.precision()
        self._telemetry.remembered(self._rows)
        self._telemetry.judged(precision.judged - precision.confirmed, precision.confirmed)
