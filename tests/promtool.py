"""Prometheus' own checker for tests."""

from __future__ import annotations

import subprocess

import pytest

from tests.monitors import missing


def promtool(*arguments: str, text: str | None = None) -> str:
    """Run promtool and return what it says; fail with that where it finds fault."""
    if why := missing("promtool"):
        pytest.skip(why)
    command = ["promtool", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
