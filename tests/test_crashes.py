"""kill -9 of the trainer and of the daemon: the short form of ``benchmarks/crashes.py``."""

from __future__ import annotations

import pytest

from benchmarks.crashes import KINDS, Course, crashes


@pytest.mark.timeout(600)
def test_whatever_is_killed_a_valid_bundle_serves_and_nothing_is_left() -> None:
    """Twice each: while it trains, while a candidate is written, about the move of the pointer."""
    guess = Course(whole=5.0, trainer=3.0, after_writing=0.5)
    found = crashes(KINDS * 2, seed=4, course=guess)
    assert found.kills == 6
    assert found.wrong == []
