"""Scores of two bundles on one scale: nats per record in the user's units."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle.artefact import Bundle
    from vaeiso_monitor.types import Records

EncodedColumn = tuple[str, int, str | None]


def columns_with_density(bundle: Bundle) -> frozenset[EncodedColumn]:
    """Return the encoded columns that the model's normalising constant counts.

    With squared error these are all; with "mixed-columns" the numbers alone.
    """
    encoder, model = bundle.encoder, bundle.model
    numbers: set[EncodedColumn] = {
        ("number", source, None) for source in encoder.numbers.sources.tolist()
    }
    if model.distortion.gaussian_values(model.width) < model.width:
        return frozenset(numbers)
    steps = Counter[int]()
    for source in encoder.booleans.sources.tolist():
        numbers.add(("step", source, str(steps[source])))
        steps[source] += 1
    numbers |= {("missing", source, None) for source in encoder.indicators[0].tolist()}
    for category in encoder.categories:
        numbers |= {("category", category.source, name) for name in category.names}
    return frozenset(numbers)


def in_common_units(
    bundle: Bundle, nats: NDArray[np.float64], records: Records, other: Bundle
) -> NDArray[np.float64]:
    """Return scores [n] of ``bundle`` as they compare with those of ``other`` on the same records.

    The slope of the encoder turns a density of encoded into one of raw numbers. A column that one
    of the two has alone (a new category, a constant that began to move) keeps its cost, and what a
    constant would credit it with is taken away: more columns must not look like a better model.
    """
    mine, theirs = columns_with_density(bundle), columns_with_density(other)
    alone = len(mine - theirs)
    credit = 0.5 * alone * math.log(math.pi * bundle.model.betas[0])
    shared = {source for kind, source, _ in mine & theirs if kind == "number"}
    return np.asarray(nats - credit - _log_slopes(bundle, records, shared))


def _log_slopes(bundle: Bundle, records: Records, shared: set[int]) -> NDArray[np.float64]:
    block = bundle.encoder.numbers
    raw = records.numbers[:, block.sources]
    counted = np.array([source in shared for source in block.sources.tolist()], dtype=bool)
    slopes = np.where(np.isnan(raw), 0.0, block.transform.log_slope(raw))
    return np.asarray(slopes[:, counted].sum(axis=1))
