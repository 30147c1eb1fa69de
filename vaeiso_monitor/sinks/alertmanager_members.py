"""The members of an Alertmanager cluster, spoken to in the second version of their interface."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec
import structlog

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.secret import read_secret
from vaeiso_monitor.sinks.alertmanager_config import without_secrets

if TYPE_CHECKING:
    from vaeiso_monitor.sinks.alertmanager_config import AlertmanagerSinkConfig

log = structlog.get_logger(__name__)

_RETRIED_STATUSES: Final = (408, 425, 429)


class Unavailable(Exception):
    """No member took the alerts; that may pass."""


class Members:
    """All members; every one gets every alert, as a cluster wants it."""

    def __init__(self, config: AlertmanagerSinkConfig) -> None:
        self._urls = [url.rstrip("/") for url in config.urls]
        self._client = _client(config)

    def post(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Post alerts; one member that takes them is enough, or Unavailable is raised.

        Raises ConfigError with the answer where a member refuses them for good.
        """
        body = msgspec.json.encode(alerts)
        failures = [why for url in self._urls if (why := self._post_to(url, body))]
        if len(failures) == len(self._urls):
            raise Unavailable("; ".join(failures))
        for why in failures:
            log.warning("alertmanager_member_not_reached", error=why)

    def versions(self) -> str:
        """Ask each member for its version; raise ConfigError or TransientError."""
        return "; ".join(self._version(url) for url in self._urls)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post_to(self, url: str, body: bytes) -> str:
        """Return why a member took nothing, nothing if it did; ConfigError if it never will."""
        try:
            response = self._client.post(f"{url}/api/v2/alerts", content=body)
        except httpx.TransportError as error:
            return f"{without_secrets(url)}: {str(error) or type(error).__name__}"
        if response.is_success:
            return ""
        status = response.status_code
        if response.is_server_error or status in _RETRIED_STATUSES:
            return f"{without_secrets(url)}: it answers {status}"
        msg = f"{without_secrets(url)} refuses alerts with {status} {response.reason_phrase}: mend "
        msg += f"the sink's settings ({response.text[:200].strip()})"
        raise ConfigError(msg)

    def _version(self, url: str) -> str:
        where = without_secrets(url)
        try:
            response = self._client.get(f"{url}/api/v2/status")
        except httpx.HTTPError as error:
            msg = f"{where} does not answer: {str(error) or type(error).__name__}"
            raise TransientError(msg) from error
        if not response.is_success:
            msg = f"{where} answers {response.status_code}: check the address and the secrets"
            raise ConfigError(msg)
        try:
            version = response.json()["versionInfo"]["version"]
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{where} is no Alertmanager"
            raise ConfigError(msg) from error
        return f"Alertmanager {version} at {where}"


def _client(config: AlertmanagerSinkConfig) -> httpx.Client:
    headers = {"Content-Type": "application/json", "User-Agent": "vaeiso-monitor"}
    token = read_secret(config.token_env, config.token_file, what="Alertmanager token")
    password = read_secret(config.password_env, config.password_file, what="Alertmanager password")
    if (config.username is None) != (password is None) or (token and password):
        msg = "Alertmanager: give a token, or a username and its password, or none of these"
        raise ConfigError(msg)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    auth = httpx.BasicAuth(config.username, password) if config.username and password else None
    return httpx.Client(
        headers=headers, auth=auth, timeout=config.timeout_seconds, verify=_tls(config.ca_file)
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        msg = f"ca_file: cannot use {ca_file}: {error}"
        raise ConfigError(msg) from error
