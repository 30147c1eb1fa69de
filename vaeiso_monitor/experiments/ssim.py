"""Structural similarity as a distortion of images: D = 1 - SSIM over Gaussian windows."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

_SPREAD = 1.5  # of the Gaussian, in pixels
_C1, _C2 = 0.01**2, 0.03**2  # what keeps flat windows finite, for values within 0 and 1


class Ssim:
    """D(x, y) = ``scale`` (1 - mean SSIM over all ``window`` x ``window`` windows of all channels).

    A record is an image of the given size, flattened channel by channel, of values within 0 and 1.
    With W the windows and d a small change, SSIM loses per window (W d)^2 / (2 mu^2 + c1) of its
    luminance and var(d) / (2 sigma^2 + c2) of its structure: that is the metric tensor
    W_mean / (2 mu^2) + W_var / (2 sigma^2), with the constants that SSIM itself has.
    """

    name = "ssim"
    constant_metric = False
    counted: tuple[int, ...] = ()

    def __init__(
        self, channels: int, height: int, width: int, *, window: int = 11, scale: float = 1.0
    ) -> None:
        if min(height, width) < window or channels < 1 or window < 1 or not scale > 0:
            msg = f"images of {channels} x {height} x {width} hold no window of {window}"
            raise ValueError(msg)
        self.channels, self.height, self.width = channels, height, width
        self.window, self.scale = window, float(scale)
        offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
        line = torch.exp(-0.5 * (offsets / _SPREAD) ** 2)
        line = line / line.sum()
        # a Gaussian window is a row times a column: all windows of an image are R X C', and two
        # matrix products are many times faster on a CPU than the convolution of one channel
        self._rows, self._columns = (_banded(line, extent) for extent in (height, width))
        self._count = channels * (height - window + 1) * (width - window + 1)

    def link(self, raw: Tensor) -> Tensor:
        """Return ``raw`` itself."""
        return raw

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return ``d`` itself."""
        del raw
        return d

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return each pixel's part in the windows' losses: [..., m]."""
        shape = torch.Size((x + y).shape)
        x, y = x.expand(shape), y.expand(shape)
        return self._back(1 - self._similarity(x, y), shape) * (self.scale / self._count)

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return D(x, y): [...]."""
        shape = torch.Size((x + y).shape)
        lost = (1 - self._similarity(x.expand(shape), y.expand(shape))).reshape(*shape[:-1], -1)
        return lost.sum(-1) * (self.scale / self._count)

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return G_x d: [..., m]."""
        shape = torch.Size((x + d).shape)
        x, d = x.expand(shape), d.expand(shape)
        mean, mean_d = self._mean(x), self._mean(d)
        spread = self._mean(x * x) - mean.square()
        light, structure = 1 / (2 * mean.square() + _C1), 1 / (2 * spread + _C2)
        of_means = self._back(mean_d * (light - structure), shape)
        of_pixels = d * self._back(structure, shape)
        return (of_means + of_pixels) * (self.scale / self._count)

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Raise ValueError: there is no closed form."""
        msg = "the metric tensor of SSIM has no determinant in closed form"
        raise ValueError(msg)

    def log_scale(self, x: Tensor) -> None:
        """Return None: G_x is no multiple of I."""
        del x

    def gaussian_values(self, width: int) -> int:
        """Return 0: no value has a Gaussian for a density."""
        del width
        return 0

    def state(self) -> dict[str, Any]:
        """Return the name, the size of the images, the window and the scale."""
        keys = ("name", "channels", "height", "width", "window", "scale")
        return {key: getattr(self, key) for key in keys}

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> Self:
        """Return the distortion of a :meth:`state`."""
        size = (int(meta[key]) for key in ("channels", "height", "width"))
        return cls(*size, window=int(meta["window"]), scale=float(meta["scale"]))

    def _similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """Return SSIM of each window: [N C, 1, h, w]."""
        mean_x, mean_y = self._mean(x), self._mean(y)
        spread_x = self._mean(x * x) - mean_x.square()
        spread_y = self._mean(y * y) - mean_y.square()
        together = self._mean(x * y) - mean_x * mean_y
        light = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
        return light * (2 * together + _C2) / (spread_x + spread_y + _C2)

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
