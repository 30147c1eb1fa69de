"""The verbs ``isometry`` and ``reproduce``, run as a user runs them."""

import json

import pytest

from tests.plain import SCHEMA, documents
from vaeiso_monitor.bundle import Bundle, BundleStore, StoreConfig
from vaeiso_monitor.cli import main
from vaeiso_monitor.model import isometry
from vaeiso_monitor.model.isometry import Isometry

CONFIG = """
[source]
type = "file"
path = "records.jsonl"

[schema]
key = "id"
time = "ts"
entity = "pump"
ignore = ["note"]

[[schema.columns]]
name = "flow"
unit = "m3/h"

[[schema.columns]]
name = "pressure"
unit = "bar"

[[schema.columns]]
name = "open"
kind = "boolean"

[[schema.columns]]
name = "mode"
kind = "category"

[store]
path = "store"
"""


def resealed(bundle, **changes):
    """The same bundle with another isometry table."""
    summary = {**bundle.summary, "isometry": {**bundle.summary["isometry"], **changes}}
    return Bundle.seal(
        schema=bundle.schema, encoder=bundle.encoder, model=bundle.model,
        threshold=bundle.threshold, scoring=bundle.scoring, summary=summary,
    )  # fmt: skip


@pytest.fixture
def plant(tmp_path, monkeypatch, bundle):
    """A folder with a config, records, and a store whose bundle is known to be healthy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "records.jsonl").write_bytes(b"\n".join(documents(400)) + b"\n")
    store = BundleStore(StoreConfig(str(tmp_path / "store")))
    sealed = resealed(bundle, healthy=True, verdict="The embedding is isometric: good.")
    store.add(sealed)
    store.promote(sealed.version)
    return store


def test_the_stored_table_is_shown_with_its_verdict(plant, capsys):
    assert main(["isometry"]) == 0
    shown = capsys.readouterr().out
    assert "The embedding is isometric: good." in shown
    assert "effective dimension" in shown


def test_the_table_for_machines_names_what_moves(plant, capsys):
    assert main(["isometry", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["version"] == plant.serving()
    assert table["measured_on"] == "training"
    assert len(table["loadings"]) == len(table["latents"]) == 2
    loadings = [loading for latent in table["loadings"] for loading in latent]
    assert {loading["feature"] for loading in loadings} <= {c.name for c in SCHEMA.columns}
    assert {loading["unit"] for loading in loadings if loading["feature"] == "flow"} <= {"m3/h"}


def test_an_unhealthy_bundle_is_exit_code_1(plant, bundle, capsys):
    sick = resealed(bundle, healthy=False, verdict="The embedding is not isometric: bad.")
    plant.add(sick)
    assert main(["isometry", "--model", sick.version]) == 1
    assert "not isometric" in capsys.readouterr().out


def test_records_are_measured_anew(plant, bundle, capsys):
    code = main(["isometry", "--json", "--data", "records.jsonl"])
    table = json.loads(capsys.readouterr().out)
    assert table["measured_on"] == "data"
    assert table["records"] == 400
    assert code == (0 if table["healthy"] else 1)
    names = Isometry.__dataclass_fields__
    again = Isometry.from_dict({name: table[name] for name in names})
    assert again.beta == bundle.model.betas[0]


def test_the_picture_is_a_png(plant, tmp_path):
    assert main(["isometry", "--plot", "pictures/scree.png"]) == 0
    assert (tmp_path / "pictures/scree.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_says_so(plant, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["isometry", "--plot", "taken/scree.png"]) == 2
    assert "taken" in capsys.readouterr().err


def test_without_a_bundle_or_a_table_the_reason_is_given(plant, bundle, capsys):
    without = {**bundle.summary}
    del without["isometry"]
    bare = Bundle.seal(
        schema=bundle.schema, encoder=bundle.encoder, model=bundle.model,
        threshold=bundle.threshold, scoring=bundle.scoring, summary=without,
    )  # fmt: skip
    plant.add(bare)
    assert main(["isometry", "--model", bare.version]) == 2
    assert "--data" in capsys.readouterr().err


def test_loadings_are_in_the_users_units(bundle):
    from tests.plain import raw
    from vaeiso_monitor.bundle import latent_meanings
    from vaeiso_monitor.records import Decoder

    records, _ = Decoder(SCHEMA).decode(raw(list(documents(500))))
    x = bundle.encoder.encode(records)
    assert isometry(bundle.model, x).records == 500
    top = [row for latent in latent_meanings(bundle.model, bundle.encoder, x, top=9)
           for row in latent]  # fmt: skip
    flow = max((row for row in top if row.feature == "flow"), key=lambda row: row.size)
    pressure = max((row for row in top if row.feature == "pressure"), key=lambda row: row.size)
    # pressure = 2 + flow / 100: a latent that moves the one moves the other a hundredth as far
    assert pressure.size / flow.size == pytest.approx(0.01, rel=0.3)
    assert str(flow).endswith("m3/h")
    assert any(row.category in {"day", "night"} for row in top)


def test_a_bundle_of_mixed_columns_is_judged_by_them(tmp_path):
    from dataclasses import replace

    from tests.plain import RECIPE, anomaly, raw
    from vaeiso_monitor.bundle import Engine
    from vaeiso_monitor.detector import train
    from vaeiso_monitor.model import resolve_device
    from vaeiso_monitor.records import Decoder

    records, _ = Decoder(SCHEMA).decode(raw(list(documents(1500))))
    recipe = replace(RECIPE, model=replace(RECIPE.model, distortion="mixed-columns"))
    train(records, SCHEMA, recipe).save(tmp_path / "mixed")
    loaded = Bundle.load(tmp_path / "mixed")
    assert loaded.model.distortion.name == "mixed-columns"
    features = {feature.name: feature for feature in loaded.encoder.features}
    mode = features["mode"]
    assert loaded.model.distortion.state()["truths"] == [features["open"].start]
    assert loaded.model.distortion.state()["categories"] == [[mode.start, mode.stop]]
    engine = Engine(loaded, resolve_device("cpu"))
    scored = engine.launch(raw([*documents(200, seed=5), anomaly(9)])).wait()
    explained = engine.explain(scored.x)
    engine.close()
    assert scored.nats.argmax() == 200
    assert explained.nats == pytest.approx(scored.nats, rel=1e-3, abs=1e-3)
    assert set(explained.expected[list(features).index("mode")]) <= {"day", "night"}


def test_reproduce_toy_says_what_it_missed(tmp_path, capsys):
    brief = [
        "reproduce",
        "toy",
        "--seeds",
        "1",
        "--max-steps",
        "20",
        "--records",
        "500",
        "-o",
        str(tmp_path),
    ]
    assert main(brief) == 1
    shown = capsys.readouterr().out
    assert "Table 1" in shown
    assert "missed" in shown
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "toy-squared-error-0.json").stat().st_mtime_ns
    assert main([*brief, "--json"]) == 1  # resumed: nothing is trained again
    document = json.loads(capsys.readouterr().out)
    assert [run["loss"] for run in document["runs"]] == ["squared-error", "downward-convex"]
    assert (tmp_path / "toy-squared-error-0.json").stat().st_mtime_ns == first


def test_reproduce_rate_distortion_says_how_far_it_is_off(tmp_path, capsys):
    brief = ["reproduce", "rate-distortion", "--max-steps", "20", "--records", "500"]
    assert main([*brief, "-o", str(tmp_path)]) == 1
    assert "off the curve" in capsys.readouterr().out
    assert (tmp_path / "rate-distortion.png").read_bytes().startswith(b"\x89PNG")


def test_a_device_that_is_not_there_is_a_wrong_call(tmp_path, capsys):
    assert main(["reproduce", "toy", "--device", "tpu", "-o", str(tmp_path)]) == 2
    assert "tpu" in capsys.readouterr().err
