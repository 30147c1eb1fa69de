"""The web thread: bound before it starts, on loopback unless there are tokens, stopped cleanly."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.web.access import Access, Tokens
from vaeiso_monitor.web.config import ServerConfig
from vaeiso_monitor.web.headers import SecurityHeaders
from vaeiso_monitor.web.limits import MAX_HEAD_BYTES, Limits
from vaeiso_monitor.web.protocol import patient_for
from vaeiso_monitor.web.score import PATH as SCORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

_PATIENCE_SECONDS = 10.0


class Served:
    """The running server; ``url`` is where it answers, None if it is switched off."""

    def __init__(self, url: str | None = None, thread: Thread | None = None) -> None:
        self.url = url
        self._thread = thread

    @property
    def alive(self) -> bool:
        """Whether the server still runs, or was never meant to."""
        return self._thread is None or self._thread.is_alive()


@contextmanager
def serve(app: ASGIApp, config: ServerConfig) -> Iterator[Served]:
    """Answer HTTP in one thread for as long as the block runs, to those whom ``config`` lets in.

    Raises ConfigError, before any thread starts, if the address cannot be had, or a token or a
    certificate cannot be used.
    """
    if not config.enabled:
        yield Served()
        return
    protected = _protected(app, config)
    _check_tls(config)
    listener = _bind(config)
    server = uvicorn.Server(_quiet(protected, config))
    thread = Thread(target=server.run, args=([listener],), name="web", daemon=True)
    try:
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.005)
        yield Served(_url(listener, config), thread)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_SECONDS)
        listener.close()


def _protected(app: ASGIApp, config: ServerConfig) -> ASGIApp:
    """Put the doorkeepers in front: first who asks, then how much is sent."""
    tokens = Tokens.of(config)
    larger = {SCORE: config.max_score_bytes}
    limited = Limits(app, config.max_body_bytes, config.request_timeout_seconds, larger)
    return SecurityHeaders(Access(limited, tokens, open_metrics=config.open_metrics))


def _quiet(app: ASGIApp, config: ServerConfig) -> uvicorn.Config:
    """Return uvicorn's settings: our log, bounded waits, nothing that we do not use."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http=patient_for(config.request_timeout_seconds),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        limit_concurrency=config.max_connections + 1,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        ssl_certfile=config.tls_cert_file,
        ssl_keyfile=config.tls_key_file,
    )


def _check_tls(config: ServerConfig) -> None:
    """Load the certificate once; an encrypted key would else ask for its password."""
    if config.tls_cert_file is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        msg = (
            f"server.tls_cert_file = {config.tls_cert_file!r} and server.tls_key_file = "
            f"{config.tls_key_file!r} cannot be used: {error}; both are PEM, the key without a "
            "password"
        )
        raise ConfigError(msg) from error


def _bind(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise ConfigError(_in_words(config, error)) from error


def _in_words(config: ServerConfig, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"server.port = {config.port} is in use by another program: "
                "set another port, or 0 for any free one"
            )
        case errno.EACCES:
            return f"server.port = {config.port} needs privileges: set a port above 1023"
        case _:
            return f"server.host = {config.host!r} is no address of this machine: {error.strerror}"


def _url(listener: socket.socket, config: ServerConfig) -> str:
    address, port = listener.getsockname()[:2]
    host = config.host
    if ipaddress.ip_address(address).is_unspecified:
        host = socket.gethostname()
    scheme = "http" if config.tls_cert_file is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
