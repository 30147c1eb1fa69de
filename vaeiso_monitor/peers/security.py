"""How a Kafka client secures its connection, and what kafka-python calls it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from kafka.record.util import crc32c_c

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.peers.secret import read_secret

# kafka-python waits up to 30 s between attempts, which is what a restarted broker then costs.
RECONNECT = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """Encryption and login of a Kafka connection; certificates are always verified.

    The password and the passphrase of the key come from an environment variable or from a file.
    """

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_passphrase_env: str | None = None

    def __post_init__(self) -> None:
        for wrong, msg in (
            (self.sasl and not self.sasl_mechanism, f"{self.protocol} needs a sasl_mechanism"),
            (self.sasl and not self.username, f"{self.protocol} needs a username"),
            (
                self.sasl and not (self.password_env or self.password_file),
                f"{self.protocol} needs password_env or password_file",
            ),
            (
                self.sasl_mechanism is not None and not self.sasl,
                f"sasl_mechanism needs protocol SASL_SSL or SASL_PLAINTEXT, not {self.protocol}",
            ),
            (
                self.ca_file is not None and not self.tls,
                f"ca_file needs protocol SSL or SASL_SSL, not {self.protocol}",
            ),
            (
                (self.certificate_file is None) != (self.key_file is None),
                "certificate_file and key_file go together",
            ),
        ):
            if wrong:
                raise ValueError(msg)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether the client logs in."""
        return self.protocol.startswith("SASL_")


def tls_context(security: KafkaSecurity) -> ssl.SSLContext:
    """Return a context that verifies the broker; raise ConfigError naming the unusable file."""
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except (OSError, ssl.SSLError) as error:
        msg = f"security.ca_file: cannot use {security.ca_file}: {error}"
        raise ConfigError(msg) from error
    if security.certificate_file is not None:
        _load_client_certificate(context, security)
    return context


def _load_client_certificate(context: ssl.SSLContext, security: KafkaSecurity) -> None:
    passphrase = read_secret(security.key_passphrase_env, None, what="security.key_passphrase_env")
    try:
        # An empty passphrase keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(
            security.certificate_file or "", security.key_file, password=passphrase or ""
        )
    except (OSError, ssl.SSLError) as error:
        msg = (
            f"security.certificate_file: cannot use {security.certificate_file} with "
            f"{security.key_file}: {error}"
        )
        raise ConfigError(msg) from error


def client_settings(
    bootstrap_servers: tuple[str, ...], security: KafkaSecurity, *, client_id: str
) -> dict[str, Any]:
    """Return the connection settings that kafka-python's clients have in common."""
    settings: dict[str, Any] = {
        "bootstrap_servers": list(bootstrap_servers),
        "client_id": client_id,
        "security_protocol": security.protocol,
        **RECONNECT,
    }
    if security.tls:
        settings["ssl_context"] = tls_context(security)
    if security.sasl:
        settings["sasl_mechanism"] = security.sasl_mechanism
        settings["sasl_plain_username"] = security.username
        settings["sasl_plain_password"] = read_secret(
            security.password_env, security.password_file, what="security.password"
        )
    return settings


def require_fast_checksums() -> None:
    """Raise ConfigError without the crc32c package: reading would take 16 times the CPU."""
    if crc32c_c is None:
        msg = "Kafka needs the crc32c package: pip install 'kafka-python[crc32c,lz4,zstd]'"
        raise ConfigError(msg)
