"""Records as a float32 matrix, and back: the map whose inverse and log-Jacobian are known.

No column of the matrix is constant over the training records: a constant column has no density,
and held-out nats would reward whatever reproduces it most sharply. What training never showed (a
dropped column that changes, a first missing value, a new category) is told in other ways, see
:meth:`Encoder.departures`, :class:`~vaeiso_monitor.records.block.Block` and
:class:`~vaeiso_monitor.records.onehot.OneHot`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaeiso_monitor.records.encoder_config import EncoderConfig
from vaeiso_monitor.records.encoder_parts import fit_parts, stored_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vaeiso_monitor.records.block import Block
    from vaeiso_monitor.records.layout import Dropped, Feature
    from vaeiso_monitor.records.onehot import OneHot
    from vaeiso_monitor.records.schema import Schema
    from vaeiso_monitor.types import Records

_PRESENT_BELOW = 0.5
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The map of records to rows of a float32 matrix, fitted once on normal records.

    ``features`` are the schema's columns that are in the matrix, in order and side by side;
    ``dropped`` the others. ``booleans`` holds numbers of few values too, where the transform is
    "auto". ``indicators`` [2, i] tells which columns of ``Records.numbers`` have an
    indicator of missing values, and where it is; ``constants`` [p] holds what a number column was
    in training where its only column is that indicator.
    """

    config: EncoderConfig
    number_names: tuple[str, ...]
    category_names: tuple[str, ...]
    features: tuple[Feature, ...]
    dropped: tuple[Dropped, ...]
    numbers: Block
    booleans: Block
    categories: tuple[OneHot, ...]
    indicators: NDArray[np.int64]
    constants: NDArray[np.float64]

    @classmethod
    def fit(cls, records: Records, schema: Schema, config: EncoderConfig | None = None) -> Self:
        """Fit on normal records; raise ValueError where nothing varies or a number is infinite."""
        return cls(**fit_parts(records, schema, config or EncoderConfig()))

    @property
    def width(self) -> int:
        """Number of columns m of the matrix."""
        return self.features[-1].stop

    def encode(self, records: Records) -> NDArray[np.float32]:
        """Return the matrix [n, m] of ``records``."""
        numbers = records.numbers
        if numbers.shape[1] != len(self.number_names):
            msg = f"the records have {numbers.shape[1]} numbers, not {len(self.number_names)}"
            raise ValueError(msg)
        x = np.zeros((len(records), self.width), dtype=np.float32)
        self.numbers.encode_into(x, numbers, self.config.clip)
        self.booleans.encode_into(x, numbers, self.config.clip)
        for category in self.categories:
            category.encode_into(x, records.categories[category.source])
        if self.indicators.size:
            x[:, self.indicators[1]] = np.isnan(numbers[:, self.indicators[0]])
        return x

    def inverse(self, x: NDArray[np.floating[Any]]) -> dict[str, list[Any]]:
        """Return for each feature the k values, in the user's units, of encoded rows ``x`` [k, m].

        Numbers are floats, booleans bools, categories the likeliest text; None stands for missing.
        """
        raw = np.broadcast_to(self.constants, (len(x), len(self.constants))).copy()
        raw[:, self.numbers.sources] = self.numbers.decode(x)
        raw[:, self.booleans.sources] = 0.0
        np.add.at(raw.T, self.booleans.sources, self.booleans.decode(x).T)
        for source, target in self.indicators.T.tolist():
            raw[x[:, target] > _PRESENT_BELOW, source] = np.nan
        categories = {self.category_names[c.source]: c for c in self.categories}
        return {
            f.name: categories[f.name].decode(x)
            if f.kind == "category"
            else _values(raw[:, self.number_names.index(f.name)], truths=f.kind == "boolean")
            for f in self.features
        }

    def decode_row(self, x: NDArray[np.floating[Any]]) -> dict[str, Any]:
        """Return the value of each feature, in the user's units, of one encoded row ``x`` [m]."""
        return {name: values[0] for name, values in self.inverse(x[np.newaxis]).items()}

    def log_jacobian(self, records: Records) -> NDArray[np.float64]:
        """Return for each record sum_i log |d encoded_i / d raw_i| over its numbers, float64 [n].

        Booleans, numbers of few values and categories have no density and add nothing, nor does a
        missing value; the clip is a guard against overflow and is left out of account.
        """
        return self.numbers.log_jacobian(records.numbers)

    def transforms(self) -> dict[str, list[str]]:
        """Return the number columns by the transform that each of them has."""
        numbers = {feature.name for feature in self.features if feature.kind == "number"}
        found: dict[str, list[str]] = {}
        for block in (self.numbers, self.booleans):
            names = [self.number_names[source] for source in block.sources.tolist()]
            for name, kind in dict(zip(names, block.transform.kinds, strict=True)).items():
                if name in numbers:
                    found.setdefault(kind, []).append(name)
        return found

    def departures(self, records: Records) -> NDArray[np.int64]:
        """Count for each record [n] the dropped columns that are not what they were in training."""
        count = np.zeros(len(records), dtype=np.int64)
        for column in self.dropped:
            if column.name in self.category_names:
                texts = records.categories[self.category_names.index(column.name)]
                count += np.array([text != column.value for text in texts], dtype=np.int64)
            else:
                values = records.numbers[:, self.number_names.index(column.name)]
                usual = np.nan if column.value is None else column.value
                count += ~np.isclose(values, usual, rtol=_ROUNDING, atol=0, equal_nan=True)
        return count

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the encoder as it stands in a bundle: a JSON-able dict, and named arrays."""
        meta = {
            "config": asdict(self.config),
            "number_names": list(self.number_names),
            "category_names": list(self.category_names),
            "features": [asdict(feature) for feature in self.features],
            "dropped": [asdict(column) for column in self.dropped],
            "categories": [category.state() for category in self.categories],
        }
        arrays: dict[str, np.ndarray] = {
            "indicators": self.indicators,
            "constants": self.constants,
        }
        for side, block in (("numbers", self.numbers), ("booleans", self.booleans)):
            arrays |= {f"{side}_{key}": array for key, array in block.state().items()}
        return meta, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild an encoder from :meth:`state`; raise BundleError on anything else."""
        return cls(**stored_parts(meta, arrays))


def _values(column: NDArray[np.float64], *, truths: bool) -> list[Any]:
    values: list[Any] = (column >= _PRESENT_BELOW if truths else column).tolist()
    for row in np.flatnonzero(np.isnan(column)).tolist():
        values[row] = None
    return values
