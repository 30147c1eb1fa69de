"""The web thread: bound before it starts, on loopback unless told otherwise, stopped cleanly."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import uvicorn
from annotated_types import Ge, Gt, Le

from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the daemon answers HTTP.

    ``port = 0`` takes any free port. Any host that is not loopback needs ``allow_remote = true``:
    the answers carry no secret and change nothing, but there is no TLS and no password either.
    ``/healthz`` fails when the loop made no turn for ``stall_seconds``.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65535)] = 8490
    allow_remote: bool = False
    stall_seconds: Annotated[float, Gt(0)] = 60.0


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
def serve(app: FastAPI, config: ServerConfig) -> Iterator[Served]:
    """Answer HTTP in one thread for as long as the block runs.

    Raises ConfigError, before any thread starts, if the address cannot be had.
    """
    if not config.enabled:
        yield Served()
        return
    listener = _bind(config)
    server = uvicorn.Server(_quiet(app))
    thread = Thread(target=server.run, args=([listener],), name="web", daemon=True)
    try:
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.005)
        yield Served(_url(listener, config.host), thread)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_SECONDS)
        listener.close()


def _quiet(app: FastAPI) -> uvicorn.Config:
    """Return uvicorn's settings: our log, bounded waits, nothing that we do not use."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http="h11",
        limit_concurrency=100,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
    )


def _bind(config: ServerConfig) -> socket.socket:
    if not config.allow_remote and not _loopback(config.host):
        msg = (
            f"server.host = {config.host!r} would let other machines in, without TLS or password: "
            "use 127.0.0.1, or set server.allow_remote = true if that is meant"
        )
        raise ConfigError(msg)
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise ConfigError(_in_words(config, error)) from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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


def _url(listener: socket.socket, host: str) -> str:
    address, port = listener.getsockname()[:2]
    if ipaddress.ip_address(address).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
