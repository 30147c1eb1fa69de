"""What each latent of a bundle is, in the words and units of the user's features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.model.loadings import expected_records, loadings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vaeiso_monitor.model import VAE
    from vaeiso_monitor.records import Encoder

_ROWS = 512  # records that the means are taken over
_NOTICEABLE = 0.1  # of a latent's squared length
_STEP = 1e-3  # of an encoded column: for its slope back to the user's unit


@dataclass(frozen=True, slots=True)
class Loading:
    """How a feature moves when a latent rises by one standard deviation of its prior.

    ``change`` (mean) and ``size`` (mean of the absolute) are in the feature's ``unit`` for a
    number, a probability for a boolean or a category; ``category`` is the one that moves most.
    ``share`` is the part of the latent's squared length in encoded space.
    """

    feature: str
    unit: str | None
    category: str | None
    change: float
    size: float
    share: float

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        name = self.feature if self.category is None else f"{self.feature}={self.category}"
        return f"{name} {self.change:+.3g}{unit}"


def latent_meanings(
    model: VAE, encoder: Encoder, x: NDArray[np.float32], *, top: int = 3
) -> list[list[Loading]]:
    """Return for each latent its ``top`` features, measured on encoded normal records [N, m]."""
    rows = np.linspace(0, len(x) - 1, min(len(x), _ROWS)).astype(np.int64)
    some = x[rows]
    encoded = loadings(model, some)
    raw = loadings(model, some, _slopes(encoder, expected_records(model, some)))
    return [
        _latent(encoder, encoded.absolute[j], raw.signed[j], raw.absolute[j])[:top]
        for j in range(model.latent_dim)
    ]


def meanings_state(meanings: list[list[Loading]]) -> list[list[dict[str, Any]]]:
    """Return the loadings as plain lists and dicts, as a bundle's summary keeps them."""
    return [[asdict(loading) for loading in latent] for latent in meanings]


def moved_by(loadings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the features with a noticeable share in a latent, of its loadings as they are kept.

    Where so many share in it that no one's is, they are the first of them.
    """
    noticeable = [each for each in loadings if each["share"] >= _NOTICEABLE]
    return tuple(each["feature"] for each in noticeable or loadings)


def _slopes(encoder: Encoder, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d raw / d encoded [N, m] where the decoder's output lies; 1 for categories."""
    slopes = np.ones_like(expected)
    for block in (encoder.numbers, encoder.booleans):
        rise = block.decode(expected + _STEP) - block.decode(expected - _STEP)
        slopes[:, block.targets] = rise / (2 * _STEP)
    return slopes


def _latent(
    encoder: Encoder,
    length: NDArray[np.float64],
    signed: NDArray[np.float64],
    absolute: NDArray[np.float64],
) -> list[Loading]:
    names = {
        category.start + i: name or "(missing)"
        for category in encoder.categories
        for i, name in enumerate(category.names)
    }
    total = float(np.square(length).sum()) or 1.0
    found = []
    for feature in encoder.features:
        own = slice(feature.start, feature.stop)
        most = feature.start + int(np.argmax(length[own]))
        share = float(np.square(length[own]).sum()) / total
        found.append(
            Loading(
                feature.name,
                feature.unit,
                names.get(most),
                float(signed[most]),
                float(absolute[most]),
                share,
            )
        )
    return sorted(found, key=lambda loading: -loading.share)
