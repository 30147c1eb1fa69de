"""The spool: requests as files."""

from __future__ import annotations

import os
from threading import Thread

import pytest

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "requests", clock=iter(range(1_700_000_000, 1_800_000_000)).__next__)


def names(spool):
    return sorted(path.name for path in spool._folder.iterdir())


def test_requests_are_taken_in_order_and_stay_until_done(spool):
    assert spool.pending() == []
    first = spool.put("feedback", {"alert_id": "a", "note": "wärmer"})
    second = spool.put("retrain")
    assert spool.pending() == [first, second]
    assert (first.kind, first.body) == ("feedback", {"alert_id": "a", "note": "wärmer"})
    assert second.body == {}
    assert spool.pending() == [first, second]
    spool.done(first)
    spool.done(first)
    assert spool.pending() == [second]
    spool.refuse(second, "no such thing")
    assert spool.pending() == []
    assert names(spool) == [f"{second.name}.refused"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"kind": 1, "asked_at": 1.0}',
        b'{"kind": "x"}',
        b'{"kind": "x", "asked_at": 1.0, "extra": 1}',
        b"\xff",
        b"[" * 20_000,
        b'{"kind": "x", "asked_at": 1.0, "body": {"a": "' + b"a" * 70_000 + b'"}}',
    ],
)
def test_what_is_no_request_is_set_aside(spool, content):
    good = spool.put("retrain")
    (spool._folder / "0.json").write_bytes(content)
    assert spool.pending() == [good]
    assert (spool._folder / "0.json.refused").read_bytes() == content
    assert spool.pending() == [good]


def test_what_is_half_written_is_not_seen(spool):
    good = spool.put("retrain")
    (spool._folder / ".incoming-1").write_bytes(b'{"kind": "ret')
    assert spool.pending() == [good]
    os.utime(spool._folder / ".incoming-1", (0, 0))
    spool.pending()
    assert names(spool) == [good.name]


def test_so_many_at_a_time_and_so_many_aside(spool):
    for _ in range(130):
        spool.put("retrain")
    taken = spool.pending()
    assert len(taken) == 100
    for request in [*taken, *spool.pending()[:1]]:
        spool.refuse(request, "no")
    rest = spool.pending()
    for request in rest:
        spool.refuse(request, "no")
    spool.pending()
    assert len(names(spool)) == 100


def test_several_writers(tmp_path):
    spool = Spool(tmp_path)
    writers = [Thread(target=lambda: [spool.put("x") for _ in range(20)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(spool.pending()) == 80


def test_a_request_that_cannot_be_left_is_a_config_error(tmp_path, spool):
    with pytest.raises(ConfigError, match="shorten it"):
        spool.put("x", {"note": "n" * 70_000})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot leave a request"):
        Spool(tmp_path / "file").put("x")
