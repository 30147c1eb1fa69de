"""Which distortions there are, and how one is read back from a bundle."""

from __future__ import annotations

from typing import Any

from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy, MixedColumns
from vaeiso_monitor.model.distortion import Distortion, DownwardConvex, SquaredError

_KNOWN: dict[str, type[SquaredError | DownwardConvex | BinaryCrossEntropy | MixedColumns]] = {
    kind.name: kind for kind in (SquaredError, DownwardConvex, BinaryCrossEntropy, MixedColumns)
}
_OLD_NAMES = {"squared_error": SquaredError.name}


def distortion_of(state: Any) -> Distortion:
    """Return the distortion of a ``state()``, of its name alone, or of None (squared error).

    Raises ValueError, KeyError or TypeError for anything else.
    """
    if state is None:
        return SquaredError()
    meta = {"name": _OLD_NAMES.get(state, state)} if isinstance(state, str) else dict(state)
    if meta.get("name") not in _KNOWN:
        msg = f"unknown distortion {meta.get('name')!r}"
        raise ValueError(msg)
    return _KNOWN[meta["name"]].from_state(meta)
