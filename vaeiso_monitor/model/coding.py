"""The coding loss E_z D(x_breve, x_hat) of any distortion, value by value."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeiso_monitor.model.cross_entropy import MixedColumns
from vaeiso_monitor.model.distortion import Distortion
from vaeiso_monitor.model.network import Linear, Network


class Categories:
    """What is not judged by squared error, apart from the numbers of a record.

    Numbers need only |d W|^2 of a draw, which is had without decoding it; so of a draw only the
    ``columns`` [c] that ``distortion`` counts are decoded.
    """

    def __init__(self, distortion: MixedColumns, decoder: Network) -> None:
        weight, _ = decoder.layers[-1]
        self.columns = torch.tensor(distortion.counted, device=weight.device)
        self._judge = distortion.alone()
        self._last = Linear(weight[:, self.columns].contiguous())

    def distortion(
        self, x: Tensor, raw: Tensor, steps: Tensor, *, weight: float, closed: bool
    ) -> Tensor:
        """Return transform and coding loss [B] of these columns of records ``x`` [B, m].

        ``raw`` [B, m], ``weight`` and ``closed`` as in :func:`decoded`; ``steps`` [S, B, h] are
        those before the last layer.
        """
        own = raw.index_select(1, self.columns)
        expected, coding = decoded(
            self._judge, own, self._last(steps), weight=weight, closed=closed
        )
        values = self._judge.values(x.index_select(1, self.columns), expected)
        return values.add_(coding).sum(1)


def decoded(
    distortion: Distortion, raw: Tensor, steps: Tensor, *, weight: float, closed: bool
) -> tuple[Tensor, Tensor]:
    """Return x_breve and the coding loss of each of its values: [B, m] both.

    ``raw`` [B, m] is the decoder's raw output at the mean. ``steps`` [S, B, m] lead from it to the
    raw output of each draw, and the loss is their sum times ``weight``; or, in ``closed`` form,
    they are sigma_j times its derivatives, and the loss is sum_j sigma_j^2 J_j' G J_j (Lemma 1).
    """
    if distortion.constant_metric:
        return raw, steps.square().sum(0) * weight
    if closed:
        expected, columns = distortion.link(raw), distortion.link_slope(raw, steps)
        return expected, (columns * distortion.metric(expected, columns)).sum(0) * weight
    expected = distortion.link(raw)
    return expected, distortion.values(expected, distortion.link(raw + steps)).sum(0) * weight
