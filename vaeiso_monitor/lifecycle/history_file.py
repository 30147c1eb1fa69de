"""The file of the alert history: made, opened, verified, and set aside where it cannot be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import structlog

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle.history_reader import FILE

log = structlog.get_logger(__name__)

_VERSION = 1
_WAIT_SECONDS = 5.0
# of SQLite: something is wrong with what is in the file, not with the disk or the rights to it
_UNUSABLE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# small columns stand first: a search need not read the pages of the large ones
_TABLE = """
CREATE TABLE IF NOT EXISTS alerts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  alert_id TEXT NOT NULL UNIQUE,
  stored_at REAL NOT NULL,
  severity TEXT NOT NULL,
  entity TEXT,
  nats REAL,
  columns TEXT NOT NULL,
  verdict TEXT,
  note TEXT NOT NULL DEFAULT '',
  judged_at REAL,
  size INTEGER NOT NULL,
  numbers BLOB NOT NULL,
  categories BLOB NOT NULL,
  document BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_age ON alerts (stored_at);
CREATE INDEX IF NOT EXISTS judged ON alerts (verdict) WHERE verdict IS NOT NULL;
"""


class _UnusableError(Exception):
    """The file is whole, but not one of ours, or quick_check found damage."""


def open_history(folder: Path) -> sqlite3.Connection:
    """Return a connection that writes; a file that is damaged or foreign is set aside before.

    Raises ConfigError where the folder or the file cannot be written.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return _connected(path)
        except (_UnusableError, sqlite3.DatabaseError) as error:
            if not _unusable(error):
                raise
            log.warning("alert_history_set_aside", path=str(path), reason=str(error))
            for part in (path, *path.parent.glob(f"{FILE}-*")):
                part.replace(part.with_name(f"{part.name}.damaged"))
            return _connected(path)
    except (OSError, sqlite3.Error) as error:
        msg = f"cannot keep the alert history in {path}: {error}"
        raise ConfigError(msg) from error


def _unusable(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _UNUSABLE  # the higher bits only say more of the same


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_WAIT_SECONDS, check_same_thread=False, isolation_level=None
    )
    try:
        _verify(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        connection.executescript(_TABLE)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _verify(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        msg = f"it has version {version}, this program reads {_VERSION}"
        raise _UnusableError(msg)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _UnusableError(found)
