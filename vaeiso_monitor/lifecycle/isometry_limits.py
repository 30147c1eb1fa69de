"""How far each figure of the isometry may lie from its reference: by chance, and by size.

Chance is four standard deviations (``_SIGMAS``) of the figure over stretches of the training
records and over resampled recent records. Size is a share of what a healthy isometry may be off by.
A figure departs where it is beyond both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaeiso_monitor.bundle.reference_isometry import QUANTITIES
from vaeiso_monitor.lifecycle.drift_report import LatentReading, Reading
from vaeiso_monitor.model.isometry import NORM_TOLERANCE, ORTHOGONALITY_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle.reference_isometry import IsometryReference, Noise
    from vaeiso_monitor.model.moments import Figures

    Vector = NDArray[np.float64]

# new days always cost a little more than those that were learned from
_SIGMAS = np.array([6.0 if name == "nats" else 4.0 for name in QUANTITIES])
_LATENT_SIGMAS = 5.0  # there are many of them
_LATENT_SIZE = 2.0  # one latent may be off by more than the mean of all
_ONE_SIDED = ("norm_error", "orthogonality_error", "nats")  # less of it is no harm
_NATS_SIZE = 1.5  # a stream wanders in its nats more than in its isometry
_SAME_NORM = 0.001  # in float64 on the same records
_SAME_NATS = 0.05  # in standard deviations of a record: float32, another device


def quantity_readings(
    reference: IsometryReference, values: Vector, noise: Noise, size: float
) -> tuple[Reading, ...]:
    """Return each quantity [5] measured on recent records, with its limits."""
    chance = _SIGMAS * np.hypot(reference.sd, noise.quantities.std(axis=0))
    sizes = _sizes(reference, size)
    low = np.minimum(
        np.minimum(reference.value, reference.centre) - chance, reference.value - sizes[0]
    )
    high = np.maximum(
        np.maximum(reference.value, reference.centre) + chance, reference.value + sizes[1]
    )
    low[[name in _ONE_SIDED for name in QUANTITIES]] = -np.inf
    rows = zip(QUANTITIES, values, reference.value, low, high, strict=True)
    return tuple(Reading(name, *map(float, figures)) for name, *figures in rows)


def latent_readings(
    reference: IsometryReference, figures: Figures, noise: Noise, size: float
) -> tuple[LatentReading, ...]:
    """Return norm and off-diagonal of each latent measured on recent records, with limits."""
    norms = _limits(
        reference.norm, reference.norm_sd, noise.norm, _LATENT_SIZE * size * NORM_TOLERANCE
    )
    worst = _limits(
        reference.orthogonality,
        reference.orthogonality_sd,
        noise.orthogonality,
        _LATENT_SIZE * size * ORTHOGONALITY_TOLERANCE,
    )
    return tuple(
        LatentReading(
            latent=j,
            meaningful=bool(reference.meaningful[j]),
            kl_nats=float(figures.kl[j]),
            norm=_reading("norm", figures.norm[j], reference.norm[j], norms[j]),
            orthogonality=Reading(
                "orthogonality_error",
                float(figures.orthogonality[j]),
                float(reference.orthogonality[j]),
                -np.inf,
                float(reference.orthogonality[j] + worst[j]),
            ),
        )
        for j in range(len(reference.norm))
    )


def altered(reference: IsometryReference, own: tuple[Vector, Figures]) -> bool:
    """Say whether a model measures otherwise than at training on its own reference records.

    There is no noise in that: the records are the same.
    """
    quantities, figures = own
    used = reference.meaningful
    nats = QUANTITIES.index("nats")
    slack = _SAME_NATS * reference.nats_sd + 1e-4 * abs(reference.own[nats]) + 1e-6
    return bool(
        not np.isfinite(quantities).all()
        or (np.abs(figures.norm - reference.own_norm)[used] > _SAME_NORM).any()
        or (np.abs(figures.orthogonality - reference.own_orthogonality)[used] > _SAME_NORM).any()
        or abs(quantities[nats] - reference.own[nats]) > slack
    )


def _sizes(reference: IsometryReference, size: float) -> tuple[Vector, Vector]:
    """Return the smallest departure that matters, downwards and upwards [5]."""
    ratio, latents = reference.value[2], reference.value[4]
    factor = 1 + 2 * size
    both = [size * NORM_TOLERANCE, size * ORTHOGONALITY_TOLERANCE]
    count = 2 * size * max(1.0, 0.15 * float(latents))
    nats = _NATS_SIZE * size * reference.nats_sd
    down = [*both, ratio - ratio / factor, nats, count]
    up = [*both, ratio * factor - ratio, nats, count]
    return np.array(down, dtype=np.float64), np.array(up, dtype=np.float64)


def _limits(value: Vector, sd: Vector, noise: Vector, size: float) -> Vector:
    """Return how far each latent [n] may be off; large norms by a share of themselves."""
    chance = _LATENT_SIGMAS * np.hypot(sd, noise.std(axis=0))
    return np.asarray(np.maximum(chance, size * np.maximum(1.0, value)))


def _reading(name: str, value: float, reference: float, limit: float) -> Reading:
    return Reading(
        name, float(value), float(reference), float(reference - limit), float(reference + limit)
    )
