"""A box like a container's: process 1, a read-only root, no HOME, no capabilities, few folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artefacts import ROOT, program

# Run in namespaces of its own. What is mounted here nobody else sees, and it goes with the process.
_SCRIPT = """
set -e
folder=$1 setpriv=$2 project=$3
shift 3
mount -t tmpfs -o mode=755 box /run
mkdir /run/box
mount --bind "$folder" /run/box
mount -t tmpfs -o mode=1777,noexec,nosuid,size=64m box /tmp
mount -o remount,bind,ro /
cd /run/box
exec "$setpriv" --no-new-privs --bounding-set=-all --inh-caps=-all \
  /usr/bin/env -i PATH=/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$project" "$@"
"""


def boxed(folder: Path, *words: str) -> list[str]:
    """Return the command that runs ``words`` in a box, in ``folder``, which is /run/box in there.

    Beside that folder /tmp can be written, and nothing else. Skips the test where the system does
    not allow it.
    """
    hidden = [path for path in (ROOT, Path(sys.prefix)) if path.is_relative_to("/tmp")]
    if hidden:
        pytest.skip(f"needs {hidden[0]} outside of /tmp, which is another one in the box")
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [program("unshare"), *root, "--mount", "--pid", "--fork", "--mount-proc", "/bin/sh"]
    command += ["-c", _SCRIPT, "box", str(folder), program("setpriv"), str(ROOT)]
    if subprocess.run([*command, "/bin/true"], capture_output=True, check=False).returncode:
        pytest.skip("needs leave to make namespaces: root, or user namespaces")
    return [*command, *words]
