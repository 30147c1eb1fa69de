"""docs/alert.schema.json: made from the structs, and true of what the daemon writes."""

import datetime as dt
import json
import math
import tomllib
from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.plain import anomaly, raw
from tests.test_alerts import alerts
from tests.test_docs import example
from vaeiso_monitor.alerts import DeadLetter, dead_letter, message_schema
from vaeiso_monitor.cli import main
from vaeiso_monitor.types import Position, Reject, RejectReason

FILE = Path(__file__).parent.parent / "docs" / "alert.schema.json"
SCHEMA = json.loads(FILE.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_file_is_what_the_verb_writes(capsys):
    assert main(["schema"]) == 0
    assert FILE.read_text() == capsys.readouterr().out, (
        "vaeiso-monitor schema > docs/alert.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(message_schema())


@pytest.mark.parametrize("kind", ["The alert", "The summary", "The regime shift", "The drift"])
def test_the_examples_fit(kind):
    VALIDATOR.validate(json.loads(example(kind)))


def test_real_alerts_fit(bundle):
    found = alerts(bundle, raw([anomaly(i) for i in range(20)]))
    assert len(found) == 20
    for alert in found:
        VALIDATOR.validate(json.loads(alert.to_json()))


def test_an_alert_without_a_finite_score_fits(bundle):
    alert = alerts(bundle, raw([anomaly(1)]))[0]
    beyond = msgspec.structs.replace(alert, nats=math.inf, anomaly_score=math.nan)
    VALIDATOR.validate(json.loads(beyond.to_json()))


def test_dead_letters_fit_their_own_part():
    part = VALIDATOR.evolve(schema={"$ref": "#/$defs/DeadLetter"} | {"$defs": SCHEMA["$defs"]})
    for value in (b"broken", b"\xff"):
        reject = Reject(RejectReason.NOT_JSON, "it breaks off", Position("file", "x", 0, 1), value)
        letter = dead_letter(reject, dt.datetime.now(dt.UTC))
        assert isinstance(letter, DeadLetter)
        part.validate(json.loads(letter.to_json()))


@pytest.mark.parametrize(
    "change", [{"nats": "much"}, {"type": "regime_shift"}, {"schema_version": 2}, {"features": [1]}]
)
def test_what_is_no_alert_does_not_fit(change):
    assert not VALIDATOR.is_valid(json.loads(example("The alert")) | change)


def test_the_schema_of_the_config_takes_the_example_and_no_wrong_key(capsys):
    assert main(["schema", "config"]) == 0
    validator = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    config = tomllib.loads((FILE.parent.parent / "config.example.toml").read_text())
    validator.validate(config)
    assert not validator.is_valid(config | {"serer": {}})
    assert not validator.is_valid(config | {"server": {"port": "many"}})
