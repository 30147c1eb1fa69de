"""What the checks of the ruler and of the inputs found, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaeiso_monitor.telemetry import catalogue as metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vaeiso_monitor.telemetry.series import Labels, Series

_OTHER = "(other)"
_QUANTITIES = {
    "norm_error": metrics.ISOMETRY_NORM_ERROR,
    "orthogonality_error": metrics.ISOMETRY_ORTHOGONALITY_ERROR,
    "transform_coding_ratio": metrics.ISOMETRY_TRANSFORM_CODING,
    "nats": metrics.ISOMETRY_NATS,
    "meaningful_latents": metrics.ISOMETRY_MEANINGFUL,
}
_SETS = {"recent": "value", "reference": "reference", "limit": "high"}
_FEATURES = {
    "psi": metrics.INPUT_PSI,
    "missing": metrics.INPUT_MISSING,
    "unseen": metrics.INPUT_UNSEEN,
    "out_of_range": metrics.INPUT_OUT_OF_RANGE,
}
_OF_ONE_MODEL = (
    metrics.LATENT_NORM,
    metrics.LATENT_ORTHOGONALITY,
    metrics.LATENT_KL,
    metrics.MODEL_ALTERED,
    metrics.INPUT_DRIFTED,
    metrics.DRIFTED,
)


class DriftTelemetry:
    """The facts about drift; reached as ``Telemetry.drift``.

    Each check replaces what the one before said, so that a model or a feature that is gone leaves
    nothing behind. Reports come as the plain dicts that their ``to_dict`` makes.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self.last: dict[str, Mapping[str, Any]] = {}
        """The latest report of each kind, as it came; missing before the first check."""

    def isometry_checked(self, report: Mapping[str, Any], max_latents: int) -> None:
        """Say what the serving model measured on recent normal records."""
        self._checked("isometry", report)
        if not report["judged"]:
            return
        for name, reading in report["quantities"].items():
            series: dict[Labels, float | None] = {
                (label,): reading[key] for label, key in _SETS.items()
            }
            self._replace(_QUANTITIES[name], series)
        shown = report["latents"][:max_latents]
        self._latents(metrics.LATENT_NORM, shown, "norm")
        self._latents(metrics.LATENT_ORTHOGONALITY, shown, "orthogonality")
        kl: dict[Labels, float | None] = {
            (str(latent["latent"]),): latent["kl_nats"] for latent in shown
        }
        self._replace(metrics.LATENT_KL, kl)
        altered = report["altered"]
        self._replace(metrics.MODEL_ALTERED, {} if altered is None else {(): float(altered)})

    def model_changed(self) -> None:
        """Forget what was measured of the model that served before."""
        measured = (*_QUANTITIES.values(), *_FEATURES.values(), *_OF_ONE_MODEL)
        for metric in measured:
            self._series.replace(metric, {})

    def inputs_checked(self, report: Mapping[str, Any], max_features: int) -> None:
        """Say how recent records compare with the training records, feature by feature.

        Features beyond ``max_features``, in the order of the schema, share one series that shows
        the largest value among them.
        """
        self._checked("inputs", report)
        if not report["judged"]:
            return
        features = report["features"]
        for name, metric in _FEATURES.items():
            values = [(part["feature"], part[name]["value"]) for part in features]
            self._replace(metric, _bounded(values, max_features))
        drifted = set(report["drifted_features"])
        flags = [(part["feature"], float(part["feature"] in drifted)) for part in features]
        self._replace(metrics.INPUT_DRIFTED, _bounded(flags, max_features))

    def _checked(self, kind: str, report: Mapping[str, Any]) -> None:
        outcome = "not_judged" if not report["judged"] else "quiet"
        outcome = "departed" if report["departed"] else outcome
        outcome = "drifted" if report["drifted"] else outcome
        self.last = {**self.last, kind: report}
        self._series.add(metrics.DRIFT_CHECKS, 1, kind, outcome)
        self._series.set(metrics.DRIFT_CHECKED, report["checked_at"], kind)
        if report["judged"]:
            self._series.set(metrics.DRIFTED, float(report["drifted"]), kind)

    def _latents(self, metric: metrics.Metric, latents: Sequence[Any], name: str) -> None:
        self._replace(metric, {(str(part["latent"]),): part[name]["value"] for part in latents})

    def _replace(self, metric: metrics.Metric, series: Mapping[Labels, float | None]) -> None:
        known = {labels: value for labels, value in series.items() if value is not None}
        self._series.replace(metric, known)


def _bounded(values: Sequence[tuple[str, float | None]], most: int) -> dict[Labels, float | None]:
    shown: dict[Labels, float | None] = {(name,): value for name, value in values[:most]}
    rest = [value for _, value in values[most:] if value is not None]
    return {**shown, (_OTHER,): max(rest)} if rest else shown
