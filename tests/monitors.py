"""A real Prometheus and a real Alertmanager on loopback, for tests and measurements."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}


def missing(*programs: str) -> str:
    """Return what to say where a program is not installed, nothing where all are, or in CI."""
    absent = [program for program in programs if shutil.which(program) is None]
    if not absent or os.environ.get("CI") == "true":
        return ""
    packages = sorted({PACKAGES[program] for program in absent})
    return f"needs {', '.join(absent)}: apt-get install {' '.join(packages)}"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A program that answers HTTP on a port of its own, until it is closed."""

    def __init__(self, words: list[str], port: int, log: Path, ready: str = "/-/ready") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._client = httpx.Client(base_url=self.url, timeout=20)
        with log.open("wb") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        self._wait(ready)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of an answer; httpx.HTTPStatusError if it is an error."""
        answer = self._client.get(path, params=query)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()

    def reload(self) -> None:
        """Let it read its configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End it."""
        self._client.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _wait(self, ready: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self._client.get(ready).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.close()
        raise TimeoutError(f"{self.url} never answered: {self.log.read_text()[-2000:]}")


class Prometheus(Server):
    """Prometheus over targets, each a job, with rules and an Alertmanager if there are any."""

    def __init__(
        self,
        folder: Path,
        targets: dict[str, str],
        *,
        seconds: float = 2,
        rules: Path | None = None,
        alertmanager: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config, port = folder / "prometheus.yml", free_port()
        config.write_text(_config(targets, seconds, rules, alertmanager))
        words = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__(words, port, folder / "prometheus.log")

    def instant(self, query: str) -> list[dict[str, Any]]:
        """Return the series of a query at this moment."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=query)["data"]["result"]
        return found

    def range(self, query: str, seconds: float, step: float = 2) -> list[dict[str, Any]]:
        """Return the series of a query over the last seconds."""
        now = time.time()
        asked = {"query": query, "start": now - seconds, "end": now, "step": step}
        found: list[dict[str, Any]] = self.get("/api/v1/query_range", **asked)["data"]["result"]
        return found

    def values(self, label: str, series: str) -> list[str]:
        """Return the values of a label among some series."""
        asked = {"match[]": series}
        found: list[str] = self.get(f"/api/v1/label/{label}/values", **asked)["data"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the rules that fire."""
        alerts = self.get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


class Alertmanager(Server):
    """Alertmanager with one receiver that drops everything; it alone, not in a cluster."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config, port = folder / "alertmanager.yml", free_port()
        config.write_text(
            "route: {receiver: nobody, group_wait: 1s, group_interval: 1s}\n"
            "receivers: [{name: nobody}]\n"
        )
        words = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        super().__init__(words, port, folder / "alertmanager.log")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it holds as active."""
        found: list[dict[str, Any]] = self.get("/api/v2/alerts", active="true")
        return found


def until(holds: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Poll until ``holds()`` is true, and return it; TimeoutError when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
    return found


def _config(targets: dict[str, str], seconds: float, rules: Path | None, alertmanager: str) -> str:
    every = f"{seconds * 1000:g}ms"
    lines = [f"global: {{scrape_interval: {every}, evaluation_interval: {every}}}"]
    if rules is not None:
        lines.append(f"rule_files: ['{rules}']")
    if alertmanager:
        there = alertmanager.removeprefix("http://")
        lines.append(
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{there}']}}]}}]}}"
        )
    lines.append("scrape_configs:")
    lines += [
        f"- {{job_name: {job}, static_configs: [{{targets: ['{url.removeprefix('http://')}']}}]}}"
        for job, url in targets.items()
    ]
    return "\n".join(lines) + "\n"
