"""A bundle at work on its device: bytes in, nats out, and the reasons for a score."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.bundle.scorer import BundleScorer
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records import Decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle.artefact import Bundle
    from vaeiso_monitor.model import Pending
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.types import RawBatch, Records, Reject


@dataclass(frozen=True, slots=True)
class Launched:
    """A batch on its way through the device: ``x`` float32 [n, m] are its encoded records."""

    batch: RawBatch
    records: Records
    rejects: Sequence[Reject]
    x: NDArray[np.float32]
    pending: Pending
    seconds: Mapping[str, float]

    def wait(self) -> Scored:
        """Wait for the device and return the scores."""
        return Scored(self.batch, self.records, self.rejects, self.x, self.pending.result())


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored batch: ``nats`` float64 [n] belong to ``records``; ``rejects`` were not scored."""

    batch: RawBatch
    records: Records
    rejects: Sequence[Reject]
    x: NDArray[np.float32]
    nats: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why k records score as they do: nats = features + latents + mode + constant, summed.

    ``feature_nats`` [k, f] is by the schema's features: distortion, and of it ``extreme_nats``
    [k, f] for what extremes cost, None without. ``latent_nats`` [k, n] (rate) is by latents;
    ``expected`` holds for each feature the k values that the model expected instead. ``mode_nats``
    [k] says how rare the operating mode of a record is, ``mode`` int64 [k] which it is: 0 and None
    for a model without modes.
    """

    nats: NDArray[np.float64]
    feature_nats: NDArray[np.float64]
    latent_nats: NDArray[np.float64]
    mode_nats: NDArray[np.float64]
    mode: NDArray[np.int64] | None
    constant: float
    expected: Sequence[Sequence[Any]]
    extreme_nats: NDArray[np.float64] | None = None


class Engine:
    """Decoder, encoder, scorer and threshold of one bundle, ready on a device.

    ``schema`` is the bundle's own, or one with the same columns whose labels, ranges and policies
    hold instead. One thread launches; the bundle never changes underneath, so a batch sees one
    version only.
    """

    def __init__(self, bundle: Bundle, device: torch.device, schema: Schema | None = None) -> None:
        self.bundle = bundle
        self.device = device
        self.schema = schema or bundle.schema
        self.decoder = Decoder(self.schema)
        self._scorer = BundleScorer.of(bundle, device)
        self._starts = [feature.start for feature in bundle.encoder.features]

    def launch(self, batch: RawBatch) -> Launched:
        """Decode and encode a batch and start its scoring; returns before the scores are there."""
        started = perf_counter()
        records, rejects = self.decoder.decode(batch)
        decoded = perf_counter()
        x = self.bundle.encoder.encode(records)
        encoded = perf_counter()
        pending = self._scorer.launch(x)
        seconds = {"decode": decoded - started, "encode": encoded - decoded}
        return Launched(batch, records, rejects, x, pending, seconds)

    def score(self, records: Records) -> NDArray[np.float64]:
        """Return the nats [n] of records that are already decoded."""
        return self._scorer.score(self.bundle.encoder.encode(records))

    def explain(self, x: NDArray[np.float32]) -> Explanation:
        """Split the scores of encoded records [k, m] into their parts."""
        parts, extremes = self._scorer.explain(x)
        features = self._by_feature(parts.distortion_nats)
        extreme = None if extremes is None else self._by_feature(extremes)
        extra = 0.0 if extreme is None else extreme
        return Explanation(
            nats=parts.nats + np.sum(extra, axis=-1),
            feature_nats=features + extra,
            latent_nats=parts.rate_nats.astype(np.float64),
            mode_nats=parts.mode_nats,
            mode=parts.mode,
            constant=parts.constant,
            expected=list(self.bundle.encoder.inverse(parts.expected).values()),
            extreme_nats=extreme,
        )

    def _by_feature(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return values [k, m] of encoded columns, added up by feature: [k, f]."""
        return np.add.reduceat(values.astype(np.float64), self._starts, axis=1)

    def warm_up(self, rows: int) -> None:
        """Score and explain ``rows`` made-up records, so that the first real batch is not slow.

        Raises BundleError where the scores are no numbers or the device refuses.
        """
        x = np.zeros((rows, self.bundle.encoder.width), dtype=np.float32)
        try:
            nats = self._scorer.score(x)
            self.explain(x[:8])
        except RuntimeError as error:
            msg = f"the bundle {self.bundle.version} does not run on {self.device}: {error}"
            raise BundleError(msg) from error
        if not np.isfinite(nats).all():
            msg = f"the bundle {self.bundle.version} scores the middle of its data with {nats[0]}"
            raise BundleError(msg)

    def close(self) -> None:
        """Stop the scorer's worker."""
        self._scorer.close()
