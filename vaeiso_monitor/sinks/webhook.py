"""Messages by HTTP POST, with bounded retries."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal

import httpx
import stamina
import structlog
from annotated_types import Gt, MinLen

from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.secret import read_secret
from vaeiso_monitor.types import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaeiso_monitor.types import Message

log = structlog.get_logger(__name__)

_RETRIED_STATUSES: Final = (408, 425, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSinkConfig:
    """A URL that receives a JSON array of messages, or one message a request.

    The bearer token comes from an environment variable or from a file; ``ca_file`` adds the
    authority that signed a private server's certificate.
    """

    url: Annotated[str, MinLen(1)]
    type: Literal["webhook"] = "webhook"
    detail: Detail = "episodes"
    batch: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    token_env: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    max_batch: Annotated[int, Gt(0)] = 500
    timeout_seconds: Annotated[float, Gt(0)] = 10.0
    deadline_seconds: Annotated[float, Gt(0)] = 120.0
    attempts: Annotated[int, Gt(0)] = 20

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            msg = "url must start with http:// or https://"
            raise ValueError(msg)

    @property
    def where(self) -> str:
        """The address for people and logs: without what may be secret in it."""
        return str(httpx.URL(self.url).copy_with(username=None, password=None, query=None))


class _Unavailable(Exception):
    """The server answered with a status that may pass."""


class WebhookSink:
    """Posts messages; only a 2xx answer counts as delivered."""

    name = "webhook"

    def __init__(self, config: WebhookSinkConfig) -> None:
        self._config = config
        self._where = config.where
        self._works = True
        self._client = _client(config)

    def deliver(self, messages: Sequence[Message]) -> None:
        """Post all of them, or raise TransientError when the attempts or the time are used up.

        Raises ConfigError with the status where the server refuses them for good.
        """
        documents = [message.to_json() for message in messages]
        size = self._config.max_batch if self._config.batch else 1
        for start in range(0, len(documents), size):
            self._post_until_taken(self._body(documents[start : start + size]))

    def connected(self) -> bool:
        """Say whether the last delivery worked."""
        return self._works

    def check(self) -> str:
        """Ask for the URL's headers; any answer but a refused token will do."""
        try:
            status = self._client.head(self._config.url).status_code
        except httpx.HTTPError as error:
            raise _unreachable(self._where, error) from error
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            msg = f"{self._where} refuses the request with {status}: check the token"
            raise ConfigError(msg)
        return f"webhook {self._where} answers"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, documents: list[bytes]) -> bytes:
        return b"[" + b",".join(documents) + b"]" if self._config.batch else documents[0]

    def _post_until_taken(self, body: bytes) -> None:
        try:
            for attempt in stamina.retry_context(
                on=(httpx.TransportError, _Unavailable),
                attempts=self._config.attempts,
                timeout=self._config.deadline_seconds,
                wait_initial=0.1,
                wait_max=10.0,
            ):
                with attempt:
                    self._attempt(body)
        except (httpx.TransportError, _Unavailable) as error:
            raise _unreachable(self._where, error) from error

    def _attempt(self, body: bytes) -> None:
        try:
            self._post(body)
        except (httpx.HTTPError, _Unavailable, ConfigError):
            self._works = False
            raise
        self._works = True

    def _post(self, body: bytes) -> None:
        response = self._client.post(self._config.url, content=body)
        status = response.status_code
        if response.is_success:
            return
        if response.is_server_error or status in _RETRIED_STATUSES:
            msg = f"it answers {status}"
            raise _Unavailable(msg)
        msg = f"{self._where} refuses messages with {status} {response.reason_phrase}: mend the "
        msg += "webhook or its settings; the messages are delivered again after a restart"
        raise ConfigError(msg)


def _client(config: WebhookSinkConfig) -> httpx.Client:
    headers = {"Content-Type": "application/json", "User-Agent": "vaeiso-monitor", **config.headers}
    token = read_secret(config.token_env, config.token_file, what="webhook token")
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.Client(headers=headers, timeout=config.timeout_seconds, verify=_tls(config))


def _tls(config: WebhookSinkConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        msg = f"ca_file: cannot use {config.ca_file}: {error}"
        raise ConfigError(msg) from error


def _unreachable(where: str, error: Exception) -> TransientError:
    return TransientError(f"{where} does not take messages: {str(error) or type(error).__name__}")
