"""The file source: formats, following, rotation, restarts, damage."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from tests.brokers import wait_until
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.sources.files import FileSource, FileSourceConfig
from vaeiso_monitor.types import RawBatch, Reject, RejectReason

Seen = tuple[str, int, int, bytes]  # stream, generation, record number, bytes


def opened(path: Path | str, limit: int = 1 << 20, **keys: Any) -> FileSource:
    defaults: dict[str, Any] = {
        "commit_interval_seconds": 0.0,
        "poll_interval_seconds": 0.001,
        "settle_seconds": 0.0,
    }
    config = FileSourceConfig(path=str(path), **{**defaults, **keys})
    source = open_source(config, max_record_bytes=limit)
    assert isinstance(source, FileSource)
    return source


def raw_of(batch: RawBatch, row: int) -> bytes:
    raw = batch.raw(row)
    return json.dumps(batch.payload.slice(row, 1).to_pylist()[0]).encode() if raw is None else raw


def records(polled: Any) -> list[Seen]:
    batch = polled.batch
    places = [(batch.position(row), raw_of(batch, row)) for row in range(len(batch))]
    places += [(reject.position, reject.raw) for reject in batch.rejects]
    return sorted((at.stream, at.partition, at.offset, raw) for at, raw in places)


def read_all(source: FileSource, count: int = 100) -> tuple[list[Seen], list[Reject]]:
    """Read to the end, or to an empty poll where the file is followed."""
    found: list[Seen] = []
    rejects: list[Reject] = []
    while (polled := source.poll(count, 0.0)) is not None:
        if not polled.batch.received:
            break
        found += records(polled)
        rejects += polled.batch.rejects
        source.commit(polled.checkpoint)
    return found, rejects


def documents(count: int, start: int = 0) -> list[bytes]:
    return [
        json.dumps({"n": n, "text": "ä" * (n % 7)}).encode() for n in range(start, start + count)
    ]


def numbered(path: Path, lines: list[bytes], generation: int = 0, start: int = 0) -> list[Seen]:
    return [(str(path), generation, start + n, line) for n, line in enumerate(lines)]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("last", [b"", b"\n"])
def test_reads_json_lines_to_the_end(tmp_path: Path, ending: str, last: bytes):
    path = tmp_path / f"x.jsonl{ending}"
    lines = documents(1000)
    text = b"\n".join(lines) + last
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[ending]
    path.write_bytes(compress(text))
    with closing(opened(path)) as source:
        assert read_all(source, 77) == (numbered(path, lines), [])
        assert source.poll(1, 0.0) is None


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "arrow", "stream"])
def test_goes_on_after_the_last_committed_record(tmp_path: Path, kind: str, ending: str):
    if ending and kind not in ("jsonl", "csv"):
        pytest.skip("columns are compressed inside")
    path, position = (
        tmp_path / f"x.{kind.replace('stream', 'arrow')}{ending}",
        tmp_path / "position",
    )
    write_numbers(path, kind, ending, 1000)
    found = []
    for _ in range(3):
        source = opened(path, position_file=str(position))
        for commit in (True, True, False):
            polled = source.poll(130, 0.0)
            assert polled is not None
            if commit:
                source.commit(polled.checkpoint)
                found += [polled.batch.position(row).offset for row in range(len(polled.batch))]
        source._walk.close()
    with closing(opened(path, position_file=str(position))) as source:
        found += [offset for _, _, offset, _ in read_all(source)[0]]
    assert found == list(range(1000))
    with closing(opened(path, position_file=str(position))) as source:
        assert source.poll(1, 0.0) is None


def write_numbers(path: Path, kind: str, ending: str, count: int) -> None:
    table = pa.table({"a": range(count), "b": [str(n) for n in range(count)]})
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=300)
    elif kind == "arrow":
        feather.write_feather(table, str(path), chunksize=300, compression="zstd")
    elif kind == "stream":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, 300)
    else:
        lines = (
            documents(count) if kind == "jsonl" else [b"a,b", *(b"%d,x" % n for n in range(count))]
        )
        compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[ending]
        path.write_bytes(compress(b"\n".join(lines)))


def test_a_line_over_the_limit_is_rejected_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"n": 1}\n')
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b'\n{"n": 2}\n' + b"y" * 5000)
    tracemalloc.start()
    try:
        with closing(opened(path, limit=4096)) as source:
            found, rejects = read_all(source)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert [(at, raw[:8]) for _, _, at, raw in found] == [
        (0, b'{"n": 1}'),
        (1, b"x" * 8),
        (2, b'{"n": 2}'),
        (3, b"y" * 8),
    ]
    assert [reject.reason for reject in rejects] == [RejectReason.TOO_LARGE] * 2
    assert [len(reject.raw) for reject in rejects] == [65_536, 5000]
    assert rejects[0].detail == f"{64 << 20} bytes, over max_record_bytes = 4096"


@given(
    sizes=st.lists(st.integers(0, 40), max_size=30),
    cuts=st.lists(st.integers(1, 60), max_size=30),
    limit=st.integers(1, 40),
    polls=st.lists(st.integers(1, 9), min_size=1, max_size=9),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_cut_of_the_bytes_gives_the_same_records(
    tmp_path: Path, sizes: list[int], cuts: list[int], limit: int, polls: list[int]
):
    """A growing file: whatever part is written when it is looked at, each record comes once."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"")
    lines = [b"%d" % n + b"x" * size for n, size in enumerate(sizes)]
    text = b"".join(line + b"\n" for line in lines)
    found: list[Seen] = []
    with closing(opened(path, limit=limit, follow=True)) as source:
        position = 0
        for number, cut in enumerate([*cuts, len(text)]):
            with path.open("ab") as file:
                file.write(text[position : position + cut])
            position += cut
            found += read_all(source, polls[number % len(polls)])[0]
    assert found == numbered(
        path, [line if len(line) <= limit else line[:65_536] for line in lines]
    )


