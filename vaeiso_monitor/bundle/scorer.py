"""The score of a bundle: the density's nats, and what extremes cost beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vaeiso_monitor.model import Scorer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle.artefact import Bundle
    from vaeiso_monitor.bundle.extremes import Extremes
    from vaeiso_monitor.model import VAE, Parts, Pending, ScoringConfig


@dataclass(frozen=True, slots=True)
class _WithExtremes:
    """A batch whose density is on its way; its extremes are there."""

    density: Pending
    extremes: NDArray[np.float64]

    def result(self) -> NDArray[np.float64]:
        """Wait for the density and return the nats of each record of the batch [B]."""
        return self.density.result() + self.extremes


class BundleScorer:
    """Scores encoded records as a bundle does, on a device."""

    def __init__(
        self, model: VAE, config: ScoringConfig, extremes: Extremes | None, device: torch.device
    ) -> None:
        self._model, self._extremes = model, extremes
        self._scorer = Scorer(model, config, device)

    @classmethod
    def of(cls, bundle: Bundle, device: torch.device) -> Self:
        """Return the scorer of a bundle."""
        return cls(bundle.model, bundle.scoring, bundle.extremes, device)

    def launch(self, x: NDArray[np.float32]) -> Pending:
        """Start to score records [B, m]; the array must not change meanwhile."""
        density = self._scorer.launch(x)
        if self._extremes is None:
            return density
        return _WithExtremes(density, self._extremes.nats(x))

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the nats of records [B, m]: [B]."""
        return self.launch(x).result()

    def explain(self, x: NDArray[np.float32]) -> tuple[Parts, NDArray[np.float64] | None]:
        """Return the parts of the density, and the nats of extremes by encoded values [B, m]."""
        parts = self._scorer.explain(x)
        return parts, None if self._extremes is None else self._extremes.split(x)

    def beyond_proper(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return by how much scores of records [B, m] exceed proper nats: [B].

        Proper nats count categories and truths once instead of 1 / beta times, see
        :func:`vaeiso_monitor.model.objective.nats`, and compare under models of any beta.
        """
        counted = list(self._model.distortion.counted)
        if not counted:
            return np.zeros(len(x))
        costs = self._scorer.explain(x).distortion_nats[:, counted]
        return np.asarray((1 - self._model.betas[0]) * costs.sum(axis=1, dtype=np.float64))

    def close(self) -> None:
        """Wait for what is under way and end the worker."""
        self._scorer.close()
