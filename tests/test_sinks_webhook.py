"""The webhook sink against a real HTTP server on loopback."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stamina

from tests.brokers import free_port
from tests.messages import notes
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.sinks import open_sink
from vaeiso_monitor.sinks.webhook import WebhookSinkConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(ThreadingHTTPServer):
    """Remembers what it took; answers with ``statuses`` one after the other, then with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.taken: list[Any] = []
        self.attempts = 0
        self.tokens: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/alerts"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.attempts += 1
        self.server.tokens.append(self.headers.get("Authorization"))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.taken.append(json.loads(body))
        self.answer(status)

    def do_HEAD(self) -> None:
        self.answer(self.server.statuses.pop(0) if self.server.statuses else 405)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()
    running.thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def _fast_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def test_posts_arrays_of_bounded_size(server: Server):
    with closing(open_sink(WebhookSinkConfig(url=server.url, max_batch=2))) as sink:
        sink.deliver(notes(5))
        assert sink.connected()
    assert [[note["number"] for note in array] for array in server.taken] == [[0, 1], [2, 3], [4]]


def test_posts_one_by_one(server: Server):
    with closing(open_sink(WebhookSinkConfig(url=server.url, batch=False))) as sink:
        sink.deliver(notes(2))
        sink.deliver([])
    assert [note["number"] for note in server.taken] == [0, 1]


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_tries_again_when_the_server_is_in_trouble(server: Server, status: int):
    server.statuses = [status, status]
    with closing(open_sink(WebhookSinkConfig(url=server.url))) as sink:
        sink.deliver(notes(1))
    assert server.attempts == 3
    assert len(server.taken) == 1


def test_gives_up_after_the_attempts(server: Server):
    server.statuses = [503] * 9
    with closing(open_sink(WebhookSinkConfig(url=server.url, attempts=2))) as sink:
        with pytest.raises(TransientError, match="it answers 503"):
            sink.deliver(notes(1))
        assert not sink.connected()
    assert server.attempts == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 301])
def test_a_refusal_is_not_tried_again_and_names_the_status(server: Server, status: int):
    server.statuses = [status]
    sink = open_sink(WebhookSinkConfig(url=server.url))
    with closing(sink), pytest.raises(ConfigError, match=f"refuses messages with {status}"):
        sink.deliver(notes(1))
    assert server.attempts == 1


def test_nobody_listening(server: Server):
    url = f"http://user:secret@127.0.0.1:{free_port()}/x?token=secret"
    with closing(open_sink(WebhookSinkConfig(url=url))) as sink:
        for call in (sink.check, lambda: sink.deliver(notes(1))):
            with pytest.raises(TransientError, match="does not take messages") as caught:
                call()
            assert "secret" not in str(caught.value)


def test_sends_the_token(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOOK_TOKEN", "from-env")
    (tmp_path / "token").write_text("from-file\n")
    for keys in ({"token_env": "HOOK_TOKEN"}, {"token_file": str(tmp_path / "token")}):
        with closing(open_sink(WebhookSinkConfig(url=server.url, **keys))) as sink:
            sink.deliver(notes(1))
    assert server.tokens == ["Bearer from-env", "Bearer from-file"]


def test_check_asks_without_sending(server: Server):
    with closing(open_sink(WebhookSinkConfig(url=server.url))) as sink:
        assert sink.check() == f"webhook {server.url} answers"
        server.statuses = [401]
        with pytest.raises(ConfigError, match="401: check the token"):
            sink.check()
    assert server.attempts == 0


def test_verifies_the_certificate(server: Server, certificates: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http://", "https://")
    trusted = WebhookSinkConfig(url=url, ca_file=str(certificates / "ca.pem"))
    with closing(open_sink(trusted)) as sink:
        sink.deliver(notes(1))
    assert len(server.taken) == 1
    for ca_file in (None, str(certificates / "other-ca.pem")):
        sink = open_sink(WebhookSinkConfig(url=url, ca_file=ca_file))
        with closing(sink), pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
            sink.deliver(notes(1))
    assert len(server.taken) == 1


def test_says_what_to_mend(tmp_path: Path):
    with pytest.raises(ValueError, match="https://"):
        WebhookSinkConfig(url="example.org")
    for keys, words in (
        ({"token_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"token_file": str(tmp_path / "gone")}, "cannot read"),
        ({"token_env": "A", "token_file": "B"}, "not both"),
        ({"ca_file": str(tmp_path / "gone")}, "ca_file: cannot use"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_sink(WebhookSinkConfig(url="https://example.org", **keys))
