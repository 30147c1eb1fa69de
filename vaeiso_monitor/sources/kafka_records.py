"""Reads the records of a fetch without a call for each field; this is the hot path of the source.

kafka-python reads each of a record's seven numbers of variable length in a call of its own and puts
the record into two objects of a dozen fields: more work than all that is done with it afterwards.
Checksums, compression, transactions, old formats and damage are left to it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka import KafkaConsumer, TopicPartition

_MAGIC = 2  # the format of records since Kafka 0.11
_ONE_BYTE, _TWO_BYTES = 0x7F, 0x3FFF


class Record(msgspec.Struct, frozen=True, gc=False):
    """What is needed of one record; ``timestamp`` is in milliseconds, below 0 where unknown."""

    offset: int
    timestamp: int
    leader_epoch: int
    value: bytes | None


def read_quickly(consumer: KafkaConsumer) -> None:
    """Let a consumer return :class:`Record` instead of its own records, wherever it can."""
    consumer._fetcher.PartitionRecords = _PartitionRecords


class _Rest:
    """One batch and those after it, as kafka-python asks for them."""

    def __init__(self, batch: Any, batches: Any) -> None:
        self._batch = batch
        self._batches = batches

    def next_batch(self) -> Any:
        batch, self._batch = self._batch, None
        return batch or self._batches.next_batch()


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What one answer of a broker holds of one partition."""

    def _unpack_records(
        self, tp: TopicPartition, records: Any, *deserializers: Any
    ) -> Iterator[Any]:
        batch = records.next_batch()
        while batch is not None and self._plain(batch, deserializers):
            self.leader_epoch = batch.leader_epoch
            self.records_read += batch.records_count
            self.bytes_read += batch.size_in_bytes
            for record in _records(batch):
                self.next_fetch_offset = record.offset + 1
                yield record
            self.next_fetch_offset = batch.next_offset  # after it others may have been compacted
            batch = records.next_batch()
        yield from super()._unpack_records(tp, _Rest(batch, records), *deserializers)

    def _plain(self, batch: Any, deserializers: tuple[Any, ...]) -> bool:
        """Say whether all records of a whole batch are to be handed out as they are."""
        if self.isolation_level != IsolationLevel.READ_UNCOMMITTED or any(deserializers):
            return False
        plain = batch.magic == _MAGIC and not batch.is_control_batch
        dense = batch.last_offset_delta + 1 == batch.records_count  # not where it was compacted
        return bool(plain and dense and self.check_crcs and batch.validate_crc())


def _records(batch: Any) -> Iterator[Record]:
    """Yield the records of a batch whose checksum is right."""
    iter(batch)  # decompresses
    found: list[Record] = []
    try:
        whole = _walk(batch, found)
    except IndexError:
        whole = False
    yield from found
    for record in () if whole else islice(batch, len(found), None):  # it raises at what is damaged
        yield Record(record.offset, record.timestamp, batch.leader_epoch, record.value)


def _walk(batch: Any, found: list[Record]) -> bool:
    """Read records into ``found`` up to one that is damaged; say whether none is.

    A record is: length, attributes (one byte), time, offset, key, value, headers. The numbers are
    varints in zigzag, most of one byte or two; keys and values have their length before them.
    """
    data, end, epoch = bytes(batch._buffer), batch._pos, batch.leader_epoch
    first, appended, whole = batch.first_timestamp, _append_time(batch), len(data)
    for offset in range(batch.base_offset, batch.base_offset + batch.records_count):
        begin, raw, pos = end, data[end], end + 1
        if raw > _ONE_BYTE:
            raw, pos = raw + (data[pos] << 7) - 128, pos + 1
            if raw > _TWO_BYTES:
                raw, pos = _varint(data, begin)
        end = pos + (raw >> 1)
        raw, pos = data[pos + 1], pos + 2
        if raw > _ONE_BYTE:
            raw, pos = _varint(data, pos - 1)
        time = first + ((raw >> 1) ^ -(raw & 1)) if appended is None else appended
        while data[pos] > _ONE_BYTE:  # the offset, which is known
            pos += 1
        start = pos + 2 if data[pos + 1] <= 1 else _behind(data, pos + 1)
        raw, pos = data[start], start + 1
        if raw > _ONE_BYTE:
            raw, pos = raw + (data[pos] << 7) - 128, pos + 1
            if raw > _TWO_BYTES:
                raw, pos = _varint(data, start)
        stop = pos + (raw >> 1)
        if not stop < end <= whole:
            return False
        found.append(Record(offset, time, epoch, None if raw & 1 else data[pos:stop]))
    return bool(end == whole)


def _append_time(batch: Any) -> int | None:
    """Return the time of all records where the broker set it, None where the producers did."""
    return batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return a number, still in zigzag, and where it ends."""
    raw = shift = 0
    while data[pos] > _ONE_BYTE:
        raw, pos, shift = raw | (data[pos] & _ONE_BYTE) << shift, pos + 1, shift + 7
    return raw | data[pos] << shift, pos + 1


def _behind(data: bytes, pos: int) -> int:
    """Return where a key ends whose length is at ``pos``; null counts as empty."""
    raw, pos = _varint(data, pos)
    return pos if raw & 1 else pos + (raw >> 1)
