"""Which distortion judges which column of the encoded matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.model.cross_entropy import MixedColumns

if TYPE_CHECKING:
    from vaeiso_monitor.model import ModelConfig
    from vaeiso_monitor.model.distortion import Distortion
    from vaeiso_monitor.records import Encoder


def distortion_for(config: ModelConfig, encoder: Encoder) -> Distortion | None:
    """Return the distortion that ``config`` names, told the columns of ``encoder``.

    None stands for squared error. With "mixed-columns" booleans, numbers of few values, indicators
    of missing values and categories are judged by cross-entropy, and the other numbers by squared
    error; where there are only such numbers, the two are one.
    """
    if config.distortion == "squared-error":
        return None
    indicators = encoder.indicators[1].tolist() if encoder.indicators.size else []
    truths = sorted([*encoder.booleans.targets.tolist(), *indicators])
    categories = [(c.start, c.start + c.width) for c in encoder.categories]
    return MixedColumns(truths, categories) if truths or categories else None
