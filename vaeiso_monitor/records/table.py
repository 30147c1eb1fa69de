"""The columns of a batch between reading and checking, and the faults found on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.records.texts import Fault, shown
from vaeiso_monitor.types import RejectReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.records.schema import Schema

Check = Callable[["Table"], None]


@dataclass(slots=True)
class Table:
    """Columns of the rows that could be read; ``faults`` tells why a row of the batch cannot serve.

    ``numbers`` is float64 [n, p]; ``rows`` int64 [n] are the rows of the batch; ``labels`` holds a
    list of n values for each key, time and entity field.
    """

    numbers: NDArray[np.float64]
    categories: list[list[str | None]]
    labels: dict[str, list[Any]]
    rows: NDArray[np.int64]
    faults: dict[int, Fault] = field(default_factory=dict)

    def fault(self, index: int, reason: RejectReason, detail: str) -> None:
        """Mark the row at ``index``; the first fault of a row stands."""
        self.faults.setdefault(int(self.rows[index]), (reason, detail))

    def without_faults(self) -> Table:
        """Return the rows that have no fault."""
        if not self.faults:
            return self
        good = ~np.isin(self.rows, np.fromiter(self.faults, dtype=np.int64))
        if good.all():
            return self
        chosen = good.tolist()
        categories = [list(compress(column, chosen)) for column in self.categories]
        labels = {name: list(compress(column, chosen)) for name, column in self.labels.items()}
        return Table(self.numbers[good], categories, labels, self.rows[good], self.faults)


def schema_checks(schema: Schema) -> Sequence[Check]:
    """Return the checks that ``schema`` asks for, those that can never fail left out."""
    checks: list[Check | None] = [
        None if schema.key is None else _key_check(schema.key),
        _truth_check(schema),
        _missing_number_check(schema),
        _range_check(schema),
        *(_missing_category_check(schema, name) for name in schema.categories),
        *(_unseen_check(schema, name) for name in schema.categories),
    ]
    return [check for check in checks if check is not None]


def _key_check(key: str) -> Check:
    def check(table: Table) -> None:
        for index in _where_none(table.labels[key]):
            table.fault(index, RejectReason.MISSING_KEY, f"key {key!r} is missing")

    return check


def _truth_check(schema: Schema) -> Check | None:
    columns = [i for i, column in enumerate(schema.number_columns) if column.kind == "boolean"]

    def check(table: Table) -> None:
        values = table.numbers[:, columns]
        wrong = ~((values == 0) | (values == 1) | np.isnan(values))
        for index, j in np.argwhere(wrong).tolist():
            name, value = schema.numbers[columns[j]], values[index, j]
            detail = f"column {name!r}: found {value:g}, expected true, false, 1 or 0"
            table.fault(index, RejectReason.WRONG_TYPE, detail)

    return check if columns else None


def _missing_number_check(schema: Schema) -> Check | None:
    columns = [i for i, column in enumerate(schema.number_columns) if column.missing == "reject"]

    def check(table: Table) -> None:
        for index, j in np.argwhere(np.isnan(table.numbers[:, columns])).tolist():
            table.fault(index, RejectReason.MISSING_VALUE, _missing(schema.numbers[columns[j]]))

    return check if columns else None


def _range_check(schema: Schema) -> Check | None:
    columns = [i for i, c in enumerate(schema.number_columns) if c.range_policy == "reject"]
    chosen = [schema.number_columns[i] for i in columns]
    low = np.array([-np.inf if c.minimum is None else c.minimum for c in chosen])
    high = np.array([np.inf if c.maximum is None else c.maximum for c in chosen])

    def check(table: Table) -> None:
        values = table.numbers[:, columns]
        for index, j in np.argwhere((values < low) | (values > high)).tolist():
            detail = (
                f"column {chosen[j].name!r}: found {values[index, j]:g}, "
                f"expected {low[j]:g} to {high[j]:g}"
            )
            table.fault(index, RejectReason.OUT_OF_RANGE, detail)

    return check if np.isfinite([*low, *high]).any() else None


def _missing_category_check(schema: Schema, name: str) -> Check | None:
    place = schema.categories.index(name)

    def check(table: Table) -> None:
        for index in _where_none(table.categories[place]):
            table.fault(index, RejectReason.MISSING_VALUE, _missing(name))

    return check if schema.category_columns[place].missing == "reject" else None


def _unseen_check(schema: Schema, name: str) -> Check | None:
    place = schema.categories.index(name)
    column = schema.category_columns[place]
    allowed = frozenset[str | None]([*column.values, None])

    def check(table: Table) -> None:
        unseen = set(table.categories[place]) - allowed
        for index, text in enumerate(table.categories[place] if unseen else ()):
            if text in unseen:
                detail = f"column {name!r}: found {shown(text)}, which is not a declared value"
                table.fault(index, RejectReason.UNSEEN_CATEGORY, detail)

    return check if column.unseen == "reject" else None


def _missing(name: str) -> str:
    return f"column {name!r} is missing"


def _where_none(column: Iterable[object]) -> list[int]:
    return [index for index, value in enumerate(column) if value is None]
