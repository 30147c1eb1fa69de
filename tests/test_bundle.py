from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plain import SCHEMA, documents, raw
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine, StoreConfig
from vaeiso_monitor.errors import BundleError, ConfigError
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.records import Column

FILES = ("bundle.json", "arrays.safetensors", "manifest.json")


def nats(bundle: Bundle) -> np.ndarray:
    engine = Engine(bundle, resolve_device("cpu"))
    try:
        return engine.launch(raw(list(documents(300, seed=4)))).wait().nats
    finally:
        engine.close()


def renamed(bundle: Bundle, seconds: int) -> Bundle:
    """Return the same bundle as if it had been sealed later."""
    later = replace(bundle, created=bundle.created + timedelta(seconds=seconds))
    return Bundle.seal(
        schema=later.schema,
        encoder=later.encoder,
        model=later.model,
        threshold=later.threshold,
        scoring=later.scoring,
        summary={**later.summary, "copy": seconds},
    )


@pytest.fixture(scope="module")
def saved(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    bundle.save(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(StoreConfig(path=str(tmp_path / "store")))


def test_a_loaded_bundle_scores_bit_for_bit_the_same(bundle: Bundle, saved: Path) -> None:
    again = Bundle.load(saved)
    np.testing.assert_array_equal(nats(again), nats(bundle))
    assert again.version == bundle.version
    assert again.schema == bundle.schema
    assert again.summary == bundle.summary
    assert again.created == bundle.created
    assert again.threshold.nats == bundle.threshold.nats
    assert again.importance_ratios == bundle.importance_ratios


def test_a_bundle_is_not_written_over_another(bundle: Bundle, saved: Path) -> None:
    with pytest.raises(FileExistsError):
        bundle.save(saved)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_is_found(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    damaged = tmp_path / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(saved, damaged)
    path = damaged / data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(BundleError):
        Bundle.load(damaged)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved: Path, tmp_path: Path, name: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(saved, damaged)
    (damaged / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(damaged)
    (damaged / name).mkdir()
    with pytest.raises(BundleError):
        Bundle.load(damaged)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"format": 1, "sha256": 7}'])
def test_a_manifest_of_something_else_is_no_bundle(
    saved: Path, tmp_path: Path, content: bytes
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(saved, damaged)
    (damaged / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        Bundle.load(damaged)


def test_a_foreign_format_is_told_by_its_number(saved: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(saved, foreign)
    manifest = json.loads((foreign / "manifest.json").read_text())
    (foreign / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(BundleError, match="format 99, this version reads 1"):
        Bundle.load(foreign)


def test_a_summary_may_hold_what_json_cannot(bundle: Bundle, tmp_path: Path) -> None:
    sealed = Bundle.seal(
        schema=bundle.schema,
        encoder=bundle.encoder,
        model=bundle.model,
        threshold=bundle.threshold,
        scoring=bundle.scoring,
        summary={"curve": [(1, float("nan")), (2, float("inf"))]},
    )
    sealed.save(tmp_path / "sealed")
    assert Bundle.load(tmp_path / "sealed").summary == sealed.summary
    assert sealed.summary == {"curve": [[1, None], [2, None]]}
    assert sealed.isometry_healthy is None
    assert sealed.importance_ratios == {}
    assert sealed.moved_features == {}


def test_an_empty_store_serves_nothing(store: BundleStore) -> None:
    assert store.serving() is None
    assert store.current() is None
    assert store.versions() == []
    with pytest.raises(BundleError, match="no bundle called 'x'"):
        store.load("x")


def test_what_was_promoted_serves(store: BundleStore, bundle: Bundle) -> None:
    store.add(bundle)
    assert store.current() is None
    store.promote(bundle.version[-8:])
    assert store.serving() == bundle.version
    current = store.current()
    assert current is not None
    np.testing.assert_array_equal(nats(current), nats(bundle))
    store.add(bundle)
    assert store.versions() == [bundle.version]


def test_names_may_be_abbreviated_while_they_are_unique(store: BundleStore, bundle: Bundle) -> None:
    other = renamed(bundle, 1)
    for each in (bundle, other):
        store.add(each)
    assert store.versions() == sorted([bundle.version, other.version])
    for each in (bundle.version, other.version):
        assert store.resolve(each) == each
        assert store.resolve(each[-8:]) == each
    with pytest.raises(BundleError, match="2 bundles called '20'"):
        store.resolve("20")
    with pytest.raises(BundleError, match="no bundle called 'nonsense'"):
        store.promote("nonsense")


def test_a_damaged_bundle_is_never_promoted(store: BundleStore, bundle: Bundle) -> None:
    other = renamed(bundle, 1)
    store.add(bundle)
    store.promote(bundle.version)
    arrays = store.add(other) / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(BundleError, match="does not match its hash"):
        store.promote(other.version)
    assert store.serving() == bundle.version


def test_a_bundle_under_a_foreign_name_is_refused(store: BundleStore, bundle: Bundle) -> None:
    folder = store.add(bundle)
    folder.rename(folder.with_name("mine"))
    with pytest.raises(BundleError, match="keeps its name"):
        store.load("mine")


def test_what_a_crash_left_half_written_is_not_a_bundle(store: BundleStore, bundle: Bundle) -> None:
    target = store.add(bundle)
    half = target.with_name(".incoming-0123")
    half.mkdir()
    (half / "bundle.json").write_bytes(b"{")
    (store.path / ".serving-0123").write_text("nonsense")
    assert store.versions() == [bundle.version]
    with pytest.raises(BundleError):
        store.resolve(".incoming-0123")
    assert store.serving() is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"20260101T000000Z-00000000\n"])
def test_a_broken_pointer_is_not_taken_for_a_new_store(store: BundleStore, content: bytes) -> None:
    store.prepare()
    (store.path / "serving").write_bytes(content)
    with pytest.raises(BundleError):
        store.current()


def test_a_store_that_cannot_be_written_names_its_key(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "file").touch()
    store = BundleStore(StoreConfig(path=str(tmp_path / "file")))
    for attempt in (store.prepare, lambda: store.add(bundle), store.current):
        with pytest.raises(ConfigError, match=r"store\.path: cannot"):
            attempt()


def test_how_a_schema_differs_is_said_in_words(bundle: Bundle) -> None:
    flow, pressure, is_open, mode = SCHEMA.columns
    assert bundle.differs_from(SCHEMA) is None
    labelled = replace(SCHEMA, key=None, max_record_bytes=9, columns=SCHEMA.columns)
    assert bundle.differs_from(labelled) is None
    ranged = replace(SCHEMA, columns=(replace(flow, maximum=7.0), pressure, is_open, mode))
    assert bundle.differs_from(ranged) is None
    less = replace(SCHEMA, columns=(flow, is_open, mode))
    assert bundle.differs_from(less) == "only the bundle has pressure (number)"
    more = replace(SCHEMA, columns=(*SCHEMA.columns, Column("zone", kind="category")))
    assert bundle.differs_from(more) == "only the config has zone (category)"
    kind = replace(SCHEMA, columns=(flow, pressure, Column("open"), mode))
    assert bundle.differs_from(kind) == (
        "only the bundle has open (boolean); only the config has open (number)"
    )
    order = replace(SCHEMA, columns=(pressure, flow, is_open, mode))
    assert "order" in str(bundle.differs_from(order))


def at(bundle: Bundle, instant: float) -> Bundle:
    """Return the same bundle as if it was trained at another time."""
    return Bundle.seal(
        schema=bundle.schema,
        encoder=bundle.encoder,
        model=bundle.model,
        threshold=bundle.threshold,
        scoring=bundle.scoring,
        summary=bundle.summary,
        sample=bundle.sample,
        created=datetime.fromtimestamp(instant, UTC),
    )


def test_the_sample_of_records_comes_back(store: BundleStore, bundle: Bundle) -> None:
    assert bundle.sample is not None
    store.add(bundle)
    sample = store.load(bundle.version).sample
    assert sample is not None
    np.testing.assert_array_equal(sample.numbers, bundle.sample.numbers)
    assert list(sample.categories) == list(bundle.sample.categories)
    without = at(replace(bundle, sample=None), 1.0)
    store.add(without)
    assert store.load(without.version).sample is None


def test_old_bundles_go_but_not_the_serving_one_and_its_predecessor(
    tmp_path: Path, bundle: Bundle
) -> None:
    day, now = 86400.0, 1_800_000_000.0
    config = StoreConfig(path=str(tmp_path / "kept"), max_bundles=4, max_age_seconds=10 * day)
    store = BundleStore(config, clock=lambda: now)
    versions = [store.add(at(bundle, now - age * day)).name for age in (30, 20, 15, 5, 4, 3, 2, 1)]
    store.promote(versions[0])
    store.promote(versions[1])
    assert store.last_trained() == now - day
    gone = store.retain()
    assert gone == versions[2:6]
    assert store.versions() == [*versions[:2], *versions[6:]]
    assert store.retain() == []
    assert not [p for p in (store.path / "bundles").iterdir() if p.name.startswith(".")]


def test_a_rollback_goes_back_step_by_step(store: BundleStore, bundle: Bundle) -> None:
    versions = [store.add(at(bundle, 86400.0 * day)).name for day in (1, 2, 3)]
    with pytest.raises(BundleError, match="nothing to go to"):
        store.rollback()
    for version in versions:
        store.promote(version)
    damaged = store.path / "bundles" / versions[1] / "arrays.safetensors"
    content = damaged.read_bytes()
    assert store.rollback() == versions[1]
    damaged.write_bytes(b"")
    store.promote(versions[2])
    assert store.rollback() == versions[0]  # what is damaged is passed over
    damaged.write_bytes(content)
    assert store.serving() == versions[0]


def test_a_verdict_lies_beside_its_bundle(store: BundleStore, bundle: Bundle) -> None:
    other = at(bundle, 5.0)
    store.add(bundle)
    store.add(other, {"accepted": False})
    assert store.verdict(bundle.version) is None
    assert store.verdict(other.version) == {"accepted": False}
    (store.path / "bundles" / other.version / "verdict.json").write_text("{")
    assert store.verdict(other.version) is None


def test_what_a_crash_left_is_cleared_away(store: BundleStore, bundle: Bundle) -> None:
    target = store.add(bundle)
    for name in (".incoming-1", ".removed-2"):
        target.with_name(name).mkdir()
        (target.with_name(name) / "bundle.json").write_bytes(b"{")
    (store.path / ".serving-3").write_text("half")
    store.prepare()
    assert [p.name for p in (store.path / "bundles").iterdir()] == [bundle.version]
    assert sorted(p.name for p in store.path.iterdir()) == ["bundles", "lock"]
