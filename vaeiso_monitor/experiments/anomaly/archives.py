"""The public archives of the four data sets: fetched once, checked, and kept in a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import httpx

from vaeiso_monitor.errors import ConfigError

_TIMEOUT_SECONDS = 30.0
_GOAD = "https://raw.githubusercontent.com/lironber/GOAD/3655b867e84d9100ee24b6a346eabd3c85edf3d4"
_BRF = (
    "https://raw.githubusercontent.com/potash/brf-example/cb1486bbec7069eec30474bce4bf9478e867e9d2"
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that several servers offer; any copy with one of these SHA-256 sums is good."""

    file: str
    urls: tuple[str, ...]
    sha256: tuple[str, ...]


# The second sum of KDD is that of the copy which scikit-learn fetches: packed anew, the same text.
KDDCUP99 = Archive(
    "kddcup.data_10_percent.gz",
    (
        "https://kdd.ics.uci.edu/databases/kddcup99/kddcup.data_10_percent.gz",
        "https://ndownloader.figshare.com/files/5976042",
        f"{_BRF}/data/kddcup.data_10_percent.gz",
    ),
    (
        "7bfaa8cef1350f72842018c32893e2fa4539d57efbb22f998eb74ecefc3da3b4",
        "8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561",
    ),
)
THYROID = Archive(
    "thyroid.mat",
    (f"{_GOAD}/data/thyroid.mat",),
    ("49155d7861b977e90808faf68343ff67a67f63090c2744d514dbb67ac68e7e33",),
)
ARRHYTHMIA = Archive(
    "arrhythmia.mat",
    (f"{_GOAD}/data/arrhythmia.mat",),
    ("e4d47e499591ae31e5d7f0cd983367092353eac240f48e14c9b36457edb3460d",),
)


def obtain(archive: Archive, cache: Path) -> Path:
    """Return the path of an archive's good copy in ``cache``, which is fetched if it is not there.

    Raises ConfigError where no server gives a copy that passes, saying what each of them did.
    """
    path = cache / archive.file
    if path.is_file() and _sum(path.read_bytes()) in archive.sha256:
        return path
    failures = []
    for url in archive.urls:
        try:
            content = _fetched(url, archive.sha256)
        except (httpx.HTTPError, ValueError) as error:
            failures.append(f"{url}: {str(error) or type(error).__name__}")
            continue
        _write(path, content)
        return path
    msg = (
        f"{archive.file} is not here and could not be fetched ({'; '.join(failures)}): set "
        f"VAEISO_DATA to a folder that holds the data sets, or put the file into {cache}"
    )
    raise ConfigError(msg)


def _fetched(url: str, allowed: tuple[str, ...]) -> bytes:
    answer = httpx.get(url, follow_redirects=True, timeout=_TIMEOUT_SECONDS)
    answer.raise_for_status()
    found = _sum(answer.content)
    if found not in allowed:
        msg = f"its SHA-256 is {found}, which is none of the known ones"
        raise ValueError(msg)
    return answer.content


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
