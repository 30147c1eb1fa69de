"""A window whose process is killed at random moments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNBOUNDED, BOUNDED = 100_000, 300


@pytest.mark.usefixtures("unmeasured")
def test_a_process_that_is_killed_leaves_a_whole_window(tmp_path):
    """Nothing written is lost, nothing is there twice, nothing is torn; thinned or not."""
    program = [sys.executable, "-m", "tests.killed_window", str(tmp_path)]
    done = subprocess.run(
        [*program, "8", "7", str(UNBOUNDED), str(BOUNDED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for found, max_rows in zip(json.loads(done.stdout), (UNBOUNDED, BOUNDED), strict=True):
        assert found["rounds"] == 8
        assert found["reached"] > 0
        assert 0 < found["most"] <= max_rows
        assert [found[what] for what in ("lost", "twice", "wrong", "damaged", "left")] == [0] * 5
