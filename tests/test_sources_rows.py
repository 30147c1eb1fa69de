"""CSV lines to rows: every bad line rejects itself and no other."""

from __future__ import annotations

import csv
import io
import random
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.sources.files import FileSourceConfig
from vaeiso_monitor.sources.rows import RowParser, read_header
from vaeiso_monitor.types import RejectReason

VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)


def line_of(values: list[str], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(values)
    return out.getvalue().encode()


@given(
    rows=st.lists(st.lists(VALUES, min_size=3, max_size=3), max_size=12),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
@settings(deadline=None)
def test_well_formed_rows_come_back_as_they_were(rows: list[list[str]], delimiter: str):
    parser = RowParser(["a", "b", "c"], delimiter)
    batch, kept, faults = parser.parse([line_of(row, delimiter) for row in rows])
    assert (kept, faults) == (None, [])
    columns = [[value.decode() for value in column.to_pylist()] for column in batch.columns]
    assert [list(row) for row in zip(*columns, strict=True)] == rows


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=20))
@settings(deadline=None, max_examples=300)
def test_any_bytes_give_each_line_a_row_or_a_fault(noise: list[bytes]):
    parser = RowParser(["a", "b"], ",")
    good = [b"%d,x" % n for n in range(len(noise))]
    lines = [line for pair in zip(good, noise, strict=True) for line in pair]
    batch, kept, faults = parser.parse(lines)
    indices = list(range(len(lines))) if kept is None else kept
    assert sorted([*indices, *(fault[0] for fault in faults)]) == list(range(len(lines)))
    assert batch.num_rows == len(indices)
    found = dict(zip(indices, batch.column(0).to_pylist(), strict=True))
    assert [found[2 * n] for n in range(len(good))] == [b"%d" % n for n in range(len(good))]


def test_a_tenth_of_the_rows_damaged_in_every_way(tmp_path: Path):
    """Records keep their numbers, rejects their text, and the two add up."""
    damage = [
        b"",
        b"1,2",
        b"1,2,3,4",
        b'"open,2,3',
        b'1,"open,3',
        b'"a"b,2,3',
        b'ab",c,"d',
        b"1,2\r3,4",
        b"\xff\xfe",
        b'"',
    ]
    dice = random.Random(7)
    lines, expected, bad = [], [], []
    for number in range(5000):
        if number % 10 == 3:
            lines.append(dice.choice(damage))
            bad.append((number, lines[-1]))
        else:
            lines.append(b'%d,"x, ""y""",\xc3\xa4\xff' % number)
            expected.append(number)
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n".join([b"n,text,raw", *lines]) + b"\n")
    numbers, texts, rejects = [], set(), []
    with closing(open_source(FileSourceConfig(path=str(path)), max_record_bytes=100)) as source:
        while (polled := source.poll(512, 0.0)) is not None:
            batch = polled.batch
            assert not isinstance(batch.payload, list)
            numbers += [int(value) for value in batch.payload.column("n").to_pylist()]
            texts |= set(batch.payload.column("text").to_pylist())
            assert [batch.position(row).offset for row in range(len(batch))] == numbers[
                -len(batch) :
            ]
            assert batch.raw(0) == lines[numbers[-len(batch)]]
            rejects += batch.rejects
    assert numbers == expected
    assert texts == {b'x, "y"'}
    assert [(reject.position.offset, reject.raw) for reject in rejects] == bad
    assert {reject.reason for reject in rejects} == {RejectReason.MALFORMED_ROW, RejectReason.EMPTY}
    assert all(reject.detail for reject in rejects)


def test_columns_can_be_named_where_there_is_no_header(tmp_path: Path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"1\tx\n2\ty\n")
    config = FileSourceConfig(path=str(path), columns=("n", "name"))
    with closing(open_source(config, max_record_bytes=100)) as source:
        polled = source.poll(10, 0.0)
        assert polled is not None
        assert polled.batch.payload.to_pydict() == {"n": [b"1", b"2"], "name": [b"x", b"y"]}


@pytest.mark.parametrize("line", [b"a,a", b"a,,b", b"", b"\xff,b"])
def test_an_unusable_header_is_named(line: bytes):
    with pytest.raises(ConfigError, match=r"x\.csv: the first line"):
        read_header(line, ",", "x.csv")


def test_a_header_over_the_limit_is_named(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"a" * 200 + b",b\n1,2\n")
    source = open_source(FileSourceConfig(path=str(path)), max_record_bytes=100)
    with closing(source), pytest.raises(ConfigError, match="header is longer than 100 bytes"):
        source.poll(1, 0.0)
