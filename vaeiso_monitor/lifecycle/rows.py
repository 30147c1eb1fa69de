"""Some of the records of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.types import Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def taken(records: Records, indices: NDArray[np.int64]) -> Records:
    """Return the records at ``indices`` [k], labels included."""
    chosen = indices.tolist()

    def of(column: Sequence[Any] | None) -> list[Any] | None:
        return None if column is None else [column[i] for i in chosen]

    return Records(
        records.numbers[indices],
        [[column[i] for i in chosen] for column in records.categories],
        records.rows[indices],
        of(records.keys),
        of(records.times),
        of(records.entities),
    )
