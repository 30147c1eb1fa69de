"""The bundle store: a folder of bundles and a pointer to the one that serves."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from vaeiso_monitor.bundle.artefact import Bundle
from vaeiso_monitor.bundle.durable import exclusively, fsync, fsync_folder, write_whole
from vaeiso_monitor.errors import BundleError, ConfigError

_VERDICT = "verdict.json"
_SERVED = 20  # names that the pointer remembers
_LEFTOVERS = (".incoming-", ".removed-", ".serving-")


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where bundles are kept, and how many for how long.

    The serving bundle and the one before it stay, whatever the bounds say.
    """

    path: str = "state/store"
    max_bundles: Annotated[int, Ge(2)] = 20
    max_age_seconds: Annotated[float, Gt(0)] = 90 * 86400.0


class BundleStore:
    """Bundles under ``<path>/bundles/<version>``, the serving one named in ``<path>/serving``.

    The pointer's first line is the serving version, the next ones served before it. Whoever writes
    holds ``<path>/lock``, so what is half written while the lock is free was left by a crash.
    """

    def __init__(self, config: StoreConfig, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(config.path)
        self._config = config
        self._clock = clock
        self._bundles = self.path / "bundles"
        self._pointer = self.path / "serving"

    def add(self, bundle: Bundle, verdict: Mapping[str, Any] | None = None) -> Path:
        """Write ``bundle`` beside and rename it in, with the gate's ``verdict`` if there is one.

        A reader sees all of it or nothing.
        """
        target = self._bundles / bundle.version
        with self._writing():
            if target.exists():
                return target
            beside = self._bundles / f".incoming-{uuid.uuid4().hex}"
            try:
                bundle.save(beside)
                if verdict is not None:
                    (beside / _VERDICT).write_text(json.dumps(verdict, indent=1))
                fsync_folder(beside)
                beside.rename(target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            fsync(self._bundles)
        return target

    def prepare(self) -> None:
        """Make the folders and clear what a crash left; ConfigError where that is refused."""
        with self._writing():
            probe = self._bundles / f".incoming-{uuid.uuid4().hex}"
            probe.mkdir()
            for folder in (self.path, self._bundles):
                for left in folder.iterdir():
                    if left.name.startswith(_LEFTOVERS):
                        _remove(left)

    def promote(self, version: str) -> None:
        """Let ``version`` serve from now on, after it was loaded and verified once."""
        name = self.load(version).version
        with self._writing():
            before = [other for other in self._served() if other != name]
            self._point([name, *before])

    def rollback(self) -> str:
        """Let the bundle serve again that served before, and return its version.

        Raises BundleError where there is none that is still whole.
        """
        current = self.serving()
        for name in self._served()[1:]:
            try:
                self.load(name)
            except BundleError:
                continue
            with self._writing():
                served = self._served()
                self._point([name, *(o for o in served if o not in (name, current))])
            return name
        msg = f"no bundle in {self._bundles} served before {current or 'this'}: nothing to go to"
        raise BundleError(msg)

    def serving(self) -> str | None:
        """Return the version that serves, None before the first; BundleError for a torn pointer."""
        try:
            lines = self._pointer.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"store.path: cannot read {self._pointer}: {error.strerror or error}"
            raise ConfigError(msg) from error
        except UnicodeDecodeError:
            lines = []
        if not lines:
            msg = f"{self._pointer} names no bundle; `models promote` writes it anew"
            raise BundleError(msg)
        return lines[0]

    def current(self) -> Bundle | None:
        """Load the bundle that serves; None where there is none yet, BundleError where it broke."""
        version = self.serving()
        return None if version is None else self.load(version)

    def load(self, version: str) -> Bundle:
        """Load one version, whole or abbreviated to a unique prefix or hash."""
        folder = self._bundles / self.resolve(version)
        bundle = Bundle.load(folder)
        if bundle.version != folder.name:
            msg = f"{folder} holds the bundle {bundle.version}: a bundle keeps its name"
            raise BundleError(msg)
        return bundle

    def verdict(self, version: str) -> dict[str, Any] | None:
        """Return the gate's verdict on a version, None where it was never judged."""
        try:
            found = json.loads((self._bundles / self.resolve(version) / _VERDICT).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def resolve(self, version: str) -> str:
        """Return the full name of ``version``, which may be a unique beginning or end of it."""
        names = self.versions()
        hits = [name for name in names if name == version] or [
            name for name in names if name.startswith(version) or name.endswith(version)
        ]
        if len(hits) == 1:
            return hits[0]
        what = "no bundle" if not hits else f"{len(hits)} bundles"
        known = ", ".join(names[-5:]) or "none"
        msg = f"{what} called {version!r} in {self._bundles} (the latest: {known})"
        raise BundleError(msg)

    def versions(self) -> list[str]:
        """Return all versions, oldest first."""
        if not self._bundles.is_dir():
            return []
        return sorted(p.name for p in self._bundles.iterdir() if not p.name.startswith("."))

    def last_trained(self) -> float | None:
        """Return when the newest bundle was trained (Unix time), promoted or not."""
        return max(map(_trained, self.versions()), default=None)

    def retain(self) -> list[str]:
        """Delete the oldest bundles beyond the bounds of the config and return their versions."""
        with self._writing():
            kept = set(self._served()[:2])
            names = [name for name in self.versions() if name not in kept]
            surplus = len(names) + len(kept) - self._config.max_bundles
            oldest = self._clock() - self._config.max_age_seconds
            gone = [n for i, n in enumerate(names) if i < surplus or _trained(n) < oldest]
            for name in gone:
                hidden = self._bundles / f".removed-{uuid.uuid4().hex}"
                (self._bundles / name).rename(hidden)
                _remove(hidden)
        return gone

    def _served(self) -> list[str]:
        try:
            return self._pointer.read_text(encoding="utf-8").split()
        except (FileNotFoundError, UnicodeDecodeError):
            return []

    def _point(self, names: list[str]) -> None:
        write_whole(self._pointer, "".join(f"{name}\n" for name in names[:_SERVED]).encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            with exclusively(self.path / "lock"):
                yield
        except OSError as error:
            msg = f"store.path: cannot write to {self.path}: {error.strerror or error}"
            raise ConfigError(msg) from error


def _trained(version: str) -> float:
    """Return the Unix time that a version begins with; 0 for a name that has none."""
    try:
        stamp = datetime.strptime(version.partition("-")[0], "%Y%m%dT%H%M%S%z")
    except ValueError:
        return 0.0
    return stamp.timestamp()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
