"""kill -9 of the trainer and of the daemon: the short form of ``benchmarks/crashes.py``."""

from __future__ import annotations

import pytest

from benchmarks.crashes import Course, crashes

# How a kill of a kind is aimed follows from its place: this order has each of the seven ways once.
KILLED = ("candidate", "trainer", "candidate", "pointer", "candidate", "pointer", "trainer")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unmeasured")
def test_whatever_is_killed_a_valid_bundle_serves_and_nothing_is_left() -> None:
    """While it trains, while a candidate is written or stored, about the move of the pointer."""
    guess = Course(whole=5.0, trainer=3.0, after_writing=0.5)
    found = crashes(KILLED, seed=4, course=guess)
    assert found.kills == len(KILLED)
    assert found.wrong == []
