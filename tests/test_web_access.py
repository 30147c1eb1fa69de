"""Who may ask for what: tokens on every path, or without them this machine alone."""

from __future__ import annotations

import functools
import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.web import Behind, ServerConfig, serve, web_app
from vaeiso_monitor.web.access import Tokens

READ, WRITE = "read-0123456789abcdef", "write-0123456789abcdef"
OPEN = {"/healthz", "/readyz", "/docs", "/openapi.json"}


class Anybody:
    """Stands behind every path and has nothing to say."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: {"started": True, "known": True, "words": ""}

    def page(self, query: object) -> tuple[list[dict[str, Any]], None]:
        return [], None

    def all(self) -> list[dict[str, Any]]:
        return []


def app() -> FastAPI:
    telemetry = Telemetry(CollectorRegistry())
    anybody: Any = Anybody()
    behind = Behind(anybody, anybody, anybody, anybody)
    return web_app(telemetry.status, telemetry.registry, behind=behind)


@contextmanager
def served(config: ServerConfig, token: str | None = None) -> Iterator[httpx.Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with serve(app(), config) as server:
        assert server.url is not None
        with httpx.Client(base_url=server.url, headers=headers) as client:
            yield client


@pytest.fixture
def both(tmp_path: Path) -> ServerConfig:
    """A config with two tokens in files, as an editor leaves them: with a line break."""
    for name, token in (("read", READ), ("write", WRITE)):
        (tmp_path / name).write_text(f"{token}\n")
    return ServerConfig(
        port=0, read_token_file=str(tmp_path / "read"), write_token_file=str(tmp_path / "write")
    )


@functools.cache
def requests() -> list[tuple[str, str]]:
    """Return every method and path of the API, and some that there are not."""
    paths = app().openapi()["paths"]
    known = [(method.upper(), path) for path, item in paths.items() for method in item]
    unknown = itertools.product(("GET", "POST", "DELETE"), ("/nothing", "/api/v1/", "/assets"))
    others = [("POST", "/"), ("PUT", "/docs"), ("DELETE", "/healthz"), ("GET", "/docs/../metrics")]
    return [*known, *unknown, *others]


def closed(method: str, path: str) -> bool:
    return method not in ("GET", "HEAD") or path not in OPEN


def right(method: str, path: str) -> str:
    return "read" if method in ("GET", "HEAD") or path == "/api/v1/score" else "write"


WRONG = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer wrong-0123456789abcdef"},
    {"Authorization": f"Bearer {READ}x"},
    {"Authorization": f"Basic {WRITE}"},
    {"Authorization": WRITE},
    {"Authorization": b"Bearer \xff\xfe\x80"},
    {"X-Api-Key": WRITE},
]


def test_a_missing_or_wrong_token_is_refused_on_every_path(both: ServerConfig) -> None:
    with served(both) as client:
        for headers, (method, path) in itertools.product(WRONG, requests()):
            answer = client.request(method, path, headers=headers)
            if closed(method, path):
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer realm=")
                assert set(answer.json()) == {"detail"}
            else:
                assert answer.status_code in (200, 503), (method, path)


def test_a_token_opens_what_it_may_and_no_more(both: ServerConfig) -> None:
    for token, rights in ((READ, {"read"}), (WRITE, {"read", "write"})):
        with served(both, token) as client:
            for method, path in requests():
                answer = client.request(method, path)
                if right(method, path) in rights or not closed(method, path):
                    assert answer.status_code not in (401, 403), (method, path)
                else:
                    assert answer.status_code == 403, (method, path)
                    assert "write token" in answer.json()["detail"]


def test_a_token_in_the_address_is_none(both: ServerConfig) -> None:
    with served(both) as client:
        for name in ("token", "access_token"):
            assert client.get("/api/v1/status", params={name: WRITE}).status_code == 401


def test_with_tokens_other_names_and_origins_may_ask(both: ServerConfig) -> None:
    headers = {"host": "monitor.example", "origin": "https://other.example"}
    with served(both, WRITE) as client:
        assert client.get("/api/v1/status", headers=headers).status_code == 200
        assert client.post("/api/v1/retrain", headers=headers).status_code == 202


def test_metrics_may_be_opened_and_nothing_else(both: ServerConfig) -> None:
    with served(replace(both, open_metrics=True)) as client:
        assert client.get("/metrics").status_code == 200
        assert client.post("/metrics").status_code == 401
        assert client.get("/api/v1/status").status_code == 401


def test_with_the_read_token_alone_nothing_can_be_changed(both: ServerConfig) -> None:
    config = replace(both, write_token_file=None)
    with served(config) as client:
        assert client.post("/api/v1/retrain").status_code == 401
        assert client.get("/api/v1/status").status_code == 401
    with served(config, READ) as client:
        answer = client.post("/api/v1/retrain")
        assert answer.status_code == 403
        assert "server.write_token_file" in answer.json()["detail"]
        assert client.get("/api/v1/status").status_code == 200


def test_with_the_write_token_alone_this_machine_may_read(both: ServerConfig) -> None:
    config = replace(both, read_token_file=None)
    with served(config) as client:
        assert client.get("/api/v1/status").status_code == 200
        assert client.get("/api/v1/status", headers={"host": "evil.example"}).status_code == 403
        assert client.post("/api/v1/retrain").status_code == 401
    with served(config, WRITE) as client:
        assert client.post("/api/v1/retrain").status_code == 202


FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://[", "host": "localhost"},
    {"host": "evil.example"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"host": "["},
    {"host": ""},
    {"host": "127.0.0.1.evil.example"},
    {"x-forwarded-for": "192.0.2.1"},
]


def test_without_tokens_a_foreign_page_is_refused_whatever_it_asks() -> None:
    with served(ServerConfig(port=0)) as client:
        for headers, (method, path) in itertools.product(FOREIGN, requests()[::3]):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code == 403) == closed(method, path), (headers, method, path)


def test_without_tokens_this_machine_is_answered_under_its_own_names() -> None:
    with served(ServerConfig(port=0)) as client:
        for host in ("localhost", "LOCALHOST:8490", "127.0.0.1", "127.9.9.9", "[::1]"):
            assert client.get("/api/v1/status", headers={"host": host}).status_code == 200
            origin = {"host": host, "origin": f"http://{host}"}
            assert client.post("/api/v1/retrain", headers=origin).status_code == 202


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "plant.example"])
@pytest.mark.parametrize("missing", ["read_token_file", "write_token_file"])
def test_other_machines_are_let_in_only_with_both_tokens(
    both: ServerConfig, host: str, missing: str
) -> None:
    with pytest.raises(ValueError, match="set read_token_file and write_token_file"):
        replace(both, host=host, **{missing: None})
    assert not replace(both, host=host, enabled=False, **{missing: None}).enabled


def test_with_both_tokens_it_listens_for_others(both: ServerConfig) -> None:
    with serve(app(), replace(both, host="0.0.0.0")) as server:
        assert server.url is not None
        port = server.url.rpartition(":")[2]
        address = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{address}/healthz").status_code == 200
        assert httpx.get(f"{address}/metrics").status_code == 401


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("short", "16 or more characters"),
        ("with a space in the middle", "without spaces"),
        ("ümläute-0123456789abcdef", "of ASCII"),
        ("", "is empty"),
        (READ, "must differ"),
    ],
)
def test_a_token_that_protects_nothing_is_a_config_error(
    both: ServerConfig, tmp_path: Path, token: str, says: str
) -> None:
    (tmp_path / "write").write_text(token)
    with pytest.raises(ConfigError, match=says) as caught:
        Tokens.of(both)
    assert not token or token not in str(caught.value)


def test_a_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServerConfig(port=0, read_token_env="MONITOR_READ")
    monkeypatch.delenv("MONITOR_READ", raising=False)
    with pytest.raises(ConfigError, match="MONITOR_READ is not set"):
        Tokens.of(config)
    monkeypatch.setenv("MONITOR_READ", READ)
    assert Tokens.of(config).right_of(READ) == "read"
    with pytest.raises(ConfigError, match="not both"):
        Tokens.of(replace(config, read_token_file="token"))


def test_tokens_are_not_shown(both: ServerConfig) -> None:
    assert READ not in repr(Tokens.of(both))
    assert WRITE not in repr(Tokens.of(both))


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    tokens = Tokens(read=Tokens.digest(READ), write=Tokens.digest(WRITE))
    expected = {READ: "read", WRITE: "write"}.get(text, "none")
    assert tokens.right_of(text) == expected
    assert Tokens().right_of(text) == "none"


def test_over_tls(both: ServerConfig, certificates: Path) -> None:
    pair = {
        "tls_cert_file": str(certificates / "server.pem"),
        "tls_key_file": str(certificates / "server.pem"),
    }
    trusted = ssl.create_default_context(cafile=certificates / "ca.pem")
    with serve(app(), replace(both, **pair)) as server:
        assert server.url is not None
        assert server.url.startswith("https://127.0.0.1:")
        header = {"Authorization": f"Bearer {READ}"}
        with httpx.Client(verify=trusted, base_url=server.url, headers=header) as client:
            assert client.get("/api/v1/status").status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.url.replace("https", "http") + "/healthz")
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{server.url}/healthz")


def test_a_certificate_that_cannot_be_used_is_a_config_error(
    both: ServerConfig, certificates: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="belong together"):
        ServerConfig(tls_cert_file="x")
    (tmp_path / "none.pem").write_text("nothing")
    for cert, key in (
        (tmp_path / "none.pem", certificates / "server.pem"),
        (tmp_path / "missing.pem", certificates / "server.pem"),
        (certificates / "server.pem", tmp_path / "none.pem"),
    ):
        config = replace(both, tls_cert_file=str(cert), tls_key_file=str(key))
        with pytest.raises(ConfigError, match=r"server\.tls_key_file"), serve(app(), config):
            pass
