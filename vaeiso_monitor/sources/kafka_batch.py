"""What ``KafkaConsumer.poll`` answers, as a batch; this is the hot path of the source."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.types import RawBatch, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kafka import TopicPartition

_VALUE, _TIMESTAMP = attrgetter("value"), attrgetter("timestamp")


def to_batch(records: Mapping[TopicPartition, Sequence[Any]]) -> RawBatch:
    """Turn the answer of ``KafkaConsumer.poll`` into a batch, one span a partition."""
    payload: list[bytes | None] = []
    spans = []
    for tp, rows in records.items():
        spans.append(_span(tp, rows, len(payload)))
        payload += map(_VALUE, rows)
    return RawBatch(payload, spans)


def _span(tp: TopicPartition, rows: Sequence[Any], start: int) -> Span:
    first, last = rows[0].offset, rows[-1].offset
    dense = last - first + 1 == len(rows)  # not where a topic is compacted or transactional
    offsets = range(first, last + 1) if dense else [row.offset for row in rows]
    known = rows[0].timestamp >= 0
    timestamps = [ms / 1000 for ms in map(_TIMESTAMP, rows)] if known else None
    return Span("kafka", tp.topic, tp.partition, start, offsets, timestamps)
