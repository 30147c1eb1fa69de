"""The memory source."""

from __future__ import annotations

import pyarrow as pa

from vaeiso_monitor.sources import MemorySource


def test_serves_documents_in_batches_and_records_commits():
    source = MemorySource([b"1", None, b"3"])
    first = source.poll(2, 0.0)
    assert first is not None
    assert list(first.batch.payload) == [b"1", None]
    last = source.poll(2, 0.0)
    assert last is not None
    assert str(last.batch.position(0)) == "memory:memory/0@2"
    assert source.poll(2, 0.0) is None
    source.commit(first.checkpoint)
    assert source.committed == 2
    source.commit(last.checkpoint)
    assert source.committed == 3


def test_serves_the_rows_of_a_table():
    table = pa.concat_tables([pa.table({"a": [1, 2]}), pa.table({"a": [3]})])
    source = MemorySource(table, stream="t")
    assert source.progress()[0].lag_records == 3
    polled = source.poll(10, 0.0)
    assert polled is not None
    assert polled.batch.payload.to_pydict() == {"a": [1, 2, 3]}
    assert source.progress()[0].lag_records == 0
    assert source.poll(1, 0.0) is None


def test_tells_whether_it_is_open():
    source = MemorySource([])
    source.keep_alive()
    assert (source.kept_alive, source.connected(), source.check()) == (
        1,
        True,
        "records from memory",
    )
    source.close()
    assert not source.connected()
