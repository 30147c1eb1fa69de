"""How the encoder is to be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from vaeiso_monitor.records.block import TRANSFORMS
from vaeiso_monitor.records.transforms import TransformName  # pydantic reads it

_LARGEST_CLIP = 1e4


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How records become numbers.

    ``transform`` "auto" chooses for each number column between z-score and Yeo-Johnson, see
    :class:`~vaeiso_monitor.records.chosen.Chosen`.
    ``clip`` bounds encoded numbers: at 10,000 standard deviations a squared error still is far
    inside float32, and no ordinary outlier is touched. ``max_categories`` values of a column get a
    column each, the most frequent first; the rest share one.
    """

    transform: TransformName = "auto"
    clip: Annotated[float, Gt(0), Le(1e4)] = 1e4
    max_categories: Annotated[int, Ge(1)] = 128

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            msg = f"transform = {self.transform!r} is not one of {', '.join(TRANSFORMS)}."
            raise ValueError(msg)
        if not 0 < self.clip <= _LARGEST_CLIP or self.max_categories < 1:
            msg = f"clip must lie in (0, {_LARGEST_CLIP:g}] and max_categories be at least 1."
            raise ValueError(msg)
