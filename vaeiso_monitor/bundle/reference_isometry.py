"""What the isometry of a bundle was at training, and how far chance alone moves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model.moments import Figures, Moments, meaningful_latents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.model import VAE

    Vector = NDArray[np.float64]

QUANTITIES = (
    "norm_error", "orthogonality_error", "transform_coding_ratio", "nats", "meaningful_latents",
)  # fmt: skip
BLOCKS = 32  # runs of neighbours that records are gathered into
_STRETCH = 2  # blocks in a row that one resampled stretch of time is made of
_RESAMPLES = 300
_ROWS = 1024  # records that the noise is measured on
_SEED = 0
_ARRAYS = ("norm", "norm_sd", "orthogonality", "orthogonality_sd", "own_norm", "own_orthogonality")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Encoded records measured with one model: moments and nats of the same blocks of records.

    ``nats`` [b] is the sum over each block, every record's score cut at the alert line.
    """

    moments: Moments
    nats: Vector
    meaningful: NDArray[np.bool_]

    @classmethod
    def measure(
        cls,
        model: VAE,
        x: NDArray[np.float32],
        nats: Vector,
        line: float,
        meaningful: NDArray[np.bool_] | None = None,
    ) -> Sample:
        """Measure encoded records [N, m] with their scores ``nats`` [N].

        A record over the alert line counts as one at the line, so that a wild one does not decide.
        ``meaningful`` [n] are the latents that count; without it those of these records.
        """
        moments = Moments.measure(model, x, BLOCKS)
        of_block = np.arange(len(x)) * moments.blocks // len(x)
        sums = np.zeros(moments.blocks)
        np.add.at(sums, of_block, np.minimum(nats, line))
        chosen = meaningful_latents(moments) if meaningful is None else meaningful
        return cls(moments, sums, chosen)

    def figures(self, times: Vector | None = None) -> tuple[Vector, Figures]:
        """Return the QUANTITIES in their order, and the figures, each block taken ``times``."""
        figures = self.moments.figures(self.meaningful, times)
        weights = np.ones(self.moments.blocks) if times is None else times
        nats = float(weights @ self.nats / (weights @ self.moments.records))
        quantities = (
            figures.norm_error,
            figures.orthogonality_error,
            figures.transform_coding_ratio,
            nats,
            float(figures.meaningful),
        )
        return np.array(quantities), figures

    def noise(self, stretch: int | None = None) -> Noise:
        """Resample the blocks, whole stretches of ``stretch`` neighbours if given."""
        rng = np.random.default_rng(_SEED)
        blocks = self.moments.blocks
        length = blocks if stretch is None else min(stretch, blocks)
        found = []
        for _ in range(_RESAMPLES):
            first = 0 if stretch is None else int(rng.integers(blocks))
            chosen = (first + rng.integers(0, length, length)) % blocks
            found.append(self.figures(np.bincount(chosen, minlength=blocks).astype(np.float64)))
        return Noise(
            np.array([quantities for quantities, _ in found]),
            np.array([figures.norm for _, figures in found]),
            np.array([figures.orthogonality for _, figures in found]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Resampled figures: ``quantities`` [r, 5], ``norm`` and ``orthogonality`` [r, n]."""

    quantities: Vector
    norm: Vector
    orthogonality: Vector


@dataclass(frozen=True, slots=True, eq=False)
class IsometryReference:
    """The isometry of a model on held-out records, with the noise of a stretch of time.

    ``value`` and ``sd`` [5] are QUANTITIES and how they scatter over stretches of a sixteenth of
    the training records; ``centre`` [5] is their mean there. ``norm``, ``orthogonality`` and their
    ``_sd`` are of each latent [n], ``meaningful`` [n] says which count. ``nats_sd`` is the scatter
    of single records, ``line`` the alert line that scores are cut at. ``own`` [5], ``own_norm`` and
    ``own_orthogonality`` [n] were measured on the reference records that the bundle keeps: there
    the same model measures the same again.
    """

    line: float
    nats_sd: float
    value: Vector
    centre: Vector
    sd: Vector
    own: Vector
    meaningful: NDArray[np.bool_]
    norm: Vector
    norm_sd: Vector
    orthogonality: Vector
    orthogonality_sd: Vector
    own_norm: Vector
    own_orthogonality: Vector

    @classmethod
    def measure(
        cls,
        model: VAE,
        score: Callable[[NDArray[np.float32]], Vector],
        held_out: NDArray[np.float32],
        everything: NDArray[np.float32],
        own: NDArray[np.float32],
        line: float,
    ) -> IsometryReference:
        """Measure at training; ``score`` gives the nats [N] of encoded records [N, m].

        ``held_out`` gives the values, ``everything`` (all records in the order of time) the noise,
        ``own`` are the records that the bundle keeps.
        """
        held_out, everything = _thinned(held_out), _thinned(everything)
        x, nats = normal(held_out, score(held_out), line)
        sample = Sample.measure(model, x, nats, line)
        value, figures = sample.figures()
        whole = normal(everything, score(everything), line)
        noise = Sample.measure(model, *whole, line, sample.meaningful).noise(_STRETCH)
        kept = Sample.measure(model, own, score(own), line, sample.meaningful)
        own_value, own_figures = kept.figures()
        return cls(
            line=line,
            nats_sd=float(np.minimum(nats, line).std()),
            value=value,
            centre=noise.quantities.mean(axis=0),
            sd=noise.quantities.std(axis=0),
            own=own_value,
            meaningful=sample.meaningful,
            norm=figures.norm,
            norm_sd=noise.norm.std(axis=0),
            orthogonality=figures.orthogonality,
            orthogonality_sd=noise.orthogonality.std(axis=0),
            own_norm=own_figures.norm,
            own_orthogonality=own_figures.orthogonality,
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle stores: a JSON-able dict and named arrays."""
        meta = {
            "line": self.line,
            "nats_sd": self.nats_sd,
            "meaningful": self.meaningful.tolist(),
            **{
                part: dict(zip(QUANTITIES, getattr(self, part).tolist(), strict=True))
                for part in ("value", "centre", "sd", "own")
            },
        }
        return meta, {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> IsometryReference:
        """Rebuild from :meth:`state`; raise BundleError if the parts do not make a reference."""
        try:
            meaningful = np.array(meta["meaningful"], dtype=np.bool_)
            parts = {
                part: np.array([float(meta[part][name]) for name in QUANTITIES])
                for part in ("value", "centre", "sd", "own")
            }
            latents = {name: _latents(arrays[name], len(meaningful)) for name in _ARRAYS}
            line, nats_sd = float(meta["line"]), float(meta["nats_sd"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the isometry reference of the bundle is damaged: {error!r}"
            raise BundleError(msg) from error
        return cls(line=line, nats_sd=nats_sd, meaningful=meaningful, **parts, **latents)


def normal(
    x: NDArray[np.float32], nats: Vector, line: float, share: float = 0.02
) -> tuple[NDArray[np.float32], Vector]:
    """Leave out records over the alert line, but never more than ``share``, the worst of them.

    What is measured on normal records must not hang on one that is not; where a model is so far
    off that most records are over its line, they are what has to be measured.
    """
    order = np.argsort(-np.nan_to_num(nats, nan=np.inf), kind="stable")
    worst = order[: int(share * len(x))]
    keep = np.ones(len(x), dtype=np.bool_)
    keep[worst] = nats[worst] <= line
    return x[keep], nats[keep]


def _thinned(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x[np.linspace(0, len(x) - 1, min(len(x), _ROWS)).astype(np.int64)]


def _latents(array: NDArray[Any], count: int) -> Vector:
    if array.shape != (count,) or array.dtype != np.float64 or not np.isfinite(array).all():
        msg = f"an array is {array.dtype} {array.shape}, and should be finite float64 ({count},)"
        raise ValueError(msg)
    return array
