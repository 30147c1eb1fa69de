"""A batch on its way to its score, on whichever device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Pending(Protocol):
    """A batch on its way: ``result`` waits for it."""

    def result(self) -> NDArray[np.float64]:
        """Return the nats of each record of the batch [B]."""


class OnDevice:
    """A batch on a GPU: its copies and kernels are queued, and an event says when it is done."""

    def __init__(
        self, nats: Callable[[Tensor], Tensor], x: NDArray[np.floating], device: torch.device
    ) -> None:
        with torch.inference_mode(), torch.cuda.device(device):
            self._source = torch.from_numpy(x).pin_memory()
            on_device = nats(self._source.to(device, non_blocking=True))
            self._nats = torch.empty(len(x), dtype=torch.float64, pin_memory=True)
            self._nats.copy_(on_device, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def result(self) -> NDArray[np.float64]:
        """Wait for the event and return the nats [B]."""
        self._done.synchronize()
        return self._nats.numpy()
