"""What the training records looked like, feature by feature, and how much that varied in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.bundle.reference_stretches import SHARES, Marks, Stretches, usual_range
from vaeiso_monitor.detect.stability import BINS, bin_of, quantile_edges
from vaeiso_monitor.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.records import Column, Schema
    from vaeiso_monitor.types import Records

_KNOWN_VALUES = 200  # of a category; the others count as unseen, in training as later


@dataclass(frozen=True, slots=True, eq=False)
class NumberReference:
    """One number or boolean: upper edges of its bins, and the range that values are held to."""

    name: str
    unit: str | None
    edges: NDArray[np.float64]
    low: float
    high: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], column: Column) -> NumberReference:
        """Take the bins and, where the schema only marks what is out of range, its range."""
        present = values[~np.isnan(values)]
        low, high = usual_range(present) if len(present) else (0.0, 0.0)
        if column.range_policy == "mark":
            low = low if column.minimum is None else column.minimum
            high = high if column.maximum is None else column.maximum
        return cls(column.name, column.unit, quantile_edges(values), low, high)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) + 1

    def marks(self, values: NDArray[np.float64]) -> Marks:
        """Return what the comparison needs to know of each value [n]; NaN is a missing one."""
        missing = np.isnan(values)
        outside = (values < self.low) | (values > self.high)
        shares = np.stack([missing, np.zeros_like(missing), outside], axis=1)
        return Marks(np.where(missing, -1, bin_of(values, self.edges)), shares)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryReference:
    """One category: the values that training showed, the most frequent first.

    The first nine have a bin of their own, the others share the last.
    """

    name: str
    values: tuple[str, ...]

    @classmethod
    def fit(cls, column: Sequence[str | None], name: str) -> CategoryReference:
        """Take the most frequent values."""
        counts = Counter(value for value in column if value is not None)
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        return cls(name, tuple(ranked[:_KNOWN_VALUES]))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return min(len(self.values), BINS - 1) + 1

    def marks(self, column: Sequence[str | None]) -> Marks:
        """Return what the comparison needs to know of each value [n]; None is a missing one."""
        codes_of: dict[str | None, int] = {value: code for code, value in enumerate(self.values)}
        codes_of[None] = -1
        unseen = len(self.values)
        codes = np.array([codes_of.get(value, unseen) for value in column], dtype=np.int64)
        none = np.zeros(len(codes), dtype=np.bool_)
        shares = np.stack([codes < 0, codes == unseen, none], axis=1)
        return Marks(np.minimum(codes, self.bins - 1), shares)


FeatureReference = NumberReference | CategoryReference


@dataclass(frozen=True, slots=True, eq=False)
class InputReference:
    """The features of the training records; ``stretches`` say how they varied over training.

    ``records`` is how many there were, ``seconds`` the time they span, None where nobody knows.
    """

    records: int
    seconds: float | None
    numbers: tuple[NumberReference, ...]
    categories: tuple[CategoryReference, ...]
    stretches: Stretches

    @classmethod
    def fit(cls, records: Records, schema: Schema, seconds: float | None = None) -> InputReference:
        """Describe the training records, which are in the order of time."""
        columns = list(zip(records.numbers.T, schema.number_columns, strict=True))
        numbers = tuple(NumberReference.fit(values, column) for values, column in columns)
        texts = zip(records.categories, schema.categories, strict=True)
        categories = tuple(CategoryReference.fit(column, name) for column, name in texts)
        bare = cls(len(records), seconds, numbers, categories, Stretches.none())
        ranged = [
            values if _held_to_training(values, column) else None for values, column in columns
        ]
        values = [*ranged, *([None] * len(categories))]
        bins = [feature.bins for feature in bare.features]
        stretches = Stretches.measure(bare.marks(records), bins, values)
        return cls(len(records), seconds, numbers, categories, stretches)

    @property
    def features(self) -> tuple[FeatureReference, ...]:
        """All features: numbers and booleans, then categories."""
        return (*self.numbers, *self.categories)

    def marks(self, records: Records) -> list[Marks]:
        """Return for each feature what the comparison needs to know of each record."""
        of_numbers = zip(self.numbers, records.numbers.T, strict=True)
        of_categories = zip(self.categories, records.categories, strict=True)
        return [
            *(feature.marks(values) for feature, values in of_numbers),
            *(feature.marks(column) for feature, column in of_categories),
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle stores: a JSON-able dict and named arrays."""
        meta = {
            "records": self.records,
            "seconds": self.seconds,
            "numbers": [
                {"name": n.name, "unit": n.unit, "low": n.low, "high": n.high, "bins": n.bins}
                for n in self.numbers
            ],
            "categories": [{"name": c.name, "values": list(c.values)} for c in self.categories],
        }
        edges = [number.edges for number in self.numbers]
        joined = np.concatenate([np.empty(0), *edges])
        return meta, {"edges": joined, **self.stretches.state()}

    @classmethod
    def from_state(
        cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> InputReference:
        """Rebuild from :meth:`state`; raise BundleError if the parts do not make a reference."""
        try:
            numbers = tuple(_numbers(meta["numbers"], arrays["edges"]))
            categories = tuple(
                CategoryReference(str(part["name"]), tuple(map(str, part["values"])))
                for part in meta["categories"]
            )
            seconds = meta["seconds"]
            features = len(numbers) + len(categories)
            return cls(
                records=int(meta["records"]),
                seconds=None if seconds is None else float(seconds),
                numbers=numbers,
                categories=categories,
                stretches=Stretches.from_state(arrays, features),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the input reference of the bundle is damaged: {error!r}"
            raise BundleError(msg) from error


def _held_to_training(values: NDArray[np.float64], column: Column) -> bool:
    """Return whether the range of a number is what training showed, not what is declared."""
    declared = column.minimum is not None or column.maximum is not None
    return not (np.isnan(values).all() or (column.range_policy == "mark" and declared))


def _numbers(parts: Sequence[Any], edges: NDArray[Any]) -> list[NumberReference]:
    stops = np.cumsum([int(part["bins"]) - 1 for part in parts]).tolist()
    good = edges.dtype == np.float64 and edges.shape == ((stops or [0])[-1],)
    if not (good and np.isfinite(edges).all()):
        msg = f"the edges are {edges.dtype} {edges.shape}"
        raise ValueError(msg)
    return [
        NumberReference(
            str(part["name"]),
            part["unit"],
            edges[stop - int(part["bins"]) + 1 : stop],
            float(part["low"]),
            float(part["high"]),
        )
        for part, stop in zip(parts, stops, strict=True)
    ]


__all__ = ["SHARES", "CategoryReference", "FeatureReference", "InputReference", "NumberReference"]
