"""Worker threads that score the pieces of a batch on the CPU, each piece on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from threading import Barrier

import numpy as np
import torch
from numpy.typing import NDArray

Piece = Callable[[NDArray[np.floating], NDArray[np.float64]], None]

_KEPT_BYTES = 24 << 20
_FEWEST_ROWS = 1024  # of a piece that is cut smaller for balance


class Workers:
    """As many threads as torch may use, which share out the pieces of a batch among them.

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
        _keep_freed_memory()

    def launch(self, score: Piece, x: NDArray[np.floating], largest: int) -> Shares:
        """Start to score ``x`` [B, m] in pieces of ``largest`` rows or fewer.

        Whoever is done takes the next piece, so that a core that others use holds nobody up.
        """
        nats = np.empty(len(x))
        pieces = _pieces(len(x), largest, self.count)
        shares = min(self.count, len(pieces))
        work = iter(pieces)  # of a list: next() is atomic
        return Shares(
            nats, [self._pool.submit(_share, score, x, nats, work) for _ in range(shares)]
        )

    def close(self) -> None:
        """Wait for what is under way and end the threads."""
        self._pool.shutdown()


class Shares:
    """One batch, whose nats the workers write into one array."""

    def __init__(self, nats: NDArray[np.float64], shares: list[Future[None]]) -> None:
        self._nats, self._shares = nats, shares

    def result(self) -> NDArray[np.float64]:
        """Wait for all workers and return the nats of the batch [B]."""
        for share in self._shares:
            share.result()
        return self._nats


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the calling thread compute by itself: a few rows are done before a helper is awake."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pieces(rows: int, largest: int, workers: int) -> list[slice]:
    """Return a piece of ``largest`` rows for each worker, again and again, then of halves of it."""
    edges, size = [0], largest
    while edges[-1] < rows:
        while size * workers > rows - edges[-1] and size // 2 >= _FEWEST_ROWS:
            size //= 2
        ends = range(edges[-1] + size, edges[-1] + size * workers + 1, size)
        edges += [end for end in ends if end < rows + size]
    return [slice(start, min(stop, rows)) for start, stop in pairwise(edges)]


def _share(
    score: Piece, x: NDArray[np.floating], nats: NDArray[np.float64], pieces: Iterator[slice]
) -> None:
    for rows in pieces:
        score(x[rows], nats[rows])


def _alone(together: Barrier) -> None:
    torch.get_num_threads()  # makes the thread take torch's number, which the next line overrules
    torch.set_num_threads(1)
    # most modes of the prior are next to impossible for a record, and the processor takes ten times
    # as long for probabilities below 1e-38
    torch.set_flush_denormal(True)
    together.wait()


def _keep_freed_memory() -> None:
    """Teach malloc that blocks as big as the activations come and go.

    At first glibc returns them to the system at every free, and the page faults of getting them
    back cost a third of the scoring. It stops doing so up to the size of the largest block that
    was ever mapped and freed; this one is never touched, so it takes no memory itself.
    """
    torch.empty(_KEPT_BYTES, dtype=torch.uint8)
