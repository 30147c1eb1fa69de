"""Why a Kafka cluster cannot be reached: one sentence instead of "unable to bootstrap"."""

from __future__ import annotations

import logging
import socket
import ssl
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaeiso_monitor.errors import ConfigError, TransientError, VaeisoError
from vaeiso_monitor.peers.security import KafkaSecurity, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE_SECONDS = 3.0


class _Last(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: deque[str] = deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def client_warnings() -> Iterator[deque[str]]:
    """Collect the last warnings of kafka-python, the only place where it says the reason."""
    handler = _Last()
    logger = logging.getLogger("kafka")
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


def diagnose(
    servers: tuple[str, ...], security: KafkaSecurity, warnings: deque[str]
) -> VaeisoError:
    """Return the error that says why no server could be used: TCP, then TLS, then login."""
    errors = [_probe(server, security) for server in servers]
    found = next((error for error in errors if isinstance(error, ConfigError)), None)
    if found is not None:
        return found
    if all(errors):
        return errors[0] or TransientError("no Kafka server is configured")
    return _refusal(servers, security, warnings)


def require_listener(servers: tuple[str, ...]) -> None:
    """Raise TransientError where no server accepts a connection; it takes no client to see that."""
    failures = []
    for server in servers:
        try:
            with socket.create_connection(split_server(server), timeout=_PROBE_SECONDS):
                return
        except OSError as error:
            failures.append(f"nobody answers at {server}: {error.strerror or error}")
    raise TransientError("; ".join(failures))


def _probe(server: str, security: KafkaSecurity) -> VaeisoError | None:
    try:
        host, port = split_server(server)
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            if security.tls:
                return _try_tls(connection, host, server, security)
        if _speaks_tls(host, port):
            msg = (
                f"Kafka at {server} expects TLS, but security.protocol is {security.protocol}: "
                f"use {'SASL_SSL' if security.sasl else 'SSL or SASL_SSL'}"
            )
            return ConfigError(msg)
    except ConfigError as error:
        return error
    except OSError as error:
        return TransientError(f"nobody answers at {server}: {error.strerror or error}")
    return None


def split_server(server: str) -> tuple[str, int]:
    """Split ``host:port``; the port is 9092 where it is left out."""
    host, colon, port = server.rpartition(":")
    if not colon or host.endswith(":") or "]" in port:
        return server.strip("[]"), 9092
    if not port.isdigit():
        msg = f"bootstrap_servers: {server!r} is not HOST:PORT"
        raise ConfigError(msg)
    return host.strip("[]"), int(port)


def _try_tls(
    connection: socket.socket, host: str, server: str, security: KafkaSecurity
) -> VaeisoError | None:
    try:
        with tls_context(security).wrap_socket(connection, server_hostname=host) as wrapped:
            # A server that wants a client certificate says so only after the handshake (TLS 1.3).
            wrapped.settimeout(0.3)
            wrapped.recv(1)
    except ssl.SSLCertVerificationError as error:
        msg = (
            f"the certificate of Kafka at {server} is not trusted ({error.verify_message}): "
            "check security.ca_file and the host name"
        )
        return ConfigError(msg)
    except TimeoutError:
        return None
    except (ssl.SSLError, OSError) as error:
        return _tls_failure(server, security, error)
    return None


def _tls_failure(server: str, security: KafkaSecurity, error: OSError) -> VaeisoError:
    reason = getattr(error, "reason", None) or error.strerror or "the connection was closed"
    if "CERTIFICATE" in str(reason):
        msg = (
            f"Kafka at {server} does not accept the client certificate ({reason}): "
            "check security.certificate_file and security.key_file"
        )
        return ConfigError(msg)
    msg = (
        f"Kafka at {server} does not speak TLS ({reason}): security.protocol is "
        f"{security.protocol}, the port seems to be "
        f"{'SASL_PLAINTEXT' if security.sasl else 'PLAINTEXT'}"
    )
    return ConfigError(msg)


def _speaks_tls(host: str, port: int) -> bool:
    """Try a handshake without looking at the certificate; nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except (OSError, ssl.SSLError):
        return False


def _refusal(
    servers: tuple[str, ...], security: KafkaSecurity, warnings: deque[str]
) -> VaeisoError:
    where = ", ".join(servers)
    text = " ".join(warnings)
    if security.sasl and "UnsupportedSaslMechanism" in text:
        return ConfigError(f"Kafka at {where} does not offer {security.sasl_mechanism}")
    # Brokers often just hang up on a wrong password; TCP and TLS are known to work here.
    if security.sasl and ("Sasl" in text or "disconnected" in text):
        msg = (
            f"Kafka at {where} refuses the login of {security.username!r} with "
            f"{security.sasl_mechanism}: check security.username and the password"
        )
        return ConfigError(msg)
    last = warnings[0] if warnings else "no answer to the first request"
    hint = "" if security.sasl else "; if it wants a login, set security.protocol to SASL_..."
    return TransientError(f"Kafka at {where} does not answer: {last}{hint}")
