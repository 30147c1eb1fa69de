"""The parts of an encoder: fitted to records, or read back from a bundle with strict checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.records.block import TRANSFORMS, Block
from vaeiso_monitor.records.chosen import Chosen
from vaeiso_monitor.records.encoder_config import EncoderConfig
from vaeiso_monitor.records.layout import Dropped, Feature, Shape
from vaeiso_monitor.records.onehot import OneHot
from vaeiso_monitor.records.transforms import Steps, column_array, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vaeiso_monitor.records.schema import Column, Schema
    from vaeiso_monitor.types import Records


@dataclass(slots=True)
class _Layout:
    """Columns of the matrix as they are given out, in the order of the schema.

    ``steps`` are those of booleans and, where the encoder is to ``choose``, of numbers of few
    values, which are in ``few``.
    """

    choose: bool
    features: list[Feature] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    numbers: list[tuple[int, int]] = field(default_factory=list)  # (source, target)
    steps: list[tuple[int, int]] = field(default_factory=list)
    few: list[tuple[float, ...]] = field(default_factory=list)
    indicators: list[tuple[int, int]] = field(default_factory=list)
    categories: list[OneHot] = field(default_factory=list)
    width: int = 0

    def place_number(self, column: Column, source: int, shape: Shape) -> None:
        start = self.width
        if shape.varies:
            if shape.few and (self.choose or column.kind == "boolean"):
                self.few.append(shape.few)
                self.steps += [(source, self._next()) for _ in shape.few[1:]]
            else:
                self.numbers.append((source, self._next()))
        if shape.missing:
            self.indicators.append((source, self._next()))
        self._close(column, start, None if np.isnan(shape.constant) else shape.constant)

    def place_category(self, column: Column, onehot: OneHot) -> None:
        start = self.width
        if not onehot.constant:
            self.categories.append(onehot)
            self.width += onehot.width
        self._close(column, start, onehot.values[0] if onehot.values else None)

    def _next(self) -> int:
        self.width += 1
        return self.width - 1

    def _close(self, column: Column, start: int, state: float | str | None) -> None:
        if self.width > start:
            feature = Feature(column.name, column.kind, start, self.width, column.unit)
            self.features.append(feature)
        else:
            reason = "every value is missing" if state is None else f"every value is {state!r}"
            self.dropped.append(Dropped(column.name, reason, state))


def fit_parts(records: Records, schema: Schema, config: EncoderConfig) -> dict[str, Any]:
    """Return the fields of an Encoder fitted to ``records``; raise ValueError where it cannot."""
    numbers = records.numbers
    _check_finite(numbers, schema)
    shapes = [Shape.of(column) for column in numbers.T]
    layout = _lay_out(records, schema, shapes, config)
    if not layout.features:
        msg = f"no column varies in the {len(records)} training records: there is nothing to learn"
        raise ValueError(msg)
    sources, targets = _pairs(layout.numbers)
    transform = TRANSFORMS[config.transform].fit(numbers[:, sources])
    stepped, step_targets = _pairs(layout.steps)
    steps = Steps.between(layout.few)
    return {
        "config": config,
        "number_names": schema.numbers,
        "category_names": schema.categories,
        "features": tuple(layout.features),
        "dropped": tuple(layout.dropped),
        "numbers": Block.fit(transform, numbers, sources, targets, config.clip),
        "booleans": Block.fit(steps, numbers, stepped, step_targets, config.clip),
        "categories": tuple(layout.categories),
        "indicators": _pairs(layout.indicators),
        "constants": np.nan_to_num(np.array([shape.constant for shape in shapes], np.float64)),
    }


def _check_finite(numbers: NDArray[np.float64], schema: Schema) -> None:
    infinite = np.isinf(numbers).any(axis=0)
    if infinite.any():
        msg = f"column {schema.numbers[int(infinite.argmax())]!r} holds an infinite number"
        raise ValueError(msg)


def _lay_out(
    records: Records, schema: Schema, shapes: list[Shape], config: EncoderConfig
) -> _Layout:
    layout = _Layout(choose=config.transform == Chosen.name)
    for column in schema.columns:
        if column.kind == "category":
            source = schema.categories.index(column.name)
            onehot = OneHot.fit(
                records.categories[source], source, layout.width, config.max_categories
            )
            layout.place_category(column, onehot)
        else:
            source = schema.numbers.index(column.name)
            layout.place_number(column, source, shapes[source])
    return layout


def _pairs(places: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Return sources and targets, int64 [2, count]."""
    return np.array(places, dtype=np.int64).reshape(-1, 2).T.copy()


def stored_parts(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of an Encoder from its state; raise BundleError on nonsense."""
    try:
        parts = _read(meta, arrays)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"The encoder of the bundle is damaged: {error!r}"
        raise BundleError(msg) from error
    _check_tiling(parts)
    return parts


def _read(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    config = EncoderConfig(**meta["config"])
    require(asdict(config).keys() == meta["config"].keys(), "its config is incomplete")
    return {
        "config": config,
        "number_names": _names(meta["number_names"]),
        "category_names": _names(meta["category_names"]),
        "features": tuple(Feature(**feature) for feature in meta["features"]),
        "dropped": tuple(Dropped(**column) for column in meta["dropped"]),
        "numbers": Block.from_state(config.transform, _of_block("numbers", arrays)),
        "booleans": Block.from_state(Steps.name, _of_block("booleans", arrays)),
        "categories": tuple(OneHot.from_state(category) for category in meta["categories"]),
        "indicators": arrays["indicators"],
        "constants": column_array(arrays, "constants"),
    }


def _names(names: object) -> tuple[str, ...]:
    require(isinstance(names, (list, tuple)), "names are no list")
    assert isinstance(names, (list, tuple))
    require(all(isinstance(name, str) for name in names), "a name is not text")
    return tuple(names)


def _of_block(side: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"{side}_"
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def _check_tiling(parts: dict[str, Any]) -> None:
    """Check that features and parts cover each column of the matrix exactly once."""
    features, indicators = parts["features"], parts["indicators"]
    require(len(features) > 0, "it has no features")
    stops = [0, *(feature.stop for feature in features)]
    starts = [*(feature.start for feature in features), stops[-1]]
    require(starts == stops and sorted(set(stops)) == stops, "the features do not lie side by side")
    good = indicators.dtype == np.int64 and indicators.ndim == 2 and len(indicators) == 2
    require(good, "the indicators are amiss")
    targets = [*parts["numbers"].targets, *parts["booleans"].targets, *indicators[1]]
    targets += [c.start + i for c in parts["categories"] for i in range(c.width)]
    require(sorted(targets) == list(range(stops[-1])), "a column of the matrix is not described")
    _check_sources(parts)


def _check_sources(parts: dict[str, Any]) -> None:
    p = len(parts["number_names"])
    require(len(parts["constants"]) == p, "the constants do not fit the numbers")
    sources = [*parts["numbers"].sources, *parts["booleans"].sources, *parts["indicators"][0]]
    require(all(0 <= source < p for source in sources), "a number column is unknown")
    known = range(len(parts["category_names"]))
    require(all(c.source in known for c in parts["categories"]), "a category column is unknown")
    names = {*parts["number_names"], *parts["category_names"]}
    used = [*parts["features"], *parts["dropped"]]
    require({column.name for column in used} == names, "the features do not fit the columns")
