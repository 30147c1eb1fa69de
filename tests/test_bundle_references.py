from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.plain import SCHEMA
from vaeiso_monitor.bundle import Bundle, InputReference, IsometryReference
from vaeiso_monitor.bundle.reference_isometry import QUANTITIES, normal
from vaeiso_monitor.detector import Recipe, ThresholdConfig, train
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model import ModelConfig, TrainingConfig
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.types import Records


def numbers(*columns: object) -> Records:
    stacked = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    return Records(stacked, [], np.arange(len(stacked)))


def same(found: object, expected: object) -> None:
    for name in type(expected).__slots__:  # type: ignore[attr-defined]
        one, two = getattr(found, name), getattr(expected, name)
        if hasattr(two, "__slots__"):
            same(one, two)
        elif isinstance(two, tuple):
            for a, b in zip(one, two, strict=True):
                same(a, b) if hasattr(b, "__slots__") else np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_array_equal(one, two)


def test_a_bundle_keeps_its_references(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.isometry_reference is not None
    assert bundle.input_reference is not None
    bundle.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.version == bundle.version
    same(again.isometry_reference, bundle.isometry_reference)
    same(again.input_reference, bundle.input_reference)


def test_a_bundle_of_an_earlier_version_has_none(bundle: Bundle, tmp_path: Path) -> None:
    old = Bundle.seal(
        schema=bundle.schema,
        encoder=bundle.encoder,
        model=bundle.model,
        threshold=bundle.threshold,
        scoring=bundle.scoring,
        summary=bundle.summary,
    )
    old.save(tmp_path / "old")
    assert "reference" not in (tmp_path / "old" / "bundle.json").read_text()
    again = Bundle.load(tmp_path / "old")
    assert again.version == old.version
    assert again.isometry_reference is None
    assert again.input_reference is None


def test_the_isometry_reference_is_what_the_training_measured(bundle: Bundle) -> None:
    reference, table = bundle.isometry_reference, bundle.summary["isometry"]
    assert reference is not None
    value = dict(zip(QUANTITIES, reference.value.tolist(), strict=True))
    # the table is of all held-out records, the reference of those at or under the alert line
    assert value["norm_error"] == pytest.approx(table["norm_error"], abs=0.03)
    assert value["orthogonality_error"] == pytest.approx(table["orthogonality_error"], abs=0.05)
    assert value["meaningful_latents"] == reference.meaningful.sum()
    assert value["nats"] <= bundle.summary["held_out_nats"]
    assert (reference.sd >= 0).all()


@pytest.mark.parametrize("kind", [IsometryReference, InputReference])
def test_a_damaged_reference_is_refused(bundle: Bundle, kind) -> None:
    name = "isometry_reference" if kind is IsometryReference else "input_reference"
    meta, arrays = getattr(bundle, name).state()
    meta = json.loads(json.dumps(meta))
    assert kind.from_state(meta, arrays) is not None
    for key in meta:
        broken = {k: v for k, v in meta.items() if k != key}
        with pytest.raises(BundleError, match="damaged"):
            kind.from_state(broken, arrays)
    for key, array in arrays.items():
        with pytest.raises(BundleError, match="damaged"):
            kind.from_state(meta, {**arrays, key: array[:-1]})
        with pytest.raises(BundleError, match="damaged"):
            kind.from_state(meta, {**arrays, key: np.full_like(array, np.nan)})


def test_only_the_worst_few_are_left_out_as_not_normal() -> None:
    x = np.arange(200, dtype=np.float32)[:, None]
    nats = np.zeros(200)
    nats[[3, 5]] = 9.0, np.nan
    kept, scores = normal(x, nats, line=1.0)
    assert len(kept) == len(scores) == 198
    assert not set(kept[:, 0]) & {3.0, 5.0}
    everything, _ = normal(x, np.full(200, 9.0), line=1.0)
    assert len(everything) == 196  # a model that is far off is measured all the same


def test_features_that_hardly_vary_can_be_described() -> None:
    schema = Schema(columns=tuple(Column(name) for name in ("gone", "constant", "rare", "half")))
    records = numbers(
        np.full(1000, np.nan),
        np.full(1000, 4.2),
        np.arange(1000) % 100 == 0,
        np.where(np.arange(1000) % 2 == 0, np.nan, np.arange(1000)),
    )
    reference = InputReference.fit(records, schema)
    assert [feature.bins for feature in reference.features] == [1, 1, 2, 10]
    assert reference.stretches.shares[:, 0].tolist() == [1, 0, 0, 0.5]
    again = InputReference.from_state(*reference.state())
    same(again, reference)
    outside = reference.marks(numbers([0.0], [4.3], [1.0], [2000.0]))
    assert [marks.shares[0].tolist() for marks in outside] == [
        [False, False, False],
        [False, False, True],
        [False, False, False],
        [False, False, True],
    ]


def test_a_declared_range_that_only_marks_is_the_range() -> None:
    column = Column("t", minimum=0.0, maximum=10.0, range_policy="mark")
    schema = Schema(columns=(column, Column("u")))
    rng = np.random.default_rng(0)
    reference = InputReference.fit(numbers(rng.random(500), rng.random(500)), schema)
    assert (reference.numbers[0].low, reference.numbers[0].high) == (0.0, 10.0)
    assert -0.2 < reference.numbers[1].low < 0
    assert 1 < reference.numbers[1].high < 1.2


def test_a_category_of_many_values_has_few_bins_and_knows_the_most_frequent() -> None:
    schema = Schema(columns=(Column("x"), Column("c", kind="category")))
    rng = np.random.default_rng(0)
    texts: list[str | None] = [f"v{int(value)}" for value in rng.exponential(60, 5000)]
    texts[7] = None
    records = Records(rng.random((5000, 1)), [texts], np.arange(5000))
    reference = InputReference.fit(records, schema)
    category = reference.categories[0]
    assert category.bins == 10
    assert len(category.values) == 200
    marks = category.marks([category.values[0], category.values[150], "new", None])
    assert marks.bins.tolist() == [0, 9, 9, -1]
    assert marks.shares.tolist() == [
        [False, False, False],
        [False, False, False],
        [False, True, False],
        [True, False, False],
    ]
    assert 0 < reference.stretches.shares[1, 1] < 0.2


def test_stretches_know_the_night() -> None:
    """What follows the clock strays far in short stretches, and not in whole days."""
    schema = Schema(columns=(Column("clock"), Column("noise")))
    rng = np.random.default_rng(0)
    days = 16
    noise = rng.standard_normal(days * 200)
    clock = np.sin(np.arange(days * 200) * (2 * np.pi / 200)) + 0.1 * noise[::-1]
    stretches = InputReference.fit(numbers(clock, noise), schema).stretches
    night, whole_days = stretches.at(0.04), stretches.at(0.3)
    assert night is not None
    assert whole_days is not None
    assert stretches.fractions[night] == 1 / 32
    assert stretches.fractions[whole_days] == 1 / 4
    assert stretches.strayed[0, night] > 2
    assert stretches.strayed[0, whole_days] < 0.25
    assert (stretches.strayed[1] < 1.0).all()
    assert stretches.strayed[1, whole_days] < 0.1
    assert stretches.at(0.001) is None


def test_a_training_that_diverged_would_not_be_hidden_by_the_references() -> None:
    rng = np.random.default_rng(0)
    records = numbers(rng.random(60), rng.random(60))
    recipe = Recipe(
        model=ModelConfig(beta=0.1, latent_dim=1, hidden=(4,)),
        training=TrainingConfig(max_steps=5),
        threshold=ThresholdConfig(alert_budget=0.1),
        device="cpu",
    )
    bundle = train(records, Schema(columns=(Column("a"), Column("b"))), recipe)
    assert bundle.isometry_reference is not None
    assert np.isfinite(bundle.isometry_reference.value).all()
    assert bundle.input_reference is not None
    assert len(bundle.input_reference.stretches.fractions) == 0


def test_the_time_that_training_spans_comes_from_the_ledger(bundle: Bundle) -> None:
    assert bundle.input_reference is not None
    assert bundle.input_reference.seconds is None
    from tests.plain import RECIPE, documents, raw
    from vaeiso_monitor.records import Decoder

    records = Decoder(SCHEMA).decode(raw(list(documents(300))))[0]
    ledger = {"first_seen": "2026-01-01T00:00:00+00:00", "last_seen": "2026-01-02T00:00:00+00:00"}
    trained = train(records, SCHEMA, RECIPE, ledger=ledger)
    assert trained.input_reference is not None
    assert trained.input_reference.seconds == 86400.0
