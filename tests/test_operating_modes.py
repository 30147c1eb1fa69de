"""A bundle with operating modes through all rooms: stored, explained, alerted, shown."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from tests.plain import RECIPE, SCHEMA, anomaly, config, documents, raw
from vaeiso_monitor.alerts import Alert, AlertsConfig, AlertWriter, Mode
from vaeiso_monitor.bundle import Bundle, BundleStore, Engine, StoreConfig
from vaeiso_monitor.cli import main
from vaeiso_monitor.detector import train
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.records import Decoder


@pytest.fixture(scope="module")
def moded():
    """A bundle with six modes."""
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(1500))))
    recipe = replace(RECIPE, model=replace(RECIPE.model, prior="mixture", modes=6))
    return train(records, SCHEMA, recipe)


@pytest.fixture(scope="module")
def plain():
    """A bundle without modes."""
    records, _ = Decoder(SCHEMA).decode(raw(list(documents(1500))))
    return train(records, SCHEMA, replace(RECIPE, model=replace(RECIPE.model, prior="normal")))


def alerts_of(bundle, batch):
    engine = Engine(bundle, resolve_device("cpu"))
    try:
        scored = engine.launch(batch).wait()
        every = AlertsConfig(top_features=99, top_latents=99)
        rows, now = np.arange(len(scored.nats)), datetime(2026, 1, 2, tzinfo=UTC)
        return AlertWriter(every).write(engine, scored, rows, now), engine.explain(scored.x)
    finally:
        engine.close()


def test_a_bundle_keeps_its_modes(moded, plain, tmp_path):
    moded.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.model.prior.name == "mixture"
    assert again.mode_shares == moded.mode_shares
    assert len(moded.mode_shares) == moded.model.prior.modes == 6
    assert sum(moded.mode_shares) == pytest.approx(1, rel=1e-5)
    some = raw(list(documents(30, seed=2)))
    for one, other in zip(alerts_of(moded, some)[0], alerts_of(again, some)[0], strict=True):
        assert one.mode == other.mode
        assert one.nats == other.nats
    assert plain.mode_shares == []


def test_an_alert_names_its_mode_and_the_parts_add_up(moded):
    written, why = alerts_of(moded, raw([*documents(20, seed=3), anomaly(1)]))
    assert why.mode.shape == why.mode_nats.shape == (21,)
    total = why.feature_nats.sum(1) + why.latent_nats.sum(1) + why.mode_nats + why.constant
    np.testing.assert_allclose(why.nats, total)
    for i, alert in enumerate(written):
        index = int(why.mode[i])
        assert alert.mode == Mode(index, moded.mode_shares[index], float(why.mode_nats[i]))
        latents = sum(latent.nats for latent in alert.latents)
        assert latents + alert.mode.nats == pytest.approx(alert.rate_nats)
        parts = alert.distortion_nats + alert.rate_nats + why.constant
        assert alert.nats == pytest.approx(parts, rel=1e-4, abs=1e-3)
    document = json.loads(written[-1].to_json())
    assert list(document["mode"]) == ["index", "share", "nats"]
    assert msgspec.convert(document, Alert) == written[-1]
    line = written[-1].to_text().splitlines()[-1]
    assert line.strip().startswith("operating mode")
    assert "% of normal operation" in line
    assert line.endswith("nats")


def test_without_modes_nothing_is_said_of_them(plain):
    written, why = alerts_of(plain, raw([anomaly(1)]))
    assert written[0].mode is None
    assert "operating mode" not in written[0].to_text()
    assert why.mode is None
    assert why.mode_nats.tolist() == [0.0]


@pytest.fixture
def place(moded, tmp_path, monkeypatch):
    """A folder with a config, whose store serves the bundle with modes."""
    monkeypatch.chdir(tmp_path)
    store = BundleStore(StoreConfig(str(tmp_path / "store")))
    store.add(moded)
    store.promote(moded.version)
    return config(tmp_path, tmp_path / "records.jsonl")


def test_explain_has_a_line_for_the_mode(place, capsys):
    call = ["explain", "--record", documents(1)[0].decode(), "-c", str(place)]
    assert main(call) == 0
    shown = capsys.readouterr().out
    assert "operating mode" in shown
    assert "% of normal" in shown
    assert main([*call, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 <= found["mode"]["index"] < 6
    assert 0 < found["mode"]["share"] <= 1
    names = {feature["name"] for feature in found["features"]}
    assert all(latent["moves"] and set(latent["moves"]) <= names for latent in found["latents"])
    first = found["latents"][0]
    row = next(line for line in shown.splitlines() if f"latent {first['index']} " in line)
    assert first["moves"][0][:3] in row


def test_the_modes_in_effect_are_shown(place, moded, capsys):
    main(["isometry", "-c", str(place)])
    assert "of 6 operating modes in effect: " in capsys.readouterr().out
    main(["isometry", "-c", str(place), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert sum(table["mode_shares"]) == pytest.approx(1)
    assert 1 <= table["effective_modes"] <= 6
    assert main(["models", "show", moded.version, "-c", str(place)]) == 0
    assert "operating modes" in " ".join(capsys.readouterr().out.split())
