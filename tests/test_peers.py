"""What sources and sinks share: secrets, security, the watchdog, the diagnosis of a server."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import wait_until
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.diagnosis import diagnose, split_server
from vaeiso_monitor.peers.secret import read_secret
from vaeiso_monitor.peers.security import KafkaSecurity, client_settings, tls_context
from vaeiso_monitor.peers.watchdog import Watchdog


def test_a_secret_comes_from_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("A_SECRET", "one")
    (tmp_path / "secret").write_text("two\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    assert read_secret(None, None, what="x") is None
    assert read_secret("A_SECRET", None, what="x") == "one"
    assert read_secret(None, str(tmp_path / "secret"), what="x") == "two"
    for environment, file, words in (
        ("NOT_SET_ANYWHERE", None, "NOT_SET_ANYWHERE is not set"),
        (None, str(tmp_path / "gone"), "cannot read"),
        (None, str(tmp_path / "empty"), "is empty"),
        (None, str(tmp_path / "binary"), "not text"),
        ("A_SECRET", "B", "not both"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_secret(environment, file, what="x")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"protocol": "SASL_SSL"}, "sasl_mechanism"),
        ({"protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "username"),
        ({"protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "username": "u"}, "password_env"),
        ({"sasl_mechanism": "PLAIN"}, "not PLAINTEXT"),
        ({"ca_file": "x"}, "ca_file"),
        ({"protocol": "SSL", "key_file": "x"}, "go together"),
    ],
)
def test_keys_that_do_not_fit_together_are_named(keys: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        KafkaSecurity(**keys)


def test_unusable_certificates_are_named(tmp_path: Path, certificates: Path):
    with pytest.raises(ConfigError, match=r"security\.ca_file: cannot use .*gone"):
        tls_context(KafkaSecurity(protocol="SSL", ca_file=str(tmp_path / "gone")))
    ca = str(certificates / "ca.pem")
    keys = {"certificate_file": ca, "key_file": ca}
    with pytest.raises(ConfigError, match=r"security\.certificate_file: cannot use"):
        tls_context(KafkaSecurity(protocol="SSL", **keys))
    server = str(certificates / "server.pem")
    security = KafkaSecurity(protocol="SSL", certificate_file=server, key_file=server)
    settings = client_settings(("b:1",), security, client_id="c")
    assert settings["ssl_context"].check_hostname
    assert settings["reconnect_backoff_max_ms"] == 1000


@pytest.mark.parametrize(
    ("server", "parts"),
    [
        ("broker:9093", ("broker", 9093)),
        ("broker", ("broker", 9092)),
        ("[::1]:9093", ("::1", 9093)),
        ("[::1]", ("::1", 9092)),
    ],
)
def test_servers_are_split(server: str, parts: tuple[str, int]):
    assert split_server(server) == parts


def test_a_server_that_is_no_address_is_named():
    with pytest.raises(ConfigError, match="'broker:kafka' is not HOST:PORT"):
        split_server("broker:kafka")
    assert isinstance(diagnose(("broker:kafka",), KafkaSecurity(), deque()), ConfigError)


def test_a_server_that_says_nothing_is_transient():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=_hang_up_on_everybody, args=(listener,))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        found = diagnose((address,), KafkaSecurity(), deque(["it hung up"]))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert isinstance(found, TransientError)
    assert "it hung up" in str(found)
    assert "security.protocol" in str(found)


def _hang_up_on_everybody(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


def test_the_watchdog_acts_only_on_a_call_that_does_not_return():
    expired: list[tuple[str, float]] = []
    dog = Watchdog(lambda *what: expired.append(what))
    with closing(dog):
        with dog.limit("quick", 60.0):
            pass
        with dog.limit("slow", 0.05):
            wait_until(lambda: expired)
        with dog.limit("quick again", 60.0):
            pass
    assert expired == [("slow", 0.05)]


def test_the_watchdog_ends_the_process_loudly():
    program = (
        "import threading\n"
        "from vaeiso_monitor.peers.watchdog import Watchdog\n"
        "with Watchdog().limit('commit', 0.05):\n"
        "    threading.Event().wait(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 70
    assert "call_never_returned" in done.stdout + done.stderr
    assert "commit" in done.stdout + done.stderr
    assert "Current thread" in done.stderr or "Thread 0x" in done.stderr
