"""The config of the Alertmanager sink."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import httpx
from annotated_types import Gt, MinLen

from vaeiso_monitor.types import Detail

_OURS: Final = ("alertname", "severity", "entity", "source", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerSinkConfig:
    """One Alertmanager, or all members of a cluster; a message needs one that takes it.

    An episode is one alert, resolved ``alerts.cooldown_seconds`` after its last anomaly; what goes
    on is sent again every ``resend_seconds``, and is over after four times that if the daemon is
    gone. More than ``max_alerts`` entities at once are one alert. Passwords and tokens come from
    environment variables or files.
    """

    urls: Annotated[tuple[str, ...], MinLen(1)]
    type: Literal["alertmanager"] = "alertmanager"
    labels: dict[str, str] = field(default_factory=dict)
    page_url: str | None = None
    token_env: str | None = None
    token_file: str | None = None
    username: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    resend_seconds: Annotated[float, Gt(0)] = 60.0
    max_alerts: Annotated[int, Gt(0)] = 500
    timeout_seconds: Annotated[float, Gt(0)] = 10.0
    deadline_seconds: Annotated[float, Gt(0)] = 120.0

    def __post_init__(self) -> None:
        """Refuse addresses and labels that Alertmanager would refuse."""
        urls = (*self.urls, self.page_url or "http://")
        if not all(url.startswith(("http://", "https://")) for url in urls):
            msg = "urls and page_url must start with http:// or https://"
            raise ValueError(msg)
        for name in self.labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name in _OURS:
                msg = f"labels: {name!r} is no name for a label, or one of {', '.join(_OURS)}"
                raise ValueError(msg)

    @property
    def detail(self) -> Detail:
        """Every alert is looked at; this sink gathers them into episodes by itself."""
        return "every"

    @property
    def where(self) -> str:
        """The addresses for people and logs: without what may be secret in them."""
        return ", ".join(without_secrets(url) for url in self.urls)


def without_secrets(url: str) -> str:
    """Return an address without what may be secret in it."""
    return str(httpx.URL(url).copy_with(username=None, password=None, query=None))
