"""Where the daemon answers HTTP, to whom, and how much it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the daemon answers HTTP, to whom, and within which bounds.

    ``port = 0`` takes any free port. Tokens come from files or from environment variables. Any host
    that is not loopback needs both. ``/healthz`` fails when the loop made no turn for
    ``stall_seconds``.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65535)] = 8490
    read_token_env: str | None = None
    read_token_file: str | None = None
    write_token_env: str | None = None
    write_token_file: str | None = None
    open_metrics: bool = False
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    stall_seconds: Annotated[float, Gt(0)] = 60.0
    max_connections: Annotated[int, Ge(1)] = 100
    request_timeout_seconds: Annotated[float, Gt(0)] = 10.0
    max_body_bytes: Annotated[int, Ge(1024)] = 65_536
    max_score_bytes: Annotated[int, Ge(1024)] = 2_097_152
    max_score_records: Annotated[int, Ge(1)] = 1000

    def __post_init__(self) -> None:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            msg = "tls_cert_file and tls_key_file belong together: give both or none"
            raise ValueError(msg)
        read = self.read_token_file or self.read_token_env
        write = self.write_token_file or self.write_token_env
        if self.enabled and not is_loopback(self.host) and not (read and write):
            msg = (
                f"host {self.host!r} lets other machines in: set read_token_file and "
                "write_token_file (`openssl rand -hex 32` makes a token), or use 127.0.0.1"
            )
            raise ValueError(msg)


def is_loopback(host: str) -> bool:
    """Say whether ``host``, an address or a name, is this machine and no other."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
