"""Whether the ruler bent: the serving model measured again on recent normal records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import structlog
import torch

from vaeiso_monitor.bundle import BundleScorer
from vaeiso_monitor.bundle.reference_isometry import Sample, normal
from vaeiso_monitor.lifecycle.drift_report import (
    IsometryDriftReport,
    LatentReading,
    Reading,
    Verdict,
)
from vaeiso_monitor.lifecycle.drift_verdict import Found, log_level, not_judged, settle
from vaeiso_monitor.lifecycle.isometry_limits import altered, latent_readings, quantity_readings
from vaeiso_monitor.model.workers import one_thread
from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.bundle.reference_isometry import IsometryReference
    from vaeiso_monitor.lifecycle.drift_config import IsometryDriftConfig
    from vaeiso_monitor.lifecycle.drift_history import DriftHistory
    from vaeiso_monitor.telemetry.drift import DriftTelemetry

log = structlog.get_logger(__name__)


class IsometryDrift:
    """Compares the serving bundle on recent normal records with what training measured.

    One thread checks. A check takes a fraction of a second of one core and touches nothing that
    serves. The history makes a drift of departures that persist; a new bundle starts anew.
    """

    def __init__(
        self,
        config: IsometryDriftConfig,
        history: DriftHistory,
        telemetry: DriftTelemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.last: IsometryDriftReport | None = None
        self._history = history
        self._telemetry = telemetry
        self._clock = clock

    def check(self, bundle: Bundle, records: Records) -> IsometryDriftReport:
        """Measure ``bundle`` on ``records`` (recent and normal, oldest first) and judge it.

        Of more than ``max_records`` every so many-th is taken, so pass no more of the past than
        is to be judged.
        """
        with one_thread():
            report = self._report(bundle, records)
        self.last = report
        self._telemetry.isometry_checked(report.to_dict(), self.config.max_latents)
        write = getattr(log, log_level(report.verdict))
        write(
            "isometry_checked",
            version=bundle.version,
            records=report.records,
            drifted=report.verdict.drifted,
            sentence=report.verdict.sentence,
        )
        return report

    def _report(self, bundle: Bundle, records: Records) -> IsometryDriftReport:
        now, reference = self._clock(), bundle.isometry_reference
        bent = None if reference is None else _altered(bundle, reference)
        enough = len(records) >= self.config.min_records
        if reference is None or not (enough or bent):
            verdict = not_judged(self._obstacle(reference, len(records)))
            return IsometryDriftReport(now, bundle.version, len(records), verdict, bent, (), ())
        # a model that was altered may find nothing normal any more: its own records tell it then
        quantities, latents = self._readings(bundle, reference, records) if enough else ((), ())
        names = [reading.name for reading in quantities if reading.departed]
        names += [f"latent {latent.latent}" for latent in latents if latent.departed]
        names += ["model_altered"] if bent else []
        named = {reading.name: reading.value for reading in quantities}
        found = Found("isometry", bundle.version, now, names, named)
        verdict, _ = settle(self.config, self._history, found, together=True)
        verdict = replace(verdict, sentence=_sentence(verdict, names, quantities, bent))
        count = min(len(records), self.config.max_records)
        return IsometryDriftReport(now, bundle.version, count, verdict, bent, quantities, latents)

    def _readings(
        self, bundle: Bundle, reference: IsometryReference, records: Records
    ) -> tuple[Sequence[Reading], Sequence[LatentReading]]:
        x = bundle.encoder.encode(_evenly(records, self.config.max_records))
        sample, size = _measured(bundle, reference, x, trim=True), self.config.size
        noise, (values, figures) = sample.noise(), sample.figures()
        quantities = quantity_readings(reference, values, noise, size)
        return quantities, latent_readings(reference, figures, noise, size)

    def _obstacle(self, reference: IsometryReference | None, count: int) -> str:
        if reference is None:
            return (
                "The bundle keeps no reference of its isometry, it was trained by an earlier "
                "version: the next training makes one."
            )
        return (
            f"There are {count} recent normal records, and it takes {self.config.min_records} to "
            "measure the isometry."
        )


def _evenly(records: Records, most: int) -> Records:
    """Return at most so many records, evenly spread."""
    rows = np.linspace(0, len(records) - 1, min(len(records), most)).astype(np.int64)
    categories = [[column[i] for i in rows.tolist()] for column in records.categories]
    return Records(records.numbers[rows], categories, np.arange(len(rows), dtype=np.int64))


def _measured(
    bundle: Bundle, reference: IsometryReference, x: NDArray[np.float32], *, trim: bool
) -> Sample:
    scorer = BundleScorer.of(bundle, torch.device("cpu"))
    try:
        nats = scorer.score(x)
    finally:
        scorer.close()
    if trim:
        x, nats = normal(x, nats, reference.line)
    return Sample.measure(bundle.model, x, nats, reference.line, reference.meaningful)


def _altered(bundle: Bundle, reference: IsometryReference) -> bool | None:
    if bundle.sample is None:
        return None
    x = bundle.encoder.encode(bundle.sample)
    own = _measured(bundle, reference, x, trim=False)
    return altered(reference, own.figures())


_WORDS = {
    "norm_error": "the norms are off by {0.value:.3g} (training {0.reference:.3g})",
    "orthogonality_error": "the off-diagonals are {0.value:.3g} (training {0.reference:.3g})",
    "transform_coding_ratio": "transform/coding is {0.value:.3g} (training {0.reference:.3g})",
    "nats": "normal records cost {0.value:.4g} nats (training {0.reference:.4g})",
    "meaningful_latents": "{0.value:.0f} latents are meaningful (training {0.reference:.0f})",
}


def _sentence(
    verdict: Verdict, names: Sequence[str], quantities: Sequence[Reading], bent: bool | None
) -> str:
    if not names:
        still = " It had departed in earlier checks." if verdict.drifted else ""
        return f"The ruler measures as it did at training.{still}"
    told = [_WORDS[r.name].format(r) for r in quantities if r.departed]
    latents = [name.removeprefix("latent ") for name in names if name.startswith("latent ")]
    if latents:
        told.append(f"{'latents' if len(latents) > 1 else 'latent'} {_listed(latents)} bent")
    figures = "; ".join(told) or "recent records show nothing of it yet"
    head = "The ruler bent" if verdict.drifted else "The ruler departs from training"
    return f"{head}: {figures}. {_CAUSES[bent]}"


_CAUSES = {
    True: (
        "The model measures otherwise on its own reference records too, so its weights are not "
        "those that were trained: promote another bundle or retrain."
    ),
    False: (
        "On its own reference records the model measures as at training, so the records moved to "
        "where it is not isometric: see the input drift, and retrain if this is the new normal."
    ),
    None: "The bundle keeps no records of its own to tell whether the model or the records moved.",
}


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
