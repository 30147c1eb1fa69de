"""Some of the records that a bundle was judged on, kept with it to judge its successors by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 1000


def sample_of(records: Records, rows: NDArray[np.int64]) -> Records:
    """Return up to 1,000 of the records at ``rows``, spread evenly, without their labels."""
    places = rows[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(np.int64)]
    categories = [[texts[i] for i in places.tolist()] for texts in records.categories]
    return Records(records.numbers[places], categories, np.arange(len(places), dtype=np.int64))


def sample_state(
    sample: Records | None,
) -> tuple[dict[str, Any] | None, dict[str, NDArray[np.float64]]]:
    """Return what a bundle stores of its sample: a JSON-able dict (or None) and its numbers."""
    if sample is None:
        return None, {}
    categories = [list(texts) for texts in sample.categories]
    return {"categories": categories}, {"numbers": np.ascontiguousarray(sample.numbers)}


def sample_from_state(
    meta: Mapping[str, Any] | None, arrays: Mapping[str, NDArray[np.float64]]
) -> Records | None:
    """Rebuild the sample; None for a bundle without one, BundleError if it is damaged."""
    if meta is None:
        return None
    try:
        numbers = np.asarray(arrays["numbers"], dtype=np.float64)
        categories = [list(texts) for texts in meta["categories"]]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the sample of records is damaged: {error}"
        raise BundleError(msg) from error
    if numbers.ndim != 2 or any(len(texts) != len(numbers) for texts in categories):
        msg = "the sample of records is damaged: its columns have different lengths"
        raise BundleError(msg)
    return Records(numbers, categories, np.arange(len(numbers), dtype=np.int64))
