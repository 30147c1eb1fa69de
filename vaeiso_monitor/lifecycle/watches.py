"""The checks of the ruler and of the inputs, by the clock, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from vaeiso_monitor.alerts import DriftAlert
from vaeiso_monitor.alerts.words import iso_of
from vaeiso_monitor.lifecycle.rows import taken

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle
    from vaeiso_monitor.lifecycle.drift_config import InputDriftConfig, IsometryDriftConfig
    from vaeiso_monitor.lifecycle.drift_report import InputDriftReport, IsometryDriftReport
    from vaeiso_monitor.lifecycle.evidence import Past
    from vaeiso_monitor.types import Message, Records


class RulerCheck(Protocol):
    """Whoever measures the serving bundle on recent normal records."""

    config: IsometryDriftConfig

    def check(self, bundle: Bundle, records: Records) -> IsometryDriftReport:
        """Measure and judge."""


class InputsCheck(Protocol):
    """Whoever compares recent inputs with those of the training."""

    config: InputDriftConfig

    def check(self, bundle: Bundle) -> InputDriftReport:
        """Compare and judge."""


class Watches:
    """Checks the serving bundle, tells the sinks of a drift, and asks for a training if wanted.

    ``retrain`` is called where the config's action for a drift is to retrain.
    """

    def __init__(
        self,
        ruler: RulerCheck,
        inputs: InputsCheck,
        *,
        past: Past,
        serving: Callable[[], Bundle],
        tell: Callable[[Message], None],
        retrain: Callable[[], None],
    ) -> None:
        self._ruler = ruler
        self._inputs = inputs
        self._past = past
        self._serving = serving
        self._tell = tell
        self._retrain = retrain

    def check_ruler(self) -> None:
        """Measure the serving bundle on the latest normal records that it scored."""
        bundle = self._serving()
        snapshot = self._past.snapshot()
        own = np.flatnonzero(snapshot.seen >= bundle.created.timestamp())
        own = own[-self._ruler.config.max_records :]
        report = self._ruler.check(bundle, taken(snapshot.records, own))
        names = [reading.name for reading in report.quantities if reading.departed]
        names += [f"latent {latent.latent}" for latent in report.latents if latent.departed]
        self._follow("isometry", report, names)

    def check_inputs(self) -> None:
        """Compare recent inputs with those that the serving bundle was trained on."""
        report = self._inputs.check(self._serving())
        self._follow("inputs", report, list(report.drifted_features))

    def _follow(
        self,
        kind: Literal["isometry", "inputs"],
        report: IsometryDriftReport | InputDriftReport,
        names: list[str],
    ) -> None:
        verdict = report.verdict
        config = self._ruler.config if kind == "isometry" else self._inputs.config
        if config.action == "none":
            return
        if verdict.began or verdict.ended:
            self._tell(
                DriftAlert(
                    kind=kind,
                    status="started" if verdict.began else "ended",
                    detected_at=iso_of(report.checked_at),
                    model_version=report.version,
                    records=report.records,
                    names=names,
                    sentence=verdict.sentence,
                    action=verdict.action,
                )
            )
        if verdict.action == "retrain":
            self._retrain()
