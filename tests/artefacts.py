"""What the tests of deploy/ share: where it is, what checks it, documents in YAML."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaeiso_monitor import settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
SCRIPTS = Path(sys.executable).parent  # programs that packages of the test group bring

_INSTALL = {
    "helm": "set HELM to the path of a Helm binary, 3.17 or newer, or put it on PATH",
    "systemd-analyze": "apt-get install systemd",
    "promtool": "apt-get install prometheus",
    "amtool": "apt-get install prometheus-alertmanager",
    "unshare": "apt-get install util-linux",
    "setpriv": "apt-get install util-linux",
}
_NOT_A_PACKAGE = {"helm"}  # of Debian: CI may lack it


def program(name: str) -> str:
    """Return the path of a program; skip the test where it is missing, but not in CI."""
    given = os.environ.get(name.upper()) or shutil.which(name)
    if given is not None:
        return str(Path(given).resolve())
    needed = f"needs {name}: {_INSTALL[name]}"
    if os.environ.get("CI") == "true" and name not in _NOT_A_PACKAGE:
        pytest.fail(needed)
    pytest.skip(needed)


def documents(text: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML stream, empty ones left out."""
    return [document for document in yaml.safe_load_all(text) if document]


def document(path: Path) -> dict[str, Any]:
    """Return the one document of a YAML file."""
    return documents(path.read_text(encoding="utf-8"))[0]


def takes(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """Return what a small config becomes under variables; fail where one of them is no key."""
    for name in [name for name in os.environ if name.upper().startswith("VAEISO_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    kafka = {"type": "kafka", "bootstrap_servers": ["k"], "topics": ["t"], "group_id": "g"}
    return settings.parse({"source": kafka, "schema": {"columns": [{"name": "x"}]}})
