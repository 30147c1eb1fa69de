"""Looks topics up before a client touches them, since touching one may create it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from vaeiso_monitor.errors import ConfigError, VaeisoError
from vaeiso_monitor.peers.clients import build_client
from vaeiso_monitor.peers.diagnosis import client_warnings, diagnose, require_listener
from vaeiso_monitor.peers.security import KafkaSecurity, client_settings

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

_UNKNOWN_TOPIC: Final = 3
_INVALID_TOPIC: Final = 17
_NOT_AUTHORIZED: Final = 29


def look_up(
    servers: tuple[str, ...],
    security: KafkaSecurity,
    topics: Sequence[str],
    *,
    need: Literal["READ", "WRITE"],
    timeout_seconds: float,
) -> dict[str, int]:
    """Return the number of partitions of each topic that may be read or written.

    Raises ConfigError for what the user must mend (login, certificate, missing topic or right) and
    TransientError where nobody answers.
    """
    settings = client_settings(servers, security, client_id="vaeiso-monitor-check")
    require_listener(servers)
    with client_warnings() as warnings:
        try:
            described = _describe(settings, topics, timeout_seconds)
        except KafkaError as error:
            raise _reason(error, servers, security, warnings) from error
    return {topic["name"]: _partitions(topic, servers, security, need) for topic in described}


def _describe(
    settings: dict[str, Any], topics: Sequence[str], timeout_seconds: float
) -> list[dict[str, Any]]:
    settings = {"bootstrap_timeout_ms": round(timeout_seconds * 1000), **settings}
    admin = build_client(KafkaAdminClient, settings)
    try:
        found: list[dict[str, Any]] = admin.describe_topics(list(topics))
    finally:
        admin.close()
    return found


def _reason(
    error: KafkaError, servers: tuple[str, ...], security: KafkaSecurity, warnings: deque[str]
) -> VaeisoError:
    warnings.append(str(error))
    return diagnose(servers, security, warnings)


def _partitions(
    topic: dict[str, Any], servers: tuple[str, ...], security: KafkaSecurity, need: str
) -> int:
    name, where = topic["name"], ", ".join(servers)
    code = topic["error_code"]
    if code in (_UNKNOWN_TOPIC, _INVALID_TOPIC):
        msg = f"the topic {name!r} does not exist at {where}: create it, or correct its name"
        raise ConfigError(msg)
    operations = topic.get("authorized_operations")
    if code == _NOT_AUTHORIZED or (operations and need not in operations):
        user = f"the user {security.username!r}" if security.sasl else "this client"
        msg = f"{user} may not {need.lower()} the topic {name!r} at {where}: grant the right {need}"
        raise ConfigError(msg)
    return len(topic["partitions"])
