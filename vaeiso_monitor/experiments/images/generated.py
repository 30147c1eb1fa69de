"""Images whose factors and variances are known: a bright blob on a dark ground, under grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeiso_monitor.model.distortion import Distortion

FACTORS = ("x", "y", "size", "elongation", "brightness")
_MIDDLES = (0.0, 0.0, 0.24, 0.0, 0.42)  # the image spans -1 to 1 in both directions
_SPREADS = (0.24, 0.14, 0.04, 0.25, 0.08)  # of each factor: standard deviations
_CUT = 2.2  # standard deviations at which a factor is cut off: the blob stays in the image
_GROUND = 0.25
_STEP = 1e-5  # of a derivative by differences, in standard deviations
GRAIN = 0.03  # standard deviation of the noise that no model can foresee


@dataclass(frozen=True, slots=True)
class Generated:
    """Images [N, size * size] of values within 0 and 1, and the factors [N, 5] behind them."""

    x: NDArray[np.uint8]
    factors: NDArray[np.float64]


def generated(count: int, size: int, seed: int) -> Generated:
    """Draw ``count`` grey images whose five factors are independent normals, cut at 2.2 SD."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((count, len(FACTORS)))
    while (outside := np.abs(normal) > _CUT).any():
        normal[outside] = rng.standard_normal(int(outside.sum()))
    factors = normal * _SPREADS + _MIDDLES
    x = np.empty((count, size * size), dtype=np.uint8)
    for rows in np.array_split(np.arange(count), -(-count // 1024)):
        clean = rendered(torch.from_numpy(factors[rows]), size).numpy()
        grainy = clean + GRAIN * rng.standard_normal(clean.shape)
        x[rows] = np.rint(255 * grainy.clip(0, 1))
    return Generated(x, factors)


def rendered(factors: Tensor, size: int) -> Tensor:
    """Return the clean images [N, size * size] of factors [N, 5]."""
    line = (torch.arange(size, dtype=factors.dtype) + 0.5) * (2 / size) - 1
    across, down, extent, stretch, light = (factors[:, i, None, None] for i in range(5))
    beside = (line[None, None, :] - across) / (extent * torch.exp(stretch))
    above = (line[None, :, None] - down) / (extent * torch.exp(-stretch))
    return (_GROUND + light * torch.exp(-(beside**2 + above**2) / 2)).flatten(1)


def metric_variances(
    factors: NDArray[np.float64], size: int, distortion: Distortion
) -> NDArray[np.float64]:
    """Return the variances of the images where ``distortion`` is the square of a distance: [5].

    They are the eigenvalues, in falling order, of E[g_f' G g_f] scaled by the factors' standard
    deviations, g the clean image: what the importances (Eq. 22) of the latents would be if the
    metric were the same everywhere and nothing of the factors were lost.
    """
    at, spreads = torch.from_numpy(factors), torch.from_numpy(factors.std(0))
    slopes = []
    for j in range(len(FACTORS)):
        step = torch.zeros_like(spreads)
        step[j] = _STEP * spreads[j]
        slopes.append((rendered(at + step, size) - rendered(at - step, size)) / (2 * _STEP))
    columns = torch.stack(slopes)  # [5, N, m]
    stretched = distortion.metric(rendered(at, size), columns)
    mean = torch.einsum("jnm,knm->jk", columns, stretched) / len(at)
    return np.asarray(torch.linalg.eigvalsh(mean).flip(0))
