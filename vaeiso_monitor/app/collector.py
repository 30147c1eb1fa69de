"""The garbage collector, kept off the loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_COLLECT_AFTER = 30_000  # new objects; a batch makes some thousands that go again by themselves


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Keep the garbage collector off what the start made: it would cost a fifth of the loop."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
