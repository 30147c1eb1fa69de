"""The methods of the table, and which system gives their scores on which data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.baselines.dagmm import DagmmConfig, dagmm
from vaeiso_monitor.experiments.anomaly.baselines.gmvae import GmvaeConfig, gmvae
from vaeiso_monitor.experiments.anomaly.baselines.radogaga import RadogagaConfig, radogaga
from vaeiso_monitor.experiments.anomaly.classical import ClassicalConfig, classical
from vaeiso_monitor.experiments.anomaly.configurations import CONFIGURATIONS, Config
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Trial
from vaeiso_monitor.experiments.anomaly.vae import CLOSED, SAMPLED, VaeConfig, vae

_SYSTEM_OF = {SAMPLED: "vae", CLOSED: "vae"}
METHODS = (SAMPLED, CLOSED, *(name for name in CONFIGURATIONS if name != "vae"))
_LANES = 5  # seeds of a baseline that are trained side by side
REFERENCE = SAMPLED  # what the others are compared with


@dataclass(frozen=True, slots=True)
class System:
    """What one training gives scores for, one or two methods; ``lanes`` seeds run side by side."""

    methods: tuple[str, ...]
    config: Config
    lanes: int

    def settings(self) -> dict[str, Any]:
        """Return the configuration as plain values."""
        return asdict(self.config)

    def run(self, trials: Sequence[Trial]) -> list[dict[str, Outcome]]:
        """Return for each trial, all of one data set, what each method gave."""
        config = self.config
        if isinstance(config, VaeConfig):
            return [self._asked(vae(trial, config)) for trial in trials]
        (method,) = self.methods
        return [{method: outcome} for outcome in _outcomes(config, trials)]

    def _asked(self, outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
        return {name: each for name, each in outcomes.items() if name in self.methods}


def systems(methods: Sequence[str], dataset: str) -> list[System]:
    """Return the systems that ``methods`` need, each once; ConfigError for an unknown method."""
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        msg = f'there is no method "{unknown[0]}"; there are {", ".join(METHODS)}'
        raise ConfigError(msg)
    found: dict[str, list[str]] = {}
    for method in methods:
        found.setdefault(_SYSTEM_OF.get(method, method), []).append(method)
    return [_system(name, tuple(wanted), dataset) for name, wanted in found.items()]


def _system(name: str, methods: tuple[str, ...], dataset: str) -> System:
    config = CONFIGURATIONS[name][dataset]
    alone = isinstance(config, VaeConfig | ClassicalConfig)
    return System(methods, config, 1 if alone else _LANES)


def _outcomes(
    config: DagmmConfig | RadogagaConfig | GmvaeConfig | ClassicalConfig, trials: Sequence[Trial]
) -> list[Outcome]:
    match config:
        case DagmmConfig():
            return dagmm(trials, config)
        case RadogagaConfig():
            return radogaga(trials, config)
        case GmvaeConfig():
            return gmvae(trials, config)
        case ClassicalConfig():
            return [classical(trial, config) for trial in trials]
