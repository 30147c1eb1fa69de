"""SSIM with its Gaussian windows as two matrix products: what a CPU does fastest."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeiso_monitor.experiments.ssim import Ssim


class FastSsim(Ssim):
    """The same distortion as :class:`Ssim`, several times faster for images of up to 64 pixels.

    A Gaussian window is the product of a row and a column, so all windows of an image are R X C'
    for two banded matrices. A convolution of one channel runs at a fraction of that speed.
    """

    def __init__(
        self, channels: int, height: int, width: int, *, window: int = 11, scale: float = 1.0
    ) -> None:
        super().__init__(channels, height, width, window=window, scale=scale)
        line = self._kernel[0, 0].sum(dim=0)
        self._rows, self._columns = (_banded(line, extent) for extent in (height, width))

    def _mean(self, x: Tensor) -> Tensor:
        planes = x.reshape(-1, self.height, self.width)
        rows, columns = self._rows.to(planes), self._columns.to(planes)
        return (rows @ (planes @ columns.T))[:, None]

    def _back(self, windows: Tensor, shape: torch.Size) -> Tensor:
        rows, columns = self._rows.to(windows), self._columns.to(windows)
        return (rows.T @ windows[:, 0] @ columns).reshape(shape)


def _banded(line: Tensor, extent: int) -> Tensor:
    """Return the matrix [extent - w + 1, extent] whose rows hold ``line`` [w], one step on each."""
    matrix = torch.zeros(extent - len(line) + 1, extent, dtype=line.dtype)
    for i in range(len(matrix)):
        matrix[i, i : i + len(line)] = line
    return matrix
