"""What a record is: which columns count, what they may hold, and which only name the record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from annotated_types import Gt

from vaeiso_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

ColumnKind = Literal["number", "category", "boolean"]
RangePolicy = Literal["reject", "mark"]
MissingPolicy = Literal["impute", "reject"]
UnseenPolicy = Literal["mark", "reject"]


@dataclass(frozen=True, slots=True)
class Column:
    """One feature: its kind, what it may hold, and what happens when it does not.

    ``range_policy`` and ``unseen``: "reject" sends the record to the dead letters, "mark" scores it
    as it is. ``missing``: "impute" scores the record with the gap marked, "reject" refuses it.
    ``values`` are the declared categories; without them every text is a category.
    """

    name: str
    kind: ColumnKind = "number"
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    range_policy: RangePolicy = "reject"
    missing: MissingPolicy = "impute"
    values: tuple[str, ...] = ()
    unseen: UnseenPolicy = "mark"

    def __post_init__(self) -> None:
        if not self.name:
            msg = "A column has an empty name: give `name` the name of a field of the record."
            raise ValueError(msg)
        self._check_choices()
        self._check_range()
        self._check_values()

    def _check_choices(self) -> None:
        for key, allowed in _CHOICES.items():
            value = getattr(self, key)
            if value not in allowed:
                msg = f"Column {self.name!r}: {key} = {value!r} is not one of {', '.join(allowed)}."
                raise ValueError(msg)

    def _check_range(self) -> None:
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if bounds and self.kind != "number":
            msg = f"Column {self.name!r}: only a number has minimum and maximum; remove them."
            raise ValueError(msg)
        if not all(map(math.isfinite, bounds)):
            msg = f"Column {self.name!r}: minimum and maximum are finite; leave out an open end."
            raise ValueError(msg)
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            msg = (
                f"Column {self.name!r}: minimum {bounds[0]} exceeds maximum {bounds[1]}; swap them."
            )
            raise ValueError(msg)

    def _check_values(self) -> None:
        if self.values and self.kind != "category":
            msg = f"Column {self.name!r}: only a category has values; remove them."
            raise ValueError(msg)
        if len(set(self.values)) < len(self.values):
            msg = f"Column {self.name!r}: values repeat {_repeated(self.values)!r}; name each once."
            raise ValueError(msg)
        if self.unseen == "reject" and not self.values:
            msg = f'Column {self.name!r}: unseen = "reject" needs `values` to compare with.'
            raise ValueError(msg)


_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(ColumnKind),
    "range_policy": get_args(RangePolicy),
    "missing": get_args(MissingPolicy),
    "unseen": get_args(UnseenPolicy),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a record and the fields that name it.

    ``key`` identifies a record, ``time`` dates it and ``entity`` says what it is about; one field
    may serve as several of them, and ``entity`` may be a category column as well. Fields that are
    neither named here nor columns are skipped, as those in ``ignore`` are.
    """

    columns: tuple[Column, ...]
    key: str | None = None
    time: str | None = None
    entity: str | None = None
    ignore: tuple[str, ...] = ()
    max_record_bytes: Annotated[int, Gt(0)] = 1 << 20

    def __post_init__(self) -> None:
        if not self.columns:
            msg = "The schema has no columns: add a [[schema.columns]] table for each feature."
            raise ValueError(msg)
        if self.max_record_bytes <= 0:
            msg = f"max_record_bytes = {self.max_record_bytes} must be above 0."
            raise ValueError(msg)
        self._check_names()

    def _check_names(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            msg = f"Column {_repeated(names)!r} is declared twice; remove one of the two."
            raise ValueError(msg)
        for role, taken in (("key", names), ("time", names), ("entity", self.numbers)):
            if getattr(self, role) in taken:
                msg = (
                    f"Column {getattr(self, role)!r} is the schema's {role}, which names a record "
                    f"and is not scored; remove the column or choose another {role}."
                )
                raise ValueError(msg)
        for name in self.ignore:
            if name in names or name in self.labels:
                msg = f"Field {name!r} is in `ignore` and in use; remove it from one of the two."
                raise ValueError(msg)

    @property
    def labels(self) -> tuple[str, ...]:
        """Fields that name a record (key, time, entity), each once."""
        named = (self.key, self.time, self.entity)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def number_columns(self) -> tuple[Column, ...]:
        """Number and boolean columns: the columns of ``Records.numbers``."""
        return tuple(column for column in self.columns if column.kind != "category")

    @property
    def category_columns(self) -> tuple[Column, ...]:
        """Category columns: the members of ``Records.categories``."""
        return tuple(column for column in self.columns if column.kind == "category")

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the number and boolean columns, in order."""
        return tuple(column.name for column in self.number_columns)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the category columns, in order."""
        return tuple(column.name for column in self.category_columns)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the schema as it stands in a bundle (a JSON-able dict, no arrays)."""
        return asdict(self), {}

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> Self:
        """Rebuild a schema from :meth:`state`; raise BundleError on anything else."""
        if arrays:
            msg = f"The schema of the bundle has arrays it cannot have: {', '.join(arrays)}"
            raise BundleError(msg)
        try:
            return cls.from_mapping(meta)
        except (TypeError, ValueError) as error:
            msg = f"The schema of the bundle is damaged: {error}"
            raise BundleError(msg) from error

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Build a schema from parsed TOML or JSON; raise ValueError or TypeError on nonsense."""
        table = dict(mapping)
        columns = tuple(_column(entry) for entry in table.pop("columns", ()))
        return cls(columns=columns, **_only_fields(cls, table, "ignore"))


def _column(entry: Mapping[str, Any]) -> Column:
    return Column(**_only_fields(Column, entry, "values"))


def _only_fields(owner: type, table: Mapping[str, Any], listed: str) -> dict[str, Any]:
    types = {field.name: str(field.type) for field in fields(owner)}
    for key, value in table.items():
        if key not in types:
            msg = f"Unknown key {key!r}; the keys are {', '.join(types)}."
            raise ValueError(msg)
        _check_type(key, value, types[key])
    texts = table.get(listed, ())
    return {**table, listed: tuple(texts)}


def _check_type(key: str, value: object, annotation: str) -> None:
    """Refuse a value that a dataclass would take without looking at it."""
    if value is None and "None" in annotation:
        return
    if annotation.startswith("tuple"):
        good = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    elif "float" in annotation or "int" in annotation:
        numeric = (int, float) if "float" in annotation else (int,)
        good = isinstance(value, numeric) and not isinstance(value, bool)
    else:
        good = isinstance(value, str)
    if not good:
        msg = f"{key} = {value!r} has the wrong type."
        raise TypeError(msg)


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
