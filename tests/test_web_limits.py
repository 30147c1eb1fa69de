"""Bounds of requests: bodies that are too large or too slow, heads, connections, garbage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from vaeiso_monitor.web import ServerConfig, serve

MEGABYTE = 1 << 20
CONFIG = ServerConfig(port=0, max_body_bytes=100_000, max_connections=20)
HASTY = ServerConfig(port=0, request_timeout_seconds=0.3, max_connections=20)


def app() -> FastAPI:
    made = FastAPI()

    @made.post("/length")
    async def length(request: Request) -> Response:
        return Response(str(len(await request.body())))

    @made.post("/fault")
    async def fault(request: Request) -> Response:
        await request.body()
        msg = "a secret of ours"
        raise TimeoutError(msg)

    return made


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(app(), CONFIG) as server:
        assert server.url is not None
        yield server.url


def pieces(count: int) -> Iterator[bytes]:
    yield from (bytes(10_000) for _ in range(count))


def talk(url: str, *parts: bytes, pause: float = 0.0, patience: float = 20.0) -> bytes:
    """Send bytes as they are, and return all that comes back until the server closes."""
    parsed = urlsplit(url)
    with socket.create_connection((parsed.hostname, parsed.port), timeout=patience) as peer:
        found = b""
        with contextlib.suppress(ConnectionError):  # it may have answered already
            for part in parts:
                peer.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while piece := peer.recv(65536):
                found += piece
        return found


def test_bodies_up_to_the_bound_are_taken(url: str) -> None:
    assert httpx.post(f"{url}/length", content=bytes(100_000)).text == "100000"
    assert httpx.post(f"{url}/length", content=pieces(10)).text == "100000"


@pytest.mark.parametrize("path", ["/length", "/nothing", "/api/v1/score"])
def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(
    url: str, path: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n"
    answer = talk(url, head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"bytes are the most that is taken here" in answer


def test_a_body_that_grows_too_large_is_refused_and_the_client_sees_why(url: str) -> None:
    answer = httpx.post(f"{url}/length", content=pieces(1000))
    assert answer.status_code == 413
    assert "100,000 bytes" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    head = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with serve(app(), HASTY) as server:
        assert server.url is not None
        assert talk(server.url, head, b"x").startswith(b"HTTP/1.1 408 ")
        dripping = talk(server.url, head, *[b"x"] * 8, pause=0.1)
        assert not dripping or dripping.startswith(b"HTTP/1.1 408 ")
        assert httpx.post(f"{server.url}/length", content=b"xx").text == "2"


def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    with serve(app(), HASTY) as server:
        assert server.url is not None
        assert talk(server.url) == b""
        assert talk(server.url, b"GET / HTTP/1.1\r\nHost:") == b""
        peers = [_connection(server.url) for _ in range(30)]
        assert httpx.get(f"{server.url}/").status_code == 503  # too many, but only for a moment
        deadline = time.monotonic() + 20
        while httpx.get(f"{server.url}/").status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for peer in peers:
            peer.close()


def _connection(url: str) -> socket.socket:
    parsed = urlsplit(url)
    peer = socket.create_connection((parsed.hostname, parsed.port))
    peer.sendall(b"GET / HTTP/1.1\r\n")
    return peer


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST /length HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused_without_a_trace_of_ours(url: str, request_: bytes) -> None:
    answer = talk(url, request_, patience=0.5)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in answer
    assert httpx.post(f"{url}/length", content=b"abc").text == "3"


def test_a_long_head_is_refused(url: str) -> None:
    answer = httpx.get(url, headers={f"x-{i}": "x" * 1000 for i in range(40)})
    assert answer.status_code in (400, 431)


def test_a_timeout_of_ours_is_not_blamed_on_the_client(url: str) -> None:
    answer = httpx.post(f"{url}/fault", content=b"abc")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_client_that_goes_away_leaves_nothing_behind(url: str) -> None:
    parsed = urlsplit(url)
    head = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    for _ in range(50):
        with socket.create_connection((parsed.hostname, parsed.port)) as peer:
            peer.sendall(head)
    deadline = time.monotonic() + 20
    while httpx.get(url).status_code == 503:
        assert time.monotonic() < deadline


SERVER = """
    import sys, time
    from fastapi import FastAPI, Request, Response
    from vaeiso_monitor.web import ServerConfig, serve
    from tests.test_web_limits import app
    with serve(app(), ServerConfig(port=0)) as server:
        print(server.url, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its URL and its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield process.stdout.readline().decode().strip(), process.pid
    process.stdin.close()
    process.stdout.close()
    process.wait(30)


def resident(pid: int) -> int:
    """Return the most memory that a process ever held, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/status").exists(), reason="needs /proc")
def test_a_hundred_megabytes_are_refused_without_memory(child: tuple[str, int]) -> None:
    url, pid = child
    httpx.post(f"{url}/length", content=bytes(65_536))
    before = resident(pid)
    body = bytes(100 * MEGABYTE)

    def streamed() -> Iterator[bytes]:
        yield from (body[:MEGABYTE] for _ in range(100))

    for path in ("/length", "/api/v1/score", "/nothing"):
        for content in (body, streamed()):
            answer = httpx.post(f"{url}{path}", content=content, timeout=60)
            assert answer.status_code in (404, 413), path
    answer = httpx.post(f"{url}/length", content=body, headers={"host": "evil"}, timeout=60)
    assert answer.status_code == 403
    asyncio.run(_ten_at_once(url, body))
    assert resident(pid) - before < 20 * MEGABYTE


async def _ten_at_once(url: str, body: bytes) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        posts = [client.post(f"{url}/length", content=body) for _ in range(10)]
        for answer in await asyncio.gather(*posts, return_exceptions=True):
            if isinstance(answer, httpx.Response):
                assert answer.status_code == 413
            else:  # it went on sending for longer than anybody listens
                assert isinstance(answer, httpx.TransportError)
