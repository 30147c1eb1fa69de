"""What the paper published of its toy data (section 5.1): Tables 1 and 2, and Figure 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LossName = Literal["squared-error", "downward-convex"]


@dataclass(frozen=True, slots=True)
class PublishedLatent:
    """One column of Table 1 or 2."""

    norm_mean: float
    norm_sd: float
    slope_mean: float  # D'_j(z) = D(Dec(z), Dec(z + eps e_j)) / eps^2
    slope_sd: float
    precision: float  # E[sigma_j^-2]


@dataclass(frozen=True, slots=True)
class Published:
    """What was published of one loss; ``correlations`` with p(x) as far as they were."""

    table: str
    latents: tuple[PublishedLatent, ...]
    transform_coding_ratio: float
    correlations: dict[str, float]


PUBLISHED: dict[LossName, Published] = {
    "squared-error": Published(
        "Table 1",
        (
            PublishedLatent(0.965, 0.054, 0.162, 0.040, 33.3),
            PublishedLatent(0.925, 0.164, 0.726, 0.466, 146.0),
            PublishedLatent(0.972, 0.098, 2.922, 1.738, 589.0),
        ),
        0.023,
        {"objective": 0.904},
    ),
    "downward-convex": Published(
        "Table 2",
        (
            PublishedLatent(0.964, 0.060, 0.161, 0.063, 33.0),
            PublishedLatent(0.928, 0.160, 0.696, 0.483, 140.0),
            PublishedLatent(0.978, 0.088, 2.695, 1.573, 543.0),
        ),
        0.024,
        {"prior": 0.434, "objective": 0.771, "corrected_prior": 0.91, "corrected_objective": 0.91},
    ),
}
