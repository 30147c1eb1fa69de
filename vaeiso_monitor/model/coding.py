"""The coding loss E_z D(x_breve, x_hat) of any distortion, value by value."""

from __future__ import annotations

from torch import Tensor

from vaeiso_monitor.model.distortion import Distortion


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
