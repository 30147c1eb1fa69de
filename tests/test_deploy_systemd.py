"""The systemd unit: that systemd takes it, how exposed it is, and what it must not forget."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artefacts import DEPLOY, program, takes

FOLDER = DEPLOY / "systemd"
UNIT = FOLDER / "vaeiso-monitor.service"
MOST_EXPOSED = 1.5  # of 10; the rest is what it must do: speak IP, compile, give way


def unit(folder, *, secrets=False):
    """Write the unit with an existing program in it, and what is commented out if ``secrets``."""
    installed = Path(sys.executable).parent / "vaeiso-monitor"
    text = UNIT.read_text().replace("/opt/vaeiso/bin/vaeiso-monitor", str(installed))
    if secrets:
        text = text.replace("#LoadCredential", "LoadCredential").replace(
            "#Environment", "Environment"
        )
    path = folder / UNIT.name
    path.write_text(text)
    return path


def analyzed(*words):
    found = subprocess.run(
        [program("systemd-analyze"), "--no-pager", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )
    return found.returncode, found.stdout + found.stderr


@pytest.mark.parametrize("secrets", [False, True])
def test_systemd_takes_the_unit_as_it_is(tmp_path, secrets):
    assert analyzed("verify", "--recursive-errors=no", unit(tmp_path, secrets=secrets)) == (0, "")


def test_systemd_takes_the_drop_in_for_a_gpu(tmp_path):
    path = unit(tmp_path)
    folder = tmp_path / f"{path.name}.d"
    folder.mkdir()
    (folder / "gpu.conf").write_text((FOLDER / "gpu.conf").read_text())
    assert analyzed("verify", "--recursive-errors=no", path) == (0, "")


def test_it_is_hardly_exposed(tmp_path):
    limit = str(round(10 * MOST_EXPOSED))
    code, said = analyzed("security", "--offline=true", f"--threshold={limit}", unit(tmp_path))
    assert code == 0, said


def test_what_a_daemon_in_a_unit_needs():
    lines = UNIT.read_text().splitlines()
    assert "RestartPreventExitStatus=2" in lines  # a wrong config stays wrong
    assert "OOMPolicy=continue" in lines  # a trainer that is killed must not end the daemon
    assert "KillMode=mixed" in lines  # the daemon ends its trainer itself
    assert "StateDirectory=vaeiso" in lines
    assert "WorkingDirectory=%S/vaeiso" in lines


@pytest.mark.parametrize("path", [UNIT, FOLDER / "environment"], ids=lambda path: path.name)
def test_the_variables_that_it_names_are_keys(path, monkeypatch):
    words = path.read_text().replace("#", " ").replace("Environment=", " ").split()
    pairs = dict(word.split("=", 1) for word in words if word.startswith("VAEISO_"))
    assert pairs
    takes(pairs, monkeypatch)