class Log:
    """A log file as programs write and rotate it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self.expected: list[Seen] = []
        self._number = 0
        self._count = 0
        self._unwritten = b""
        path.write_bytes(b"")

    def write(self, count: int, cut: int) -> None:
        lines = documents(count, self._number)
        self.expected += numbered(self.path, lines, self.generation, self._count)
        self._number += count
        self._count += count
        text = self._unwritten + b"".join(line + b"\n" for line in lines)
        end = max(0, len(text) - cut)
        self._append(text[:end])
        self._unwritten = text[end:]

    def flush(self) -> None:
        self._append(self._unwritten)
        self._unwritten = b""

    def rotate(self) -> None:
        """Rename x.1 to x.2 and so on, then begin a new file."""
        self.flush()
        for number in range(9, 0, -1):
            older = Path(f"{self.path}.{number}")
            newer = Path(f"{self.path}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.rename(older)
        self._begin()
        self.path.write_bytes(b"")

    def copy_and_truncate(self) -> None:
        shutil.copyfile(self.path, f"{self.path}.1")
        with self.path.open("r+b") as file:
            file.truncate(0)
        self._begin()

    def _begin(self) -> None:
        self.generation += 1
        self._count = 0

    def _append(self, text: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text)


WRITE = st.tuples(st.just("write"), st.integers(1, 6), st.integers(0, 30))
OTHER = st.sampled_from([("poll",), ("poll",), ("commit",), ("kill",), ("rotate",)])


@given(steps=st.lists(st.one_of(WRITE, OTHER), max_size=40), count=st.integers(1, 8))
@settings(deadline=None, max_examples=120)
def test_rotations_and_crashes_lose_nothing_and_repeat_nothing_committed(
    steps: list[tuple[Any, ...]], count: int
):
    with tempfile.TemporaryDirectory() as folder:
        log, position = Log(Path(folder) / "x.jsonl"), Path(folder) / "x.jsonl.position"

        def start() -> FileSource:
            return opened(log.path, follow=True, position_file=str(position))

        source = start()
        source.poll(1, 0.0)
        committed: list[Seen] = []
        delivered: list[Seen] = []
        checkpoint = None
        for step, *sizes in [*steps, ("flush",), ("drain",)]:
            if step in ("write", "rotate", "flush"):
                getattr(log, step)(*sizes)
            elif step == "kill":
                source._walk.close()  # no commit, nothing written: as kill -9 leaves it
                delivered, checkpoint, source = [], None, start()
            if step == "poll":
                polled = source.poll(count, 0.0)
                assert polled is not None
                delivered += records(polled)
                checkpoint = polled.checkpoint
            if step == "commit" and checkpoint is not None:
                source.commit(checkpoint)
                committed, delivered, checkpoint = committed + delivered, [], None
            if step == "drain":
                committed += delivered + read_all(source, count)[0]
        source.close()
        assert committed == log.expected


@given(rounds=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_truncation_in_place_begins_a_new_generation(rounds: list[tuple[int, bool]]):
    with tempfile.TemporaryDirectory() as folder:
        log, position = Log(Path(folder) / "x.jsonl"), Path(folder) / "position"
        source = opened(log.path, follow=True, position_file=str(position))
        found: list[Seen] = []
        for count, kill in rounds:
            log.write(count, 0)
            found += read_all(source)[0]
            if kill:
                source._walk.close()
                source = opened(log.path, follow=True, position_file=str(position))
            log.copy_and_truncate()
            # More than before, so that the size alone does not give it away.
            log.write(count + 3, 0)
            found += read_all(source)[0]
            log.copy_and_truncate()
        source.close()
        assert found == log.expected


def test_follows_a_file_that_appears_later(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    with closing(opened(path, follow=True)) as source:
        assert "once it is there" in source.check()
        polled = source.poll(1, 0.0)
        assert polled is not None
        assert polled.batch.received == 0
        path.write_bytes(b"{}\n")
        assert read_all(source)[0] == numbered(path, [b"{}"])


def test_a_folder_is_read_by_name_and_followed(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.jsonl").write_bytes(b"2\n")
    (folder / "a.jsonl").write_bytes(b"1\n")
    for left_out in (".hidden.jsonl", "c.jsonl.tmp", "notes.txt"):
        (folder / left_out).write_bytes(b"0\n")
    position = str(tmp_path / "position")
    with closing(opened(folder, follow=True, position_file=position)) as source:
        assert [raw for *_, raw in read_all(source)[0]] == [b"1", b"2"]
        parquet.write_table(pa.table({"n": [3]}), folder / "c.parquet")
        with (folder / "a.jsonl").open("ab") as file:
            file.write(b"4\n")
        found = read_all(source)[0]
        found += read_all(source)[0]
        assert found == [
            *numbered(folder / "a.jsonl", [b"4"], start=1),
            *numbered(folder / "c.parquet", [b'{"n": 3}']),
        ]
    with closing(opened(folder, follow=True, position_file=position)) as source:
        assert read_all(source)[0] == []


def test_two_growing_files_in_a_folder_do_not_wait_for_each_other(tmp_path: Path):
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    with closing(opened(tmp_path, follow=True, settle_seconds=60)) as source:
        for number in range(3):
            for path in paths:
                with path.open("ab") as file:
                    file.write(b"%d\n" % number)
            seen = {stream for stream, *_ in read_all(source)[0] + read_all(source)[0]}
            assert seen == {str(path) for path in paths}


def test_a_damaged_file_in_a_followed_folder_is_one_reject(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 this is none PAR1")
    (tmp_path / "b.jsonl").write_bytes(b"{}\n")
    with closing(opened(tmp_path, follow=True)) as source:
        found, rejects = read_all(source)
    assert [reject.reason for reject in rejects] == [RejectReason.MALFORMED_ROW]
    assert "a.parquet" in rejects[0].detail
    assert len(found) == 2


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.jsonl.gz", "x.jsonl.zst"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08 no such thing")
    with closing(opened(path)) as source, pytest.raises(ConfigError, match=name):
        read_all(source)


def test_a_truncated_parquet_file_is_named(tmp_path: Path):
    path = tmp_path / "x.parquet"
    write_numbers(path, "parquet", "", 1000)
    path.write_bytes(path.read_bytes()[:-100])
    with (
        closing(opened(path)) as source,
        pytest.raises(ConfigError, match=r"x\.parquet cannot be read"),
    ):
        read_all(source)


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("gone.jsonl", {}, "no file .*gone.jsonl"),
        ("*.jsonl", {}, "no files to read"),
        ("x.unknown", {}, "set format"),
        ("x.jsonl.gz", {"follow": True}, "cannot grow"),
        ("x.parquet", {"follow": True}, "cannot grow"),
    ],
)
def test_says_what_to_mend(tmp_path: Path, name: str, keys: dict[str, Any], words: str):
    (tmp_path / "x.unknown").write_bytes(b"")
    with pytest.raises(ConfigError, match=words):
        opened(tmp_path / name, **keys)


def test_a_damaged_position_file_is_named(tmp_path: Path):
    (tmp_path / "x.jsonl").write_bytes(b"{}\n")
    for text in (
        "no json",
        "[]",
        '{"version": 9}',
        '{"version": 1, "files": {"x": {"inode": "1"}}}',
    ):
        (tmp_path / "position").write_text(text)
        with pytest.raises(ConfigError, match="delete it to start over"):
            opened(tmp_path / "x.jsonl", position_file=str(tmp_path / "position"))


def test_another_file_of_the_same_name_is_read_from_its_start(tmp_path: Path):
    path, position = tmp_path / "x.jsonl", str(tmp_path / "position")
    path.write_bytes(b"1\n2\n")
    with closing(opened(path, position_file=position)) as source:
        read_all(source)
    (tmp_path / "new").write_bytes(b"3\n4\n5\n")
    (tmp_path / "new").replace(path)
    with closing(opened(path, position_file=position)) as source:
        assert read_all(source)[0] == numbered(path, [b"3", b"4", b"5"], generation=1)


def test_positions_are_written_at_most_once_an_interval(tmp_path: Path):
    path, position = tmp_path / "x.jsonl", tmp_path / "position"
    path.write_bytes(b"1\n2\n3\n")
    source = opened(path, position_file=str(position), commit_interval_seconds=3600.0)
    read_all(source, 1)
    before = position.read_bytes()
    assert json.loads(before)["files"][str(path)]["records"] == 0
    source.close()
    assert json.loads(position.read_bytes())["files"][str(path)]["records"] == 3


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n")
    with closing(opened(path)) as source:
        polled = source.poll(10, 0.0)
        assert polled is not None
        assert polled.batch.payload.to_pydict() == {"a": [b"1", b"3"], "b": [b"2", b"4"]}
        assert polled.batch.raw(1) == b"3,4"


def test_progress_is_idle_only_while_something_waits(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"1\n2\n")
    with closing(opened(path, follow=True)) as source:
        source.poll(1, 0.0)
        wait_until(lambda: source.progress()[0].idle_seconds > 0)
        source.poll(1, 0.0)
        source.poll(1, 0.0)
        assert source.progress()[0].idle_seconds == 0
        source.keep_alive()
        assert source.connected()
        assert source.check() == f"file {path}, followed"


def test_begins_at_the_new_file_when_the_rotated_one_is_gone(tmp_path: Path):
    path, position = tmp_path / "x.jsonl", str(tmp_path / "position")
    path.write_bytes(b"1\n")
    with closing(opened(path, follow=True, position_file=position)) as source:
        read_all(source)
    path.unlink()
    with closing(opened(path, follow=True, position_file=position)) as source:
        assert read_all(source)[0] == []
        (tmp_path / "new").write_bytes(b"2\n")
        (tmp_path / "new").rename(path)
        assert [raw for *_, raw in read_all(source)[0]] == [b"2"]


def test_waits_for_the_successor_of_a_file_that_was_moved_away(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"1\n")
    with closing(opened(path, follow=True)) as source:
        read_all(source)
        path.rename(tmp_path / "x.jsonl.1")
        with (tmp_path / "x.jsonl.1").open("ab") as late:
            late.write(b"2\n")
        assert read_all(source)[0] == numbered(path, [b"2"], start=1)
        path.write_bytes(b"3\n")
        assert read_all(source)[0] == numbered(path, [b"3"], generation=1)


def test_check_says_what_was_found(tmp_path: Path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n")
    for path, found in ((tmp_path, 2), (tmp_path / "*.jsonl", 2), (tmp_path / "a.jsonl", 1)):
        with closing(opened(path)) as source:
            assert source.check() == f"{found} file(s) at {path}"
    with closing(opened(tmp_path / "later-*.jsonl", follow=True)) as source:
        assert source.check().startswith("0 file(s)")


def test_a_file_given_by_name_may_be_hidden(tmp_path: Path):
    path = tmp_path / ".hidden.jsonl"
    path.write_bytes(b"1\n")
    with closing(opened(path)) as source:
        assert read_all(source)[0] == numbered(path, [b"1"])


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    (tmp_path / "x.jsonl").touch()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, alive = (tmp_path / f".position.{pid}.tmp" for pid in (dead.pid, os.getppid()))
    left.touch()
    alive.touch()
    opened(tmp_path / "x.jsonl", position_file=str(tmp_path / "position")).close()
    assert not left.exists()
    assert alive.exists()
