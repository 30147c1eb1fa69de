"""The files behind the page: read once, compressed once, named by their content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHARTS = "plotly.min.js"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_PLACE = "{{assets}}"  # in the index: the folder that all other files lie in


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its type, its content as it is, and compressed with gzip."""

    media_type: str
    content: bytes
    zipped: bytes


class Assets:
    """All files of the page under one ``digest`` of their content.

    The digest is part of their address, so that a browser may keep them for ever and an update is
    seen at once. Raises ConfigError where the chart library is not installed.
    """

    def __init__(self) -> None:
        charts = _charts()
        contents = {
            path.name: path.read_bytes()
            for path in sorted(Path(str(files(__package__) / "static")).iterdir())
            if path.suffix in _TYPES
        }
        index = contents.pop(_INDEX)
        # the charts are not hashed byte by byte: a start should not read five megabytes for that
        stamp = f"{charts}:{charts.stat().st_size}:{charts.stat().st_mtime_ns}".encode()
        self.digest = _digest([index, *contents.values(), stamp])
        place = f"assets/{self.digest}".encode()
        self.index = _asset(_INDEX, index.replace(_PLACE.encode(), place))
        self._charts = charts
        self._known = {name: _asset(name, content) for name, content in contents.items()}

    @property
    def names(self) -> frozenset[str]:
        """The names of all files but the index."""
        return frozenset({*self._known, CHARTS})

    def get(self, name: str) -> Asset | None:
        """Return one file, None for a name that is not known; the charts are read when asked for.

        Takes a good part of a second the first time that the charts are asked for.
        """
        if name == CHARTS and name not in self._known:
            self._known[name] = _asset(name, self._charts.read_bytes(), level=6)
        return self._known.get(name)


def _charts() -> Path:
    spec = find_spec("plotly")  # without importing it: nothing of it runs here
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        path = Path(folder) / "package_data" / CHARTS
        if path.is_file():
            return path
    msg = (
        f"the package plotly with its file {CHARTS} is not installed, and the page draws with it: "
        "install it (pip install plotly), or set server.enabled = false"
    )
    raise ConfigError(msg)


def _asset(name: str, content: bytes, level: int = 9) -> Asset:
    return Asset(_TYPES[Path(name).suffix], content, gzip.compress(content, level, mtime=0))


def _digest(parts: list[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()[:12]


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Say whether a request takes a compressed answer."""
    offers = headers.get("accept-encoding", "").lower().split(",")
    named = [offer.strip().partition(";") for offer in offers]
    return any(name == "gzip" and "q=0" not in rest.replace("q=0.", "") for name, _, rest in named)
