"""A browser, and a daemon's face with made-up data behind it: for tests of the page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from vaeiso_monitor.telemetry import ModelFacts, Scored, State, Telemetry
from vaeiso_monitor.types import PartitionProgress
from vaeiso_monitor.web import AlertQuery, Behind, ServerConfig, serve, web_app

_PATIENCE_SECONDS = 20.0
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
)  # fmt: skip


def chrome() -> webdriver.Chrome:
    """Return a headless Chromium; skip, but not in CI, where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        words = "needs chromium and chromedriver on PATH: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Page:
    """The page in a browser, as its tests need it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Choose the size of the screen and its colours."""
        self._size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url: str, *, charts: bool = False) -> None:
        """Open the page, without the library of the charts where none is looked at: it is long."""
        self.driver.get("about:blank")  # a page before, whose server is gone, asks no more
        self.driver.get_log("browser")  # forget what others complained of
        self.driver.execute_cdp_cmd("Network.enable", {})
        blocked = [] if charts else ["*/plotly.min.js"]
        self.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": blocked})
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: (self.all(selector) or [None])[0])  # type: ignore[no-any-return]

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.run(script, selector))

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element, all of one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return list(self.run(script, selector))

    def shows(self, words: str, selector: str = "body") -> None:
        self.until(lambda: words in self.text(selector), f"{words!r} in {selector}")

    def until(self, holds: Callable[[], Any], what: str = "") -> Any:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := holds():
                return found
            time.sleep(0.05)
        pytest.fail(f"it did not come: {what}; the page shows:\n{self.text()[:3000]}")

    def drawn(self) -> None:
        """Wait until every chart is drawn or says why it is not."""
        script = """return [...document.querySelectorAll('.chart')].every(
            chart => chart.querySelector('.main-svg') ||
                (chart.textContent && !chart.textContent.includes('being loaded')))"""
        self.until(lambda: self.run(script), "the charts")

    def complaints(self) -> list[str]:
        """Return what the browser's console holds since the page was opened."""
        return [str(line["message"]) for line in self.driver.get_log("browser")]

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page in the folder VAEISO_PICTURES, if there is one."""
        if folder := os.environ.get("VAEISO_PICTURES"):
            self._size(*self.run("return [innerWidth, document.documentElement.scrollHeight]"))
            time.sleep(1.5)  # the charts take their time with another size
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def _size(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def alert(number: int, **changes: Any) -> dict[str, Any]:
    """Return an alert as the daemon shows it."""
    critical = number % 3 == 0
    instant = f"2026-11-21T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    return {
        "number": number, "schema_version": 1, "type": "alert",
        "alert_id": f"{number:032x}", "severity": "critical" if critical else "warning",
        "event_time": instant, "detected_at": instant,
        "source": {"type": "kafka", "stream": "pumps", "partition": 3, "offset": number},
        "entity": {"pump": f"p{number % 7}"}, "record_key": number,
        "model": {"version": "20261121T020000Z-ab12cd34", "beta": 0.1},
        "nats": 41.7, "threshold_nats": 30.2, "anomaly_score": 3.24 if critical else 1.38,
        "tail_probability": 2.1e-4, "alert_budget": 0.001, "distortion_nats": 31.0,
        "rate_nats": 10.7,
        "features": [
            {"name": "pressure", "value": 9.125, "expected": 4.5, "nats": 23.4, "unit": "bar",
             "imputed": False},
            {"name": "flow", "value": 1250.0, "expected": 998.5, "nats": 6.2, "unit": "m3/h",
             "imputed": False},
            {"name": "mode", "value": "night", "expected": "day", "nats": 1.4, "unit": None,
             "imputed": False},
        ],
        "latents": [{"index": 2, "nats": 6.1, "importance_ratio": 0.31, "moves": ["flow"]}],
        "mode": None, "episode": {"id": "e1", "first_event_time": instant, "count": 3},
        "record": {"pressure": 9.125, "flow": 1250.0, "mode": "night"}, "feedback": None,
    } | changes  # fmt: skip


@dataclass
class Plant:
    """Stands behind the page: alerts, models and requests, all in memory."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def page(self, query: AlertQuery) -> tuple[list[dict[str, Any]], int | None]:
        found = [each for each in self.alerts[::-1] if self._fits(each, query)]
        shown = found[: query.limit]
        return shown, shown[-1]["number"] if len(found) > query.limit else None

    def get(self, key: str) -> Any:
        named = next((m for m in self.models if m["version"] == key), None)
        return named or next((a for a in self.alerts if a["alert_id"] == key), None)

    def all(self) -> list[dict[str, Any]]:
        return self.models

    def promote(self, version: str) -> dict[str, Any]:
        self.asked.append(("promote", version))
        return {"version": version, "words": f"{version} serves within seconds"}

    def retrain(self, *, adopt: bool) -> dict[str, Any]:
        self.asked.append(("retrain", adopt))
        return {"started": True, "words": "a training starts now, beside the scoring"}

    def judge(self, alert_id: str, verdict: str, note: str) -> dict[str, Any]:
        self.asked.append((alert_id, verdict, note))
        said = {"verdict": verdict, "note": note, "judged_at": "2026-11-22T08:00:00.000+00:00"}
        self.alerts = [a | {"feedback": said} if a["alert_id"] == alert_id else a
                       for a in self.alerts]  # fmt: skip
        words = f"alert {alert_id} is called {verdict}"
        return {"alert_id": alert_id, "verdict": verdict, "known": True, "changed": True,
                "words": words}  # fmt: skip

    def _fits(self, each: dict[str, Any], query: AlertQuery) -> bool:
        verdict = (each["feedback"] or {}).get("verdict", "none")
        return (
            (query.before is None or each["number"] < query.before)
            and query.severity in (None, each["severity"])
            and query.verdict in (None, verdict)
            and query.entity in (None, *each["entity"].values())
        )


