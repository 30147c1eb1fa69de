"""Worker threads that score pieces of a batch on the CPU, each piece on one core."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier

import numpy as np
import torch
from numpy.typing import NDArray

Piece = Callable[[NDArray[np.floating]], NDArray[np.float64]]


class Workers:
    """As many threads as torch may use, each with its own piece of the batch.

    The layers are small: sharing each of them between threads costs more in waiting than it gains.
    """

    def __init__(self) -> None:
        self.count = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.count, "score")
        together = Barrier(self.count)
        for started in [self._pool.submit(_alone, together) for _ in range(self.count)]:
            started.result()
        # the workers' wish for one thread is their own, but torch hands it to threads yet to come
        torch.set_num_threads(self.count)

    def launch(self, score: Piece, x: NDArray[np.floating], smallest: int) -> Futures:
        """Start to score ``x`` [B, m] in as many pieces of at least ``smallest`` rows as pay."""
        pieces = max(1, min(self.count, len(x) // smallest))
        return Futures([self._pool.submit(score, part) for part in np.array_split(x, pieces)])

    def close(self) -> None:
        """Wait for what is under way and end the threads."""
        self._pool.shutdown()


class Futures:
    """The pieces of one batch, in order."""

    def __init__(self, futures: list[Future[NDArray[np.float64]]]) -> None:
        self._futures = futures

    def result(self) -> NDArray[np.float64]:
        """Wait for all pieces and return the nats of the batch [B]."""
        return np.concatenate([future.result() for future in self._futures])


def _alone(together: Barrier) -> None:
    torch.get_num_threads()  # makes the thread take torch's number, which the next line overrules
    torch.set_num_threads(1)
    together.wait()
