"""What the alert history gives back: alerts with their verdicts, and the records behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.alerts import Alert
    from vaeiso_monitor.records import Schema

Verdict = Literal["normal", "anomaly"]


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """One alert as it was sent (``document``), and the verdict on it if there is one.

    ``number`` rises with each alert stored; ``stored_at`` and ``judged_at`` are Unix time.
    """

    number: int
    alert_id: str
    stored_at: float
    document: dict[str, Any]
    verdict: Verdict | None = None
    note: str = ""
    judged_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict: the alert as it was sent, and ``feedback`` (null without)."""
        if self.verdict is None or self.judged_at is None:
            return {"number": self.number, **self.document, "feedback": None}
        judged_at = datetime.fromtimestamp(self.judged_at, UTC).isoformat(timespec="milliseconds")
        feedback = {"verdict": self.verdict, "note": self.note, "judged_at": judged_at}
        return {"number": self.number, **self.document, "feedback": feedback}


@dataclass(frozen=True, slots=True)
class Page:
    """Some alerts, newest first; ``older`` is the ``before`` of the next page, None at the end."""

    alerts: Sequence[StoredAlert]
    older: int | None


@dataclass(frozen=True, slots=True)
class Precision:
    """How many alerts were judged, and how many of those confirmed as anomalies."""

    judged: int
    confirmed: int

    @property
    def ratio(self) -> float | None:
        """Share of confirmed ones among the judged, None before the first verdict."""
        return self.confirmed / self.judged if self.judged else None


@dataclass(frozen=True, slots=True, eq=False)
class AlertedRows:
    """Records that raised alerts, oldest first; ``nats`` and ``seen`` float64 [n]."""

    records: Records
    nats: NDArray[np.float64]
    seen: NDArray[np.float64]
    alert_ids: Sequence[str]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.nats)


class RecordRow(NamedTuple):
    """A record as it lies in the file: 8 bytes a number, the categories as a JSON list."""

    alert_id: str
    stored_at: float
    nats: float | None
    numbers: bytes
    categories: bytes


def as_stored(alert: Alert, records: Records, i: int, columns: str, now: float) -> tuple[Any, ...]:
    """Return an alert and record ``i``, which raised it, as they are put into the file."""
    entity = next((str(v) for v in (alert.entity or {}).values() if v is not None), None)
    numbers = records.numbers[i].tobytes()
    categories = msgspec.json.encode([column[i] for column in records.categories])
    document = alert.to_json()
    size = len(numbers) + len(categories) + len(document)
    known = alert.alert_id, now, alert.severity, entity, alert.nats, columns
    return *known, size, numbers, categories, document


def alerted_rows(rows: Iterable[RecordRow], schema: Schema) -> AlertedRows:
    """Put stored records of this schema together again, in the order given."""
    found = list(rows)
    numbers = b"".join(row.numbers for row in found)
    matrix = np.frombuffer(numbers).reshape(len(found), len(schema.numbers)).copy()
    texts = [msgspec.json.decode(row.categories, type=list[str | None]) for row in found]
    categories = [[row[j] for row in texts] for j in range(len(schema.categories))]
    return AlertedRows(
        Records(matrix, categories, np.arange(len(found), dtype=np.int64)),
        np.array([np.nan if row.nats is None else row.nats for row in found], np.float64),
        np.array([row.stored_at for row in found], np.float64),
        [row.alert_id for row in found],
    )