class Clock:
    """Real time that can be moved on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Stage:
    """Telemetry and a plant, and the states that a daemon can be in."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.ahead = -3600.0  # it has been running for an hour
        self.telemetry = Telemetry(CollectorRegistry(), version="1.0", clock=self.clock)
        self.plant = Plant()

    @contextmanager
    def shown(self, config: ServerConfig | None = None) -> Iterator[str]:
        """Serve the page during the block and yield its address."""
        plant, telemetry = self.plant, self.telemetry
        behind = Behind(plant, plant, plant, telemetry=telemetry)  # type: ignore[arg-type]
        app = web_app(telemetry.status, telemetry.registry, behind=behind)
        with serve(app, config or ServerConfig(port=0)) as served:
            assert served.url is not None
            yield served.url

    def warming_up(self) -> None:
        self.telemetry.source_connected("kafka", connected=True)
        self.telemetry.state_changed(State.WARMING_UP)
        self.pass_time(20, 0)
        self.telemetry.warming_up(12_300, 30_000)

    def streaming(self) -> None:
        telemetry = self.telemetry
        telemetry.source_connected("kafka", connected=True)
        telemetry.sink_connected("webhook", connected=True)
        telemetry.model_serving(
            ModelFacts("20261121T020000Z-ab12cd34", time.time() - 86400, 0.1, 16, "cpu", 30.2, 1e-3)
        )
        telemetry.overview.serving(PORTRAIT)
        telemetry.state_changed(State.RUNNING)
        self.pass_time(100, 1000)
        telemetry.drift.last = {"isometry": ISOMETRY, "inputs": INPUTS}
        telemetry.lifecycle.next_training(time.time() + 3600)
        self.plant.alerts = [alert(number) for number in range(1, 201)]
        self.plant.models = [model("20261121T020000Z-ab12cd34", serving=True, accepted=None)]

    def source_down(self) -> None:
        self.streaming()
        self.telemetry.source_connected("kafka", connected=False)
        self.telemetry.records_received("kafka", "pumps", 0, 0)

    def rejected(self) -> None:
        self.streaming()
        words = "rejected: 0.182 nats per record worse than the champion"
        version = "20261122T020000Z-99ffee11"
        self.telemetry.lifecycle.training_ended("rejected", "schedule", words, 60.0, version)
        self.plant.models.insert(0, model(version, accepted=False, verdict_sentence=words))

    def pass_time(self, bins: int, scored: int) -> None:
        """Let records come for a while, with a few anomalies."""
        rng = np.random.default_rng(1)
        self.clock.ahead = -5.0 * bins
        for _ in range(bins):
            self.telemetry.records_received("kafka", "pumps", 1000, 100_000)
            self.telemetry.partitions([PartitionProgress("pumps", 3, int(rng.integers(9)), 0.0)])
            if scored:
                scores = np.append(rng.exponential(0.145, scored - 2), (1.2, 8.0))
                self.telemetry.batch_scored(Scored(scores * 30, scores, scored, 1, 1))
            self.clock.ahead += 5.0
        self.telemetry.heartbeat()


def model(version: str, **changes: Any) -> dict[str, Any]:
    """Return a stored model as the daemon shows it."""
    checks = [{"name": "nats", "passed": False, "waived": False, "words": "0.182 nats worse"}]
    return {
        "version": version, "serving": False, "created": "2026-11-21T02:00:00+00:00",
        "records": 45_935, "beta": 0.1, "latent_dim": 16, "held_out_nats": -4.2,
        "threshold_nats": 30.2, "alert_budget": 0.001, "isometry_healthy": True, "accepted": True,
        "verdict_sentence": None, "verdict": {"checks": checks},
    } | changes  # fmt: skip


def _norm(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "departed": False}


PORTRAIT = {
    "version": "20261121T020000Z-ab12cd34",
    "isometry": {"verdict": "The embedding is isometric: 3 of 4 latents are meaningful."},
    "latents": [
        {"latent": i, "importance": share, "kl_nats": share * 3, "meaningful": i < 3,
         "norm_mean": 0.9, "norm_expected": 0.92}
        for i, share in enumerate((0.6, 0.25, 0.14, 0.01))
    ],
}  # fmt: skip
_HEAD = {
    "checked_at": 1_795_000_000.0, "version": "20261121T020000Z-ab12cd34", "records": 1000,
    "judged": True, "departed": False, "drifted": False, "action": "none",
}  # fmt: skip
ISOMETRY = _HEAD | {
    "sentence": "The ruler measures as it did at training.", "altered": False, "quantities": {},
    "latents": [{"latent": i, "kl_nats": 1.0, "norm": _norm(0.9)} for i in range(4)],
}  # fmt: skip
INPUTS = _HEAD | {
    "sentence": "1 of 4 features has moved: flow.", "departed": True, "drifted": True,
    "drifted_features": ["flow"],
    "features": [
        {"feature": "flow", "departed": True, "words": "higher by 12 %", "records": 1000,
         "seconds": 60.0, "psi": {"value": 0.41}},
        {"feature": "pressure", "departed": False, "words": "", "records": 1000, "seconds": 60.0,
         "psi": {"value": 0.02}},
    ],
}  # fmt: skip
