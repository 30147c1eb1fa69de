"""The terms that expressions are put together from: selectors, spans of time, states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaeiso_monitor.telemetry import Metric
from vaeiso_monitor.telemetry import catalogue as m

if TYPE_CHECKING:
    from vaeiso_monitor.rules.rule import Options
    from vaeiso_monitor.settings import Settings

_SHORTEST_WINDOW_SECONDS = 10.0  # of a trial: a few scrapes, two seconds apart
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
ONE = "on (job, instance)"


@dataclass(frozen=True, slots=True)
class Terms:
    """The config and the options, in the words of PromQL.

    Every selector names the job: another daemon, with another config, has rules of its own.
    """

    settings: Settings
    options: Options

    def of(self, metric: Metric | str, suffix: str = "", **labels: str) -> str:
        """Return the selector of a metric of this daemon; a value with ! before it is not meant.

        A metric of the catalogue must have these labels.
        """
        if isinstance(metric, Metric):
            known = {*metric.labels, "le"} if suffix == "_bucket" else {*metric.labels}
            assert {*labels} <= known, f"{metric.name} has no such label"
            metric = metric.name
        matchers = [f'job="{self.options.job}"']
        for name, value in labels.items():
            sign = "!=" if value.startswith("!") else "="
            matchers.append(f'{name}{sign}"{value.removeprefix("!")}"')
        return f"{metric}{suffix}{{{','.join(matchers)}}}"

    def window(self, seconds: float) -> str:
        """Return the span that a range of samples covers, shorter in a trial."""
        return span(max(self.wait(seconds), min(seconds, _SHORTEST_WINDOW_SECONDS)))

    def wait(self, seconds: float) -> float:
        """Return so many seconds, fewer in a trial."""
        return seconds / self.options.speed

    def rate(self, metric: Metric, seconds: float, suffix: str = "", **labels: str) -> str:
        """Return the rise per second of a counter over a window, summed for each daemon."""
        selector = self.of(metric, suffix, **labels)
        return f"sum by (job, instance) (rate({selector}[{self.window(seconds)}]))"

    def rise(self, metric: Metric, seconds: float, **labels: str) -> str:
        """Return the rise of a counter over a window, summed for each daemon."""
        selector = self.of(metric, **labels)
        return f"sum by (job, instance) (increase({selector}[{self.window(seconds)}]))"

    def when(self, state: str) -> str:
        """Return what holds while the daemon is in a state."""
        return f"{self.of(m.STATE, state=state)} == 1"


def span(seconds: float) -> str:
    """Return a duration as Prometheus writes it, such as 1h30m; at least a second unless 0."""
    left = max(round(seconds), 1) if seconds > 0 else 0
    parts = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        parts += [f"{count}{unit}"] * bool(count)
    return "".join(parts) or "0s"
