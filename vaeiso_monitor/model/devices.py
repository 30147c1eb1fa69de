"""Where the arithmetic runs."""

from __future__ import annotations

import torch


def resolve_device(name: str = "auto") -> torch.device:
    """Return the torch device for ``name``: "auto", "cpu", "cuda" or "cuda:1".

    "auto" takes the first GPU where there is one. Raises ValueError for a name that is not a
    device, or for one that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = _parse(name)
    if device.type == "cuda":
        return _present(device)
    return device


def _parse(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        msg = f'device = "{name}" is not one of "auto", "cpu", "cuda", "cuda:N"'
        raise ValueError(msg)
    return device


def _present(device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        msg = f'device = "{device}" was asked for, but torch {torch.__version__} finds no GPU here'
        raise ValueError(msg)
    index, count = device.index or 0, torch.cuda.device_count()
    if index >= count:
        msg = f'device = "{device}" was asked for, but this machine has {count} GPU(s)'
        raise ValueError(msg)
    return torch.device("cuda", index)
