"""The values that flow through the loop: source -> records -> model -> detect -> sinks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class RejectReason(StrEnum):
    """Why a record could not be scored; the ``reason`` of its dead letter and of the counter."""

    EMPTY = "empty"
    INVALID_UTF8 = "invalid_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MALFORMED_ROW = "malformed_row"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    MISSING_VALUE = "missing_value"
    MISSING_KEY = "missing_key"
    UNSEEN_CATEGORY = "unseen_category"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Position:
    """Where one record was read: enough to find it again and to name its alert.

    ``partition`` is the Kafka partition or, for a file, its generation (0 until it is rotated);
    ``offset`` is the Kafka offset or, for a file, the number of the record (from 0).
    """

    source: str
    stream: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Return ``kafka:topic/3@991``."""
        return f"{self.source}:{self.stream}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that does not fit the schema: the reason, and all that is needed to repair it."""

    reason: RejectReason
    detail: str
    position: Position
    raw: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """A run of records of one partition inside a :class:`RawBatch`: rows ``start`` onwards.

    ``timestamps`` are the source's own, in seconds since the epoch, or None where it has none.
    """

    source: str
    stream: str
    partition: int
    start: int
    offsets: Sequence[int]
    timestamps: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records as they were read, undecoded: JSON documents, or the rows of an Arrow record batch.

    An Arrow ``payload`` may hold binary columns (CSV): then every value is text to be parsed.
    ``lines`` are the raw lines behind the Arrow rows where the source still has them.
    ``rejects`` are records that the source itself could not hand on (too large, broken line).
    """

    payload: Sequence[bytes | None] | pa.RecordBatch
    spans: Sequence[Span]
    rejects: Sequence[Reject] = ()
    lines: Sequence[bytes] | None = None
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [span.start for span in self.spans])

    def __len__(self) -> int:
        """Return the number of rows in the payload, the source's own rejects left out."""
        return len(self.payload)

    @property
    def received(self) -> int:
        """Number of records read: the rows of the payload and the source's own rejects."""
        return len(self.payload) + len(self.rejects)

    def span(self, row: int) -> Span:
        """Return the span that holds ``row``."""
        return self.spans[bisect_right(self._starts, row) - 1]

    def position(self, row: int) -> Position:
        """Return where ``row`` was read."""
        span = self.span(row)
        return Position(span.source, span.stream, span.partition, span.offsets[row - span.start])

    def timestamp(self, row: int) -> float | None:
        """Return the source's own time of ``row`` in seconds since the epoch, or None."""
        span = self.span(row)
        return None if span.timestamps is None else span.timestamps[row - span.start]

    def raw(self, row: int) -> bytes | None:
        """Return ``row`` as it was read, None for an Arrow row of which no line is kept."""
        if self.lines is not None:
            return self.lines[row]
        return (self.payload[row] or b"") if isinstance(self.payload, Sequence) else None


@dataclass(frozen=True, slots=True)
class Polled:
    """One batch and the token that commits everything up to its end (opaque to the loop)."""

    batch: RawBatch
    checkpoint: Any


@dataclass(frozen=True, slots=True)
class Records:
    """n decoded records that fit the schema, column by column.

    ``numbers`` is float64 [n, p], NaN where a value is missing; its columns are the schema's number
    and boolean columns in their order. ``categories`` has one list of n texts (None = missing) for
    each category column. ``rows`` is int64 [n], the row of each record in its :class:`RawBatch`.
    ``keys``, ``times`` and ``entities`` are None where the schema declares no such column.
    """

    numbers: NDArray[np.float64]
    categories: Sequence[Sequence[str | None]]
    rows: NDArray[np.int64]
    keys: Sequence[Any] | None = None
    times: Sequence[Any] | None = None
    entities: Sequence[Any] | None = None

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How one partition stands: what is left to read, and since when nothing moved."""

    stream: str
    partition: int
    lag_records: int | None
    idle_seconds: float


class Source(Protocol):
    """Where records come from. One thread calls it; trouble is retried inside, under a deadline."""

    name: str
    errors: int  # exchanges with the peer that failed so far

    def poll(self, max_records: int, timeout: float) -> Polled | None:
        """Return up to ``max_records``, none after ``timeout`` seconds, or None at the very end."""

    def commit(self, checkpoint: Any) -> None:
        """Make the position durable: everything up to ``checkpoint`` was delivered."""

    def keep_alive(self) -> None:
        """Be called now and then while nothing is polled for long (a model is trained)."""

    def progress(self) -> Sequence[PartitionProgress]:
        """Return how each partition stands; cheap enough for once a second."""

    def connected(self) -> bool:
        """Say whether the last exchange with the peer worked."""

    def check(self) -> str:
        """Try the peer and say what was found; raise ConfigError or TransientError."""

    def close(self) -> None:
        """Release everything; positions that were not committed are read again next time."""


Detail = Literal["every", "episodes"]
"""What a sink of alerts gets: each one, or the first of an episode and then summaries."""


class Message(Protocol):
    """What a sink delivers: an alert, something said of many of them, or a dead letter."""

    @property
    def key(self) -> bytes:
        """Identity of the message; a repeat has the same key."""

    def to_json(self) -> bytes:
        """Return one JSON document without line breaks."""

    def to_text(self) -> str:
        """Return a few readable lines for a terminal."""


@runtime_checkable
class Refreshed(Protocol):
    """A sink whose messages stand for a while and have to be sent again as long as they hold."""

    def refresh(self) -> None:
        """Send again what is due; called every few seconds, by another thread than delivers."""


class Sink(Protocol):
    """Where messages go. ``deliver`` returns when they are safe; after its deadline it raises."""

    name: str

    def deliver(self, messages: Sequence[Message]) -> None:
        """Deliver all of them, at least once, or raise TransientError."""

    def connected(self) -> bool:
        """Say whether the last delivery worked."""

    def check(self) -> str:
        """Try the peer without sending; raise ConfigError or TransientError."""

    def close(self) -> None:
        """Release everything."""
