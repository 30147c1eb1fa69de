"""The quick reading of a fetch gives what kafka-python's own reading gives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from vaeiso_monitor.sources.kafka_records import Record, _PartitionRecords

TP = TopicPartition("plant", 0)
Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

rows = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        st.none() | st.binary(max_size=200),
        st.none() | st.binary(max_size=20_000),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=2),
    ),
    min_size=1,
    max_size=90,
)


def batch(rows: list[Row], base: int = 0, codec: int = 0, **header: int) -> bytes:
    """Return a batch as a broker keeps it, with another base offset or other attributes."""
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)
    for time, key, value, headers in rows:
        assert builder.append(time, key, value, headers) is not None
    builder.close()
    data = bytearray(builder.buffer())
    struct.pack_into(">q", data, 0, base)
    at = DefaultRecordBatch.ATTRIBUTES_OFFSET
    (attributes,) = struct.unpack_from(">h", data, at)
    struct.pack_into(">h", data, at, attributes | header.get("attributes", 0))
    return signed(data)


def signed(data: bytearray) -> bytes:
    """Return a batch with the checksum of what it holds."""
    crc = calc_crc32c(memoryview(data)[DefaultRecordBatch.ATTRIBUTES_OFFSET :])
    struct.pack_into(">I", data, DefaultRecordBatch.CRC_OFFSET, crc)
    return bytes(data)


def taken(kind: Any, data: bytes, first: int = 0, most: int = 10_000, **keys: Any) -> Any:
    """Return the records, the position after them, and the error that came instead of the rest."""
    part = kind(first, TP, MemoryRecords(data), **keys)
    found: list[Any] = []
    error = ""
    try:
        while part and (more := part.take(most)):
            found += more
    except CorruptRecordError as refused:
        error = str(refused)
    shown = [(row.offset, row.timestamp, row.value, row.leader_epoch) for row in found]
    return shown, part.next_fetch_offset, error


def both(data: bytes, **keys: Any) -> list[tuple[Any, ...]]:
    """Read in both ways, which must agree; return the records."""
    quick = taken(_PartitionRecords, data, **keys)
    assert quick == taken(Fetcher.PartitionRecords, data, **keys)
    records: list[tuple[Any, ...]] = quick[0]
    return records


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3), st.integers(0, 2**50), st.integers(1, 100))
def test_reads_what_kafka_python_reads(batches: list[list[Row]], base: int, most: int):
    data = b""
    for some in batches:
        data += batch(some, base)
        base += len(some)
    records = both(data, most=most)
    assert len(records) == sum(map(len, batches))


@pytest.mark.parametrize("codec", [0, 1, 3, 4])
def test_reads_compressed_batches_from_the_middle(codec: int):
    some: list[Row] = [(1_700_000_000_000 + i, None, b"%d" % i * 40, []) for i in range(300)]
    records = both(batch(some, 1000, codec), first=1150)
    assert [row[0] for row in records] == list(range(1150, 1300))


def test_the_broker_may_set_the_time_and_a_batch_may_be_of_control():
    some: list[Row] = [(5, None, b"a", []), (9, b"k", None, [])]
    assert [row[1] for row in both(batch(some, attributes=0x08))] == [9, 9]
    control: list[Row] = [(5, struct.pack(">hh", 0, 1), b"", [])]
    data = batch(some) + batch(control, 2, attributes=0x20) + batch(some, 3)
    assert [row[0] for row in both(data)] == [0, 1, 3, 4]


def test_a_compacted_batch_and_one_of_an_old_format_are_read():
    data = bytearray(batch([(1, None, b"a", []), (2, None, b"b", [])]))
    struct.pack_into(">i", data, DefaultRecordBatch.ATTRIBUTES_OFFSET + 2, 7)  # six are gone
    old = MemoryRecordsBuilder(1, 0, 1 << 20, 8)
    old.append(3, None, b"c")
    old.close()
    assert [row[2] for row in both(signed(data) + bytes(old.buffer()))] == [b"a", b"b", b"c"]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
def test_damage_is_found_where_kafka_python_finds_it(at: int, byte: int, resigned: bool):
    some: list[Row] = [(i, b"key", b"value %d" % i * 9, [("h", b"1")]) for i in range(20)]
    data = bytearray(batch(some))
    at = DefaultRecordBatch.HEADER_STRUCT.size + at % (len(data) - 61)
    data[at] = byte
    damaged = signed(data) if resigned else bytes(data)
    quick = taken(_PartitionRecords, damaged)
    own = taken(Fetcher.PartitionRecords, damaged)
    if not resigned:
        assert quick == own
    assert len(quick[0]) <= 20


def test_it_is_quick_where_it_can_be():
    data = batch([(1, None, b"a", [])])
    plain = _PartitionRecords(0, TP, MemoryRecords(data)).take(1)
    assert isinstance(plain[0], Record)
    committed = _PartitionRecords(
        0, TP, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED
    )
    assert not isinstance(committed.take(1)[0], Record)
