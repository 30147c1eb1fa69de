"""How much memory and how many cores this process may use: its control group's, or all there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # version 1 writes "no limit" as a number about as large as the address space


def memory_limit_bytes(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the smallest memory limit of the control groups of this process, or all memory."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    names = ("memory.max", "memory.limit_in_bytes")
    found = [int(text) for text in _said(groups, own, names) if text.isdecimal()]
    return min([there, *(limit for limit in found if 0 < limit < _UNLIMITED)])


def cpu_limit_cores(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """Return the smallest quota of cores of the control groups, or the cores this process has."""
    limits = [float(len(os.sched_getaffinity(0)))]
    for text in _said(groups, own, ("cpu.max",)):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits)


def _said(groups: Path, own: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Yield what the files of these names hold, of the process's group and of those above it."""
    for folder in _folders(groups, own):
        for name in names:
            try:
                yield (folder / name).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError):
                continue


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the root, as a container sees its own group, and the groups down to the process's."""
    yield groups
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:  # "0::/system.slice/x.service", or "5:memory:/x" of version 1
        _, _, rest = line.partition(":")
        controller, _, path = rest.partition(":")
        within = groups / controller if controller else groups
        for part in [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]:
            yield within / part
