"""PromQL over the metrics of the catalogue: a metric that is renamed there is renamed here."""

from __future__ import annotations

from vaeiso_monitor.telemetry.catalogue import Metric

CHOSEN = 'job=~"$job", instance=~"$instance"'


def of(metric: Metric | str, *matchers: str, part: str = "") -> str:
    """Return the selector of a metric at the chosen daemons; ``part`` is such as ``_bucket``."""
    name = metric if isinstance(metric, str) else metric.name
    return f"{name}{part}{{{', '.join((CHOSEN, *matchers))}}}"


def rate(metric: Metric | str, *matchers: str, part: str = "") -> str:
    """Return the rise per second of a counter."""
    return f"rate({of(metric, *matchers, part=part)}[$__rate_interval])"


def increase(metric: Metric | str, *matchers: str, part: str = "", over: str = "$__range") -> str:
    """Return the rise of a counter over a time, the shown one by default."""
    return f"increase({of(metric, *matchers, part=part)}[{over}])"


def quantile(metric: Metric, share: float, *labels: str) -> str:
    """Return a quantile of a histogram, one series for each value of ``labels``."""
    kept = ", ".join(("le", *labels))
    return f"histogram_quantile({share:g}, sum by ({kept}) ({rate(metric, part='_bucket')}))"


def total(query: str, *labels: str) -> str:
    """Return the sum over the daemons, one series for each value of ``labels``."""
    return f"sum by ({', '.join(labels)}) ({query})" if labels else f"sum({query})"


def highest(query: str, *labels: str) -> str:
    """Return the largest over the daemons, one series for each value of ``labels``."""
    return f"max by ({', '.join(labels)}) ({query})" if labels else f"max({query})"


def since(metric: Metric) -> str:
    """Return how many seconds ago the instant in a metric was, at the daemon where it is latest."""
    return f"time() - {highest(of(metric))}"
