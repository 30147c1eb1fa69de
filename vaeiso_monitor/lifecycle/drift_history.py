"""What the last checks found, kept on disk: a drift persists, and a restart must not forget it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import structlog

from vaeiso_monitor.bundle.durable import write_whole
from vaeiso_monitor.errors import ConfigError

log = structlog.get_logger(__name__)

DriftKind = Literal["isometry", "inputs"]

_FORMAT = 1
_KEPT = 500  # checks of each kind
_NAMES = 100  # departed names of one check that are kept


class DriftHistory:
    """The recent checks of each kind, in one JSON file that is written beside and renamed in.

    A check is ``{"at": Unix time, "version": bundle, "departed": [names], "drifted": [names],
    "figures": {name: number}}``. A damaged file is set aside. Safe to call from any thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._checks: dict[str, list[dict[str, Any]]] = _read(path)

    def checks(self, kind: DriftKind, version: str | None = None) -> list[dict[str, Any]]:
        """Return the checks of a kind, oldest first; of one bundle only if ``version`` is given."""
        with self._lock:
            found = list(self._checks.get(kind, ()))
        return [check for check in found if version is None or check["version"] == version]

    def keep(self, kind: DriftKind, check: dict[str, Any]) -> None:
        """Keep one check durably and forget the oldest of too many; ConfigError if it cannot."""
        short = {key: check[key][:_NAMES] for key in ("departed", "drifted")}
        with self._lock:
            self._checks[kind] = [*self._checks.get(kind, ()), {**check, **short}][-_KEPT:]
            content = json.dumps({"format": _FORMAT, "checks": self._checks}).encode()
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._path, content)
            except OSError as error:
                msg = f"lifecycle.path: cannot write {self._path}: {error.strerror or error}"
                raise ConfigError(msg) from error


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        for left in path.parent.glob(f".{path.name}-*"):  # by a process that was killed
            left.unlink()
        document = json.loads(path.read_bytes())
        return {kind: _sound(document["checks"].get(kind, [])) for kind in ("isometry", "inputs")}
    except FileNotFoundError:
        return {}
    except OSError as error:
        msg = f"lifecycle.path: cannot read {path}: {error.strerror or error}"
        raise ConfigError(msg) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        log.warning("drift_history_damaged", set_aside=str(aside), error=repr(error))
        return {}


def _sound(checks: Any) -> list[dict[str, Any]]:
    keys: dict[str, Callable[[Any], bool]] = {
        "at": lambda v: isinstance(v, (int, float)),
        "version": lambda v: isinstance(v, str),
        "departed": lambda v: isinstance(v, list),
        "drifted": lambda v: isinstance(v, list),
        "figures": lambda v: isinstance(v, dict),
    }
    for check in checks:
        if not all(sound(check[key]) for key, sound in keys.items()):
            msg = f"a check is amiss: {check!r}"
            raise ValueError(msg)
    return list(checks)[-_KEPT:]
