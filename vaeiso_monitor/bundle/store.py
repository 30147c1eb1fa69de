"""The bundle store: a folder of bundles and a pointer to the one that serves."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaeiso_monitor.bundle.artefact import Bundle
from vaeiso_monitor.errors import BundleError, ConfigError


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where bundles are kept."""

    path: str = "state/store"


class BundleStore:
    """Bundles under ``<path>/bundles/<version>``, the serving one named in ``<path>/serving``."""

    def __init__(self, config: StoreConfig) -> None:
        self.path = Path(config.path)
        self._bundles = self.path / "bundles"
        self._pointer = self.path / "serving"

    def add(self, bundle: Bundle) -> Path:
        """Write ``bundle`` beside and rename it in: a reader sees all of it or nothing."""
        self.prepare()
        target = self._bundles / bundle.version
        if target.exists():
            return target
        beside = self._bundles / f".incoming-{uuid.uuid4().hex}"
        with self._writing():
            try:
                bundle.save(beside)
                _sync(beside)
                beside.rename(target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            _fsync(self._bundles)
        return target

    def prepare(self) -> None:
        """Make the folders; raise ConfigError where nothing can be written."""
        with self._writing():
            self._bundles.mkdir(parents=True, exist_ok=True)
            probe = self._bundles / f".incoming-{uuid.uuid4().hex}"
            probe.mkdir()
            probe.rmdir()

    def promote(self, version: str) -> None:
        """Let ``version`` serve from now on, after it was loaded and verified once."""
        name = self.load(version).version
        beside = self.path / f".serving-{uuid.uuid4().hex}"
        with self._writing():
            beside.write_text(name + "\n")
            _fsync(beside)
            beside.replace(self._pointer)
            _fsync(self.path)

    def serving(self) -> str | None:
        """Return the version that serves, None before the first; BundleError for a torn pointer."""
        try:
            name = self._pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"store.path: cannot read {self._pointer}: {error.strerror or error}"
            raise ConfigError(msg) from error
        except UnicodeDecodeError:
            name = ""
        if not name:
            msg = f"{self._pointer} names no bundle; `models promote` writes it anew"
            raise BundleError(msg)
        return name

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

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"store.path: cannot write to {self.path}: {error.strerror or error}"
            raise ConfigError(msg) from error

    def versions(self) -> list[str]:
        """Return all versions, oldest first."""
        if not self._bundles.is_dir():
            return []
        return sorted(p.name for p in self._bundles.iterdir() if not p.name.startswith("."))


def _sync(folder: Path) -> None:
    for file in folder.iterdir():
        _fsync(file)
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
