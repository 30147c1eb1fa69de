"""The numbers behind a scrape: written once per batch, read as they stand."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from prometheus_client.metrics_core import Metric as Family

    from vaeiso_monitor.telemetry.catalogue import Metric

Labels = tuple[str, ...]


@dataclass(slots=True)
class _Buckets:
    counts: NDArray[np.int64]
    total: float = 0.0


class LabelValues:
    """The first ``limit`` values of a label; all that come later share the value ``(other)``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def bounded(self, value: str) -> str:
        """Return the value, or ``(other)`` if there are too many."""
        if len(self._known) < self._limit:
            self._known.add(value)
        return value if value in self._known else "(other)"


class Series:
    """All series of a catalogue, as one Prometheus collector.

    Unlike the client's own metric objects it takes a whole batch of observations at once, replaces
    the label sets of a metric in one step (a partition that was given up, a model that was swapped
    out leave nothing behind), and shows a scrape only whole updates: see :meth:`together`.
    """

    def __init__(self, metrics: Sequence[Metric], clock: Callable[[], float] = time.time) -> None:
        self._metrics = tuple(metrics)
        self._clock = clock
        self._lock = Lock()
        self._numbers: dict[str, dict[Labels, float]] = {
            metric.name: dict.fromkeys(metric.at_first, 0.0)
            for metric in metrics
            if metric.kind != "histogram"
        }
        self._bounds = {metric.name: np.asarray(metric.buckets) for metric in metrics}
        self._histograms: dict[str, dict[Labels, _Buckets]] = {
            metric.name: {labels: _empty(metric) for labels in metric.at_first}
            for metric in metrics
            if metric.kind == "histogram"
        }

    def add(self, metric: Metric, amount: float, *labels: str) -> None:
        """Raise a counter."""
        self.together([(metric, labels, amount)])

    def together(self, rises: Sequence[tuple[Metric, Labels, float]]) -> None:
        """Raise several counters or gauges so that no scrape sees one without the other."""
        with self._lock:
            for metric, labels, amount in rises:
                numbers = self._numbers[metric.name]
                numbers[labels] = numbers.get(labels, 0.0) + amount

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge, or the instant (Unix time) that an age counts from."""
        with self._lock:
            self._numbers[metric.name][labels] = value

    def replace(self, metric: Metric, series: Mapping[Labels, float]) -> None:
        """Put these series in the place of all that the metric had."""
        with self._lock:
            self._numbers[metric.name] = dict(series)

    def observe(self, metric: Metric, values: ArrayLike, *labels: str) -> None:
        """Count a whole batch of values into a histogram; what is no number counts as +Inf."""
        array = np.asarray(values, dtype=np.float64).ravel()
        bounds = self._bounds[metric.name]
        counts = np.bincount(np.searchsorted(bounds, array), minlength=len(bounds) + 1)
        total = float(array[np.isfinite(array)].sum())
        with self._lock:
            buckets = self._buckets(metric, labels)
            buckets.counts += counts
            buckets.total += total

    def observe_one(self, metric: Metric, value: float, *labels: str) -> None:
        """Count one value as :meth:`observe` does, without an array for it."""
        place = len(metric.buckets) if math.isnan(value) else bisect_left(metric.buckets, value)
        with self._lock:
            buckets = self._buckets(metric, labels)
            buckets.counts[place] += 1
            buckets.total += value if math.isfinite(value) else 0.0

    def sums(self, *metrics: Metric) -> list[float]:
        """Return for each counter or gauge the sum over its series, all at one instant."""
        with self._lock:
            return [sum(self._numbers[metric.name].values()) for metric in metrics]

    def _buckets(self, metric: Metric, labels: Labels) -> _Buckets:
        known = self._histograms[metric.name]
        if labels not in known:
            known[labels] = _empty(metric)
        return known[labels]

    def describe(self) -> Iterator[Family]:
        """Yield the families without samples, so that the registry refuses a second owner."""
        for metric in self._metrics:
            yield _family(metric)

    def collect(self) -> Iterator[Family]:
        """Yield every metric that has a series; this is all that a scrape does."""
        with self._lock:
            numbers = {name: dict(series) for name, series in self._numbers.items()}
            histograms = {
                name: {labels: (b.counts.copy(), b.total) for labels, b in series.items()}
                for name, series in self._histograms.items()
            }
        now = self._clock()
        for metric in self._metrics:
            if metric.kind == "histogram":
                series = histograms[metric.name]
                yield _histogram_family(metric, series)
            elif numbers[metric.name]:
                yield _number_family(metric, numbers[metric.name], now)


def _empty(metric: Metric) -> _Buckets:
    return _Buckets(np.zeros(len(metric.buckets) + 1, dtype=np.int64))


def _family(
    metric: Metric,
) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily:
    bare = metric.name.removesuffix("_total")
    unit = metric.unit if metric.unit and bare.endswith(f"_{metric.unit}") else ""
    match metric.kind:
        case "counter":
            return CounterMetricFamily(bare, metric.meaning, labels=metric.labels, unit=unit)
        case "info":
            return InfoMetricFamily(bare.removesuffix("_info"), metric.meaning, labels=())
        case "histogram":
            return HistogramMetricFamily(bare, metric.meaning, labels=metric.labels, unit=unit)
        case "gauge" | "age":
            return GaugeMetricFamily(bare, metric.meaning, labels=metric.labels, unit=unit)


def _number_family(metric: Metric, series: Mapping[Labels, float], now: float) -> Family:
    family = _family(metric)
    for labels, value in series.items():
        if isinstance(family, InfoMetricFamily):
            family.add_metric((), dict(zip(metric.labels, labels, strict=True)))
        elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
            shown = max(now - value, 0.0) if metric.kind == "age" else value
            family.add_metric(labels, shown)
    return family


def _histogram_family(
    metric: Metric, series: Mapping[Labels, tuple[NDArray[np.int64], float]]
) -> Family:
    family = _family(metric)
    assert isinstance(family, HistogramMetricFamily)
    bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
    for labels, (counts, total) in series.items():
        cumulative = counts.cumsum().tolist()
        family.add_metric(labels, list(zip(bounds, cumulative, strict=True)), total)
    return family
