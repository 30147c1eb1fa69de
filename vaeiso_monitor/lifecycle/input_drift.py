"""Whether the inputs moved: each feature of recent records against the training records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from vaeiso_monitor.lifecycle.drift_report import FeatureReading, InputDriftReport, Verdict
from vaeiso_monitor.lifecycle.drift_verdict import Found, log_level, not_judged, settle
from vaeiso_monitor.lifecycle.input_compare import compare
from vaeiso_monitor.lifecycle.input_sample import InputSample

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.lifecycle.drift_config import InputDriftConfig
    from vaeiso_monitor.lifecycle.drift_history import DriftHistory
    from vaeiso_monitor.telemetry.drift import DriftTelemetry
    from vaeiso_monitor.types import Records

log = structlog.get_logger(__name__)

_TOLD = 5  # features that a sentence names
_KEPT_FIGURES = 100


class InputDrift:
    """Keeps a bounded sample of recent records, as they came, and compares it with training.

    The loop calls :meth:`observe` once a batch, another thread :meth:`check`. A new bundle needs
    nothing said: the sample is raw, and is compared with the reference of the bundle at hand. The
    sample is not kept over a restart, the history of departures is.
    """

    def __init__(
        self,
        config: InputDriftConfig,
        history: DriftHistory,
        telemetry: DriftTelemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.last: InputDriftReport | None = None
        self._history = history
        self._telemetry = telemetry
        self._clock = clock
        self._sample = InputSample(config.window_seconds)

    def observe(self, records: Records) -> None:
        """Take note of one batch, anomalous records included; some microseconds."""
        self._sample.add(records, self._clock())

    def check(self, bundle: Bundle) -> InputDriftReport:
        """Compare the sample with the training records of ``bundle`` and judge it."""
        report = self._report(bundle)
        self.last = report
        self._telemetry.inputs_checked(report.to_dict(), self.config.max_features)
        write = getattr(log, log_level(report.verdict))
        write(
            "inputs_checked",
            version=bundle.version,
            records=report.records,
            drifted=list(report.drifted_features[:_TOLD]),
            sentence=report.verdict.sentence,
        )
        return report

    def _report(self, bundle: Bundle) -> InputDriftReport:
        now, reference = self._clock(), bundle.input_reference
        if reference is None:
            why = (
                "The bundle keeps no reference of its inputs, it was trained by an earlier "
                "version: the next training makes one."
            )
            return _unjudged(now, bundle, 0, why)
        recent = self._sample.recent(now)
        count = 0 if recent is None else len(recent.records)
        readings = None if recent is None else compare(self.config, reference, recent, now)
        if readings is None:
            why = (
                f"{count} recent records are too few, or span too little of what training "
                f"spanned, to compare with its {reference.records}."
            )
            return _unjudged(now, bundle, count, why)
        departed = [reading.feature for reading in readings if reading.departed]
        figures = {reading.feature: reading.psi.value for reading in readings[:_KEPT_FIGURES]}
        found = Found("inputs", bundle.version, now, departed, figures)
        verdict, drifted = settle(self.config, self._history, found, together=False)
        ranked = _ranked(readings, drifted)
        verdict = replace(verdict, sentence=_sentence(verdict, readings, ranked))
        return InputDriftReport(now, bundle.version, count, verdict, ranked, readings)


def _unjudged(now: float, bundle: Bundle, count: int, why: str) -> InputDriftReport:
    return InputDriftReport(now, bundle.version, count, not_judged(why), (), ())


def _ranked(readings: Sequence[FeatureReading], names: Sequence[str]) -> list[str]:
    psi = {reading.feature: reading.psi.value for reading in readings}
    return sorted(names, key=lambda name: -psi.get(name, 0.0))


def _sentence(verdict: Verdict, readings: Sequence[FeatureReading], drifted: Sequence[str]) -> str:
    words = {reading.feature: reading.words for reading in readings}
    departed = _ranked(readings, [r.feature for r in readings if r.departed])
    shown = list(drifted) or departed
    if not shown:
        return f"All {len(readings)} features look as they did in training."
    more = f"; and {len(shown) - _TOLD} more" if len(shown) > _TOLD else ""
    told = "; ".join(words.get(name, name) for name in shown[:_TOLD])
    head = "The inputs moved" if verdict.drifted else "Inputs depart from training"
    return f"{head} in {len(shown)} of {len(readings)} features: {told}{more}."
