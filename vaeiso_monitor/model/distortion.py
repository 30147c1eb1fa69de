"""Distortions D(x, x^) and their metric tensors: D(x, x + d) ~ d' G_x d for a small d.

A distortion is a plain sum over the values of a record (no mean, no factor 1/2): only then is the
posterior variance of the isometric embedding beta/2.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor


class Distortion(Protocol):
    """What the model needs to know of a distortion; shapes broadcast over leading axes.

    ``constant_metric`` says whether G_x = I for every x and the decoder's raw output is the record:
    several short cuts need both.
    """

    @property
    def name(self) -> str:
        """The word for it in a config and in a bundle."""

    @property
    def constant_metric(self) -> bool:
        """Whether G_x = I for every x, and :meth:`link` changes nothing."""

    @property
    def counted(self) -> tuple[int, ...]:
        """The columns beside numbers for which exp(-D) sums to 1 over all that they may be."""

    def link(self, raw: Tensor) -> Tensor:
        """Return the record [..., m] for the raw output of the decoder: where D is defined."""

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return the derivative of :meth:`link` at ``raw`` along ``d``: [..., m]."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the part of each value of a record in D(x, y): [..., m]."""

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return D(x, y) per record: [...], the sum of :meth:`values`."""

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return G_x d: [..., m]."""

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return log |det G_x| per record: [...]; ValueError where G_x has no such closed form."""

    def log_scale(self, x: Tensor) -> Tensor | None:
        """Return log a_x per record [...] where G_x = a_x I, else None."""

    def gaussian_values(self, width: int) -> int:
        """Return how many of ``width`` values have a Gaussian of variance beta/2 for a density."""

    def state(self) -> dict[str, Any]:
        """Return what rebuilds the distortion: JSON-able, with its ``name``."""


@runtime_checkable
class Sloped(Distortion, Protocol):
    """A distortion whose derivatives are written out; its links are symmetric.

    Of a symmetric link :meth:`link_slope` is what takes a gradient back as well.
    """

    def by_first(self, x: Tensor, y: Tensor) -> Tensor:
        """Return dD(x, y) / dx for x and y that the decoder may say: [..., m]."""

    def by_second(self, x: Tensor, y: Tensor) -> Tensor:
        """Return dD(x, y) / dy for a y that the decoder may say: [..., m]."""


class SquaredError:
    """D(x, y) = sum_i (x_i - y_i)^2, whose metric tensor is the identity."""

    name = "squared-error"
    constant_metric = True
    counted: tuple[int, ...] = ()

    def link(self, raw: Tensor) -> Tensor:
        """Return ``raw`` itself."""
        return raw

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return ``d`` itself."""
        del raw
        return d

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (x_i - y_i)^2: [..., m]."""
        return (x - y).square()

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return sum_i (x_i - y_i)^2: [...]."""
        return (x - y).square().sum(-1)

    def by_first(self, x: Tensor, y: Tensor) -> Tensor:
        """Return 2 (x - y): [..., m]."""
        return (x - y).mul_(2)

    def by_second(self, x: Tensor, y: Tensor) -> Tensor:
        """Return 2 (y - x): [..., m]."""
        return (y - x).mul_(2)

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return ``d`` itself, broadcast against ``x``: [..., m]."""
        return d.expand((x[..., :0].sum(-1, keepdim=True) + d).shape)

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return zero per record: [...]."""
        return x.new_zeros(x.shape[:-1])

    def log_scale(self, x: Tensor) -> Tensor:
        """Return zero per record, as G_x = I: [...]."""
        return x.new_zeros(x.shape[:-1])

    def gaussian_values(self, width: int) -> int:
        """Return ``width``: every value."""
        return width

    def state(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.name}

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> Self:
        """Return the distortion of a :meth:`state`."""
        del meta
        return cls()


class ScaledError:
    """D(x, y) = a_x sum_i (x_i - y_i)^2 with a_x > 0, whose metric tensor is a_x I.

    A class says with :meth:`scale` what a_x is.
    """

    name = "scaled-error"
    constant_metric = False
    counted: tuple[int, ...] = ()

    def scale(self, x: Tensor) -> Tensor:
        """Return a_x per record: [...]."""
        raise NotImplementedError

    def link(self, raw: Tensor) -> Tensor:
        """Return ``raw`` itself."""
        return raw

    def link_slope(self, raw: Tensor, d: Tensor) -> Tensor:
        """Return ``d`` itself."""
        del raw
        return d

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return a_x (x_i - y_i)^2: [..., m]."""
        return self.scale(x)[..., None] * (x - y).square()

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Return a_x sum_i (x_i - y_i)^2: [...]."""
        return self.scale(x) * (x - y).square().sum(-1)

    def metric(self, x: Tensor, d: Tensor) -> Tensor:
        """Return a_x d: [..., m]."""
        return self.scale(x)[..., None] * d

    def log_det_metric(self, x: Tensor) -> Tensor:
        """Return m log a_x: [...]."""
        return x.shape[-1] * self.log_scale(x)

    def log_scale(self, x: Tensor) -> Tensor:
        """Return log a_x: [...]."""
        return self.scale(x).log()

    def gaussian_values(self, width: int) -> int:
        """Return ``width``; the density of a record is a Gaussian's up to the a_x of Eq. 21."""
        return width


class DownwardConvex(ScaledError):
    """The loss of Eq. 24: a_x = ``floor`` + ``slope`` \\|x\\|^2.

    Without arguments it is the one of the toy data, whose a_x has a mean of 1 there.
    """

    name = "downward-convex"

    def __init__(self, floor: float = 2 / 3, slope: float = 2 / 21) -> None:
        if not (0 < floor < float("inf") and 0 <= slope < float("inf")):
            msg = f"floor must be above 0 and slope at least 0, not {floor!r} and {slope!r}"
            raise ValueError(msg)
        self.floor, self.slope = float(floor), float(slope)

    def scale(self, x: Tensor) -> Tensor:
        """Return a_x per record: [...]."""
        return self.floor + self.slope * x.square().sum(-1)

    def state(self) -> dict[str, Any]:
        """Return the name, the floor and the slope."""
        return {"name": self.name, "floor": self.floor, "slope": self.slope}

    @classmethod
    def from_state(cls, meta: dict[str, Any]) -> Self:
        """Return the distortion of a :meth:`state`."""
        return cls(float(meta["floor"]), float(meta["slope"]))
