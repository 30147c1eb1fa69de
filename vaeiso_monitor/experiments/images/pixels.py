"""Where images come from: a folder of files, or the generated set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.images.generated import FACTORS, generated

_ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
_MOST_PIXELS = 64_000_000  # of one file: more is left out unread
_FEWEST = 100  # images that are worth a training


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Square images [N, channels * size * size] of bytes, channel by channel.

    ``factors`` [N, F] are what made them, where that is known; ``left_out`` counts the files that
    could not be read.
    """

    name: str
    x: NDArray[np.uint8]
    channels: int
    size: int
    factors: NDArray[np.float64] | None = None
    factor_names: tuple[str, ...] = ()
    left_out: int = 0

    def digest(self) -> str:
        """Return what tells this set from any other: a hash of its values."""
        return hashlib.sha256(self.x.tobytes()).hexdigest()[:16]


def generated_set(count: int, size: int, seed: int) -> ImageSet:
    """Return grey images of a blob whose factors are known."""
    found = generated(count, size, seed)
    return ImageSet("generated blobs", found.x, 1, size, found.factors, FACTORS)


def folder_set(
    folder: Path,
    *,
    size: int,
    grey: bool,
    most: int,
    seed: int,
    tell: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read up to ``most`` PNG and JPEG files below ``folder``: the centre square of each, scaled.

    Of more files a random choice is taken. Files that are damaged or huge are left out and
    counted; ConfigError where fewer than 100 remain. ``tell`` hears of files done and files in all.
    """
    paths = _chosen(folder, most, seed)
    channels = 1 if grey else 3
    x, count = np.empty((len(paths), channels * size**2), dtype=np.uint8), 0
    for done, path in enumerate(paths, start=1):
        image = _read(path, size, "L" if grey else "RGB")
        if image is not None:
            x[count] = image
            count += 1
        if tell is not None and (done % 100 == 0 or done == len(paths)):
            tell(done, len(paths))
    if count < _FEWEST:
        msg = f"{folder} holds {count} readable PNG or JPEG images; at least {_FEWEST} are needed"
        raise ConfigError(msg)
    return ImageSet(str(folder), x[:count], channels, size, left_out=len(paths) - count)


def _chosen(folder: Path, most: int, seed: int) -> list[Path]:
    if not folder.is_dir():
        msg = f"{folder} is not a folder of images"
        raise ConfigError(msg)
    found = sorted(_image_paths(folder))
    if len(found) <= most:
        return found
    rows = np.random.default_rng(seed).choice(len(found), most, replace=False)
    return [found[row] for row in np.sort(rows)]


def _image_paths(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in _ENDINGS and path.is_file():
            yield path


def _read(path: Path, size: int, mode: str) -> NDArray[np.uint8] | None:
    """Return the image as values [channels * size * size], or None where it cannot be read."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            image.draft(mode, (2 * size, 2 * size))
            edge = min(image.size)
            left, top = (image.width - edge) // 2, (image.height - edge) // 2
            square = image.convert(mode).resize(
                (size, size), Image.Resampling.BOX, (left, top, left + edge, top + edge)
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # Pillow says SyntaxError of a broken PNG
    values = np.asarray(square, dtype=np.uint8).reshape(size, size, -1)
    return values.transpose(2, 0, 1).reshape(-1)
