"""The sinks that need no peer: memory, standard output, files, and the fan-out."""

from __future__ import annotations

import io
import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.messages import Note, notes
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.sinks import FanOut, MemorySink, open_sink, open_sinks
from vaeiso_monitor.sinks.file import FileSink, FileSinkConfig
from vaeiso_monitor.sinks.stdout import StdoutSink, StdoutSinkConfig


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_bytes().splitlines()]


def test_memory_keeps_the_messages():
    sink = MemorySink()
    sink.deliver(notes(2))
    sink.deliver(notes(1, 2))
    assert sink.messages == notes(3)
    assert sink.connected()
    assert sink.check()
    sink.close()
    assert not sink.connected()


def test_stdout_writes_lines_for_people_or_json(capsysbinary: pytest.CaptureFixture[bytes]):
    open_sink(StdoutSinkConfig()).deliver([Note(1, "ä")])
    assert capsysbinary.readouterr().out == "note 1: ä\n".encode()
    sink = open_sink(StdoutSinkConfig(format="json"))
    sink.deliver(notes(2))
    assert [json.loads(line)["number"] for line in capsysbinary.readouterr().out.splitlines()] == [
        0,
        1,
    ]
    assert "JSON" in sink.check()
    sink.close()


def test_stdout_works_where_a_program_replaced_it(monkeypatch: pytest.MonkeyPatch):
    text = io.StringIO()
    monkeypatch.setattr("sys.stdout", text)
    open_sink(StdoutSinkConfig()).deliver(notes(1))
    assert text.getvalue() == "note 0: \n"


def test_stdout_says_when_nobody_reads_the_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        sink = StdoutSink(StdoutSinkConfig(), pipe)
        with pytest.raises(TransientError, match="standard output"):
            sink.deliver(notes(1))
        assert not sink.connected()


def test_a_file_is_appended_to(tmp_path: Path):
    path = tmp_path / "new" / "alerts.jsonl"
    for start in (0, 3):
        with closing(open_sink(FileSinkConfig(path=str(path)))) as sink:
            sink.deliver(notes(3, start))
            sink.deliver([])
            assert sink.connected()
    assert numbers(path) == list(range(6))


def test_a_torn_line_is_ended_first(tmp_path: Path):
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"number": 0, "text": ""}\n{"numb')
    with closing(open_sink(FileSinkConfig(path=str(path), fsync=False))) as sink:
        sink.deliver(notes(1, 1))
    lines = path.read_bytes().splitlines()
    assert lines[1] == b'{"numb'
    assert json.loads(lines[2])["number"] == 1


@given(
    batches=st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=12),
    max_bytes=st.integers(1, 300),
    backups=st.integers(0, 4),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rotation_keeps_the_newest_messages_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[int]],
    max_bytes: int,
    backups: int,
):
    path = tmp_path_factory.mktemp("sink") / "x.jsonl"
    count = 0
    config = FileSinkConfig(path=str(path), max_bytes=max_bytes, backups=backups, fsync=False)
    with closing(FileSink(config)) as sink:
        for sizes in batches:
            batch = [Note(count + i, "x" * size) for i, size in enumerate(sizes)]
            sink.deliver(batch)
            count += len(batch)
    kept = [path.with_name(f"x.jsonl.{n}") for n in range(9, 0, -1)]
    files = [file for file in [*kept, path] if file.exists()]
    found = [number for file in files for number in numbers(file)]
    assert found == list(range(count - len(found), count))
    assert len(files) <= backups + 1
    assert len(found) == count or len(files) == backups + 1
    for file in files:
        assert file.stat().st_size <= max_bytes or len(numbers(file)) == 1


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    with closing(open_sink(FileSinkConfig(path=str(path)))) as sink:
        sink.deliver(notes(1))
        path.rename(tmp_path / "moved")
        sink.deliver(notes(1, 1))
    assert numbers(path) == [1]


def test_an_unwritable_file_is_named(tmp_path: Path):
    (tmp_path / "folder").write_bytes(b"")
    sink = open_sink(FileSinkConfig(path=str(tmp_path / "folder" / "x.jsonl")))
    with pytest.raises(ConfigError, match=r"cannot write to .*x\.jsonl"):
        sink.check()
    with pytest.raises(TransientError, match=r"cannot write to .*x\.jsonl"):
        sink.deliver(notes(1))
    assert not sink.connected()


def test_check_opens_the_file(tmp_path: Path):
    with closing(open_sink(FileSinkConfig(path=str(tmp_path / "x")))) as sink:
        assert sink.check() == f"file {tmp_path}/x, 0 bytes"


def test_a_fan_out_delivers_to_all_and_counts(tmp_path: Path):
    counted: list[tuple[str, int, bool]] = []
    (tmp_path / "folder").write_bytes(b"")
    broken = FileSink(FileSinkConfig(path=str(tmp_path / "folder" / "x")))
    memory = MemorySink()
    sink = FanOut([broken, memory], lambda *delivery: counted.append(delivery))
    with pytest.raises(TransientError):
        sink.deliver(notes(2))
    assert memory.messages == notes(2)
    assert counted == [("file", 2, False), ("memory", 2, True)]
    assert not sink.connected()
    sink.deliver([])
    sink.close()
    assert memory.closed
    assert len(counted) == 2


def test_sinks_are_opened_from_their_configs(tmp_path: Path):
    sink = open_sinks([StdoutSinkConfig(), FileSinkConfig(path=str(tmp_path / "x"))])
    with closing(sink):
        assert sink.check().startswith("standard output, readable; file ")
        assert sink.connected()
