from __future__ import annotations

import csv
import io
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.plain import SCHEMA, anomaly, config, documents
from vaeiso_monitor import __version__
from vaeiso_monitor.bundle import Bundle, BundleStore, StoreConfig
from vaeiso_monitor.cli import main, terminal
from vaeiso_monitor.model import Progress

VERBS = ("demo", "init", "check", "run", "train", "score", "explain", "models")
Lines = list[bytes]


@dataclass
class Place:
    """A folder with a config, records, and a store in which a bundle serves."""

    folder: Path
    config: Path
    records: Path
    bundle: Bundle

    def write(self, name: str, lines: Lines) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path


@pytest.fixture
def place(tmp_path: Path, bundle: Bundle) -> Place:
    records = tmp_path / "records.jsonl"
    records.write_bytes(b"\n".join(documents(50)) + b"\n")
    store = BundleStore(StoreConfig(path=str(tmp_path / "store")))
    store.add(bundle)
    store.promote(bundle.version)
    return Place(tmp_path, config(tmp_path, records), records, bundle)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line: exit code, output, errors."""

    def called(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return called


Call = Callable[..., tuple[int, str, str]]


def table_of(lines: Lines) -> pa.Table:
    return pa.Table.from_pylist([json.loads(line) for line in lines])


def test_help_teaches(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    for verb in VERBS:
        assert verb in out
    matters = {
        "run": ("CONFIG", "SIGTERM", "--for"),
        "check": ("CONFIG", "--connect", "--json"),
        "init": ("--topic", "--out", "--force"),
        "train": ("--data", "--max-records", "--no-promote"),
        "score": ("FILE", "--out", "--bundle", "anomaly_score"),
        "explain": ("ALERT_ID", "--record", "--alerts"),
        "demo": ("--for", "--rate"),
        "models": ("list", "show", "promote"),
    }
    for verb, words in matters.items():
        code, out, _ = call(verb, "--help")
        assert code == 0
        for word in words:
            assert word in out, (verb, word)
    assert call("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "rnu"),
        (["run"], "CONFIG"),
        (["run", "--frobnicate", "x.toml"], "--frobnicate"),
        (["run", "nowhere.toml"], "no such config file"),
        (["check", "nowhere.toml"], "no such config file"),
        (["train", "nowhere.toml"], "no such config file"),
        (["models", "list", "-c", "nowhere.toml"], "no such config file"),
        (["models", "lits"], "lits"),
        (["score", "x.jsonl", "-o", "y.txt"], ".csv, .parquet, .jsonl"),
        (["score", "x.jsonl"], "--out"),
        (["score", "nowhere.jsonl", "-o", "y.csv", "--bundle", "nowhere"], "nowhere"),
        (["init"], "FILE or a --topic"),
        (["init", "nowhere.jsonl"], "no such file"),
        (["init", "a", "--topic", "b"], "FILE or a --topic"),
        (["init", "x.jsonl", "--records", "none"], "--records"),
        (["demo", "--rate", "-1"], "--rate"),
    ],
)
def test_a_wrong_call_is_told_without_a_traceback(
    call: Call, arguments: list[str], words: str
) -> None:
    code, _, err = call(*arguments)
    assert code == (1 if "--bundle" in arguments else 2)
    assert words in err


def test_check_tells_what_run_would_do(place: Place, call: Call) -> None:
    code, out, _ = call("check", place.config)
    assert code == 0
    for words in (
        "is valid",
        "3 numbers and booleans, 1 categories",
        "key id",
        place.bundle.version,
    ):
        assert words in out
    code, out, _ = call("check", place.config, "--json", "--connect")
    plan = json.loads(out)
    assert code == 0
    assert plan["source"] == f"file ({place.records})"
    assert all(result["ok"] for result in plan["connect"].values())
    assert set(plan["connect"]) == {"source", "alerts", "dead letters"}


def test_check_finds_what_is_wrong(place: Place, call: Call) -> None:
    place.records.unlink()
    code, out, _ = call("check", place.config, "--connect")
    assert code == 1
    assert "FAIL" in out
    text = place.config.read_text()
    place.config.write_text(text.replace("batch_records", "batch_recods").replace("[model", "[mod"))
    code, _, err = call("check", place.config)
    assert code == 2
    assert "2 problems" in err
    assert "did you mean batch_records?" in err
    place.config.write_text('device = "cuda:99"\n' + text)
    code, _, err = call("check", place.config)
    assert code == 2
    assert "device" in err
    place.config.write_text(text.replace('kind = "boolean"', ""))
    code, out, _ = call("check", place.config)
    assert code == 2
    assert "only the bundle has open (boolean)" in out
    place.config.write_text(text)
    (place.folder / "store" / "bundles" / place.bundle.version / "bundle.json").write_text("{}")
    code, out, _ = call("check", place.config)
    assert code == 1
    assert "DAMAGED" in out


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_what_init_writes_passes_check(tmp_path: Path, call: Call, ending: str) -> None:
    sample = tmp_path / f"sam[p]le{ending}"
    lines = documents(200)
    match ending:
        case ".jsonl":
            sample.write_bytes(b"\n".join(lines))
        case ".csv":
            pyarrow.csv.write_csv(table_of(lines), sample)
        case _:
            pq.write_table(table_of(lines), sample)
    out = tmp_path / "new.toml"
    assert call("init", sample, "-o", out)[0] == 0
    code, told, _ = call("check", out, "--json", "--connect")
    assert code == 0, told
    assert "key id, time ts, entity pump" in json.loads(told)["schema"]
    assert call("init", sample, "-o", out)[0] == 2
    assert call("init", sample, "-o", out, "--force")[0] == 0
    code, printed, _ = call("init", sample)
    assert printed == out.read_text() + "\n"
    code, _, err = call("init", sample, "-o", tmp_path / "no" / "folder.toml")
    assert (code, "cannot be written" in err) == (2, True)


def test_init_says_what_it_cannot_read(tmp_path: Path, call: Call) -> None:
    for name, content in {
        "empty.jsonl": b"",
        "broken.parquet": b"PAR1 nonsense",
        "broken.arrow": b"ARROW1 nonsense",
        "what.xyz": b"1",
        "texts.jsonl": b"nonsense\n" * 9,
    }.items():
        (tmp_path / name).write_bytes(content)
        code, _, err = call("init", tmp_path / name)
        assert code == 2, name
        assert err.startswith("error: ")


def test_train_makes_a_bundle_that_serves(tmp_path: Path, call: Call) -> None:
    records = tmp_path / "records.jsonl"
    records.write_bytes(b"\n".join([*documents(700), b"broken"]))
    path = config(tmp_path, records)
    code, out, err = call("train", path, "--max-records", 600)
    assert code == 0
    assert "600 records" in out
    assert "only the first 600 records" in err
    code, out, _ = call("models", "list", "-c", path, "--json")
    first = json.loads(out)
    assert [row["serving"] for row in first] == [True]
    assert first[0]["records"] == 600
    code, out, err = call("train", path, "--data", records, "--no-promote")
    assert code == 0
    assert "700 records" in out
    assert "1 records do not fit the schema: {'not_json': 1}" in err
    rows = json.loads(call("models", "list", "-c", path, "--json")[1])
    assert sorted(row["records"] for row in rows) == [600, 700]
    newest = next(row for row in rows if row["records"] == 700)
    assert not newest["serving"]
    assert call("models", "promote", newest["version"][-8:], "-c", path)[0] == 0
    code, out, _ = call("models", "list", "-c", path)
    assert code == 0
    shown = json.loads(call("models", "show", newest["version"], "-c", path, "--json")[1])
    assert shown["serving"]
    assert shown["alert_budget"] == 0.02
    code, out, _ = call("models", "show", newest["version"][-8:], "-c", path)
    assert code == 0
    for words in (newest["version"], "beta 0.1", "700 records", "pressure"):
        assert words in out


def test_train_reads_files_as_the_source_does(tmp_path: Path, call: Call) -> None:
    records = tmp_path / "records.data"
    columns = table_of(documents(300))
    options = pyarrow.csv.WriteOptions(delimiter=";", include_header=False)
    pyarrow.csv.write_csv(columns, records, options)
    path = config(tmp_path, records)
    names = json.dumps(columns.column_names)
    more = f'format = "csv"\ndelimiter = ";"\ncolumns = {names}\nfollow = false'
    path.write_text(path.read_text().replace("follow = false", more))
    code, out, _ = call("train", path)
    assert code == 0
    assert "300 records" in out
    assert call("score", records, "-o", tmp_path / "out.csv", "-c", path)[0] == 0


def test_train_refuses_what_it_cannot_use(tmp_path: Path, call: Call) -> None:
    records = tmp_path / "records.jsonl"
    path = config(tmp_path, records)
    for content, words in (
        (None, "there is no file"),
        (b"broken\n" * 20, "no record of"),
        (documents(1)[0], "cannot be trained on"),
        (b"\n".join([documents(1)[0]] * 400), "cannot be trained on"),
    ):
        if content is not None:
            records.write_bytes(content)
        code, _, err = call("train", path)
        assert code == 2
        assert words in err
    assert call("train", path, "--data", tmp_path / "none.csv")[0] == 2
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").touch()
    code, _, err = call("train", path)
    assert code == 2
    assert "store.path" in err


LINES = [
    *documents(60, seed=5),
    b"broken",
    anomaly(61),
    b'{"id": 62, "flow": -5}',
    *documents(20_000, seed=6, start=63),
    b"",
    anomaly(99),
]


def results(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
        case ".csv":
            with path.open(newline="") as lines:
                return [_typed(row) for row in csv.DictReader(lines)]
        case _:
            return [json.loads(line) for line in path.read_bytes().splitlines()]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {name: text or None for name, text in row.items()}
    typed["record"] = int(row["record"])
    for name in ("nats", "anomaly_score", "tail_probability"):
        typed[name] = float(row[name]) if row[name] else None
    typed["anomaly"] = {"": None, "true": True, "false": False}[row["anomaly"]]
    return typed


def test_score_writes_the_same_in_every_format(place: Place, call: Call) -> None:
    records = place.write("many.jsonl", LINES)
    found = {}
    for ending in (".jsonl", ".csv", ".parquet"):
        out = place.folder / f"out{ending}"
        code, told, _ = call("score", records, "-o", out, "-c", place.config, "--json")
        assert code == 0
        counts = json.loads(told)
        found[ending] = results(out)
        assert counts["records"] == len(found[ending])
        assert counts["rejected"] == sum(row["rejected"] is not None for row in found[ending])
        assert counts["anomalies"] == sum(row["anomaly"] is True for row in found[ending])
        assert counts["model"] == place.bundle.version
    assert found[".jsonl"] == found[".csv"] == found[".parquet"]
    rows = found[".jsonl"]
    assert [row["record"] for row in rows] == sorted(row["record"] for row in rows)
    assert len(rows) >= len(LINES) - 1  # a source may pass over an empty line
    assert rows[60]["rejected"].startswith("not_json: ")
    assert rows[62]["rejected"].startswith("out_of_range: ")
    assert rows[60]["nats"] is None
    assert rows[60]["anomaly"] is None
    assert rows[61]["anomaly"] is True
    assert rows[61]["id"] == "61"
    assert rows[61]["pump"] == "p0"
    assert rows[61]["anomaly_score"] > 1
    assert rows[61]["tail_probability"] < 0.02
    assert rows[-1]["id"] == "99"
    assert [row["id"] for row in rows[100:110]] == [str(i) for i in range(100, 110)]
    assert not list(place.folder.glob(".*.part"))


def test_score_reads_every_format_alike(place: Place, call: Call) -> None:
    lines = [*documents(100, seed=8), anomaly(100)]
    table = table_of(lines)
    place.write("in.jsonl", lines)
    pyarrow.csv.write_csv(table, place.folder / "in.csv")
    pq.write_table(table, place.folder / "in.parquet", row_group_size=30)
    scores = []
    for ending in (".jsonl", ".csv", ".parquet"):
        out = place.folder / "out.jsonl"
        code, _, err = call("score", place.folder / f"in{ending}", "-o", out, "-c", place.config)
        assert code == 0, err
        scores.append([(row["id"], pytest.approx(row["nats"], rel=1e-5)) for row in results(out)])
    assert scores[0] == [(name, value.expected) for name, value in scores[1]]
    assert scores[0] == [(name, value.expected) for name, value in scores[2]]


def test_score_needs_no_config_beside_a_bundle(place: Place, call: Call) -> None:
    folder = place.folder / "store" / "bundles" / place.bundle.version
    out = place.folder / "out.csv"
    assert call("score", place.records, "-o", out, "--bundle", folder)[0] == 0
    assert len(results(out)) == 50
    version = place.bundle.version[-8:]
    assert call("score", place.records, "-o", out, "-c", place.config, "--model", version)[0] == 0


def test_score_leaves_nothing_half_done(place: Place, call: Call) -> None:
    def scored(file: Path, out: Path, *more: object) -> tuple[int, str]:
        code, _, err = call("score", file, "-o", out, "-c", place.config, *more)
        return code, err

    out = place.folder / "out.csv"
    out.write_text("precious")
    broken = place.folder / "broken.parquet"
    broken.write_bytes(b"PAR1 nonsense")
    assert scored(broken, out)[0] == 2
    assert scored(place.folder / "none.jsonl", out)[0] == 2
    assert out.read_text() == "precious"
    before = place.records.read_bytes()
    code, err = scored(place.records, place.records)
    assert (code, "FILE itself" in err) == (2, True)
    assert place.records.read_bytes() == before
    assert scored(place.records, place.folder / "no" / "out.csv")[0] == 2
    assert scored(place.records, out, "--model", "nonsense")[0] == 1
    assert not list(place.folder.glob(".*.part"))


def test_labels_that_are_called_like_results_step_aside(place: Place, call: Call) -> None:
    text = place.config.read_text()
    text = text.replace('key = "id"', 'key = "record"').replace('"pump"', '"nats"')
    place.config.write_text(text)
    lines = [
        line.replace(b'"id"', b'"record"').replace(b'"pump"', b'"nats"') for line in documents(5)
    ]
    out = place.folder / "out.jsonl"
    code, _, _ = call("score", place.write("in.jsonl", lines), "-o", out, "-c", place.config)
    assert code == 0
    row = results(out)[3]
    assert (row["record"], row["record_"], row["nats_"]) == (3, "3", "p0")
    assert isinstance(row["nats"], float)


def test_an_empty_store_or_a_damaged_bundle_is_told(place: Place, call: Call) -> None:
    bundle = place.folder / "store" / "bundles" / place.bundle.version
    (bundle / "arrays.safetensors").write_bytes(b"nonsense")
    out = place.folder / "out.csv"
    for verb in (
        ["score", place.records, "-o", out, "-c", place.config],
        ["explain", "--record", anomaly(1).decode(), "-c", place.config],
        ["models", "show", place.bundle.version, "-c", place.config],
        ["models", "promote", place.bundle.version, "-c", place.config],
        ["run", place.config],
    ):
        code, _, err = call(*verb)
        assert code == 1, verb
        assert "does not match its hash" in err
    code, listed, _ = call("models", "list", "-c", place.config)
    assert code == 0
    assert place.bundle.version in listed
    (place.folder / "store" / "serving").unlink()
    code, _, err = call("score", place.records, "-o", out, "-c", place.config)
    assert code == 2
    assert "no bundle serves" in err


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_explain_scores_an_alert_again(place: Place, call: Call, ending: str) -> None:
    lines = [*documents(40, seed=3), anomaly(40)]
    records = place.folder / f"live{ending}"
    match ending:
        case ".jsonl":
            records.write_bytes(b"\n".join(lines))
        case ".csv":
            pyarrow.csv.write_csv(table_of(lines), records)
        case _:
            pq.write_table(table_of(lines), records)
    path = config(place.folder, records)
    assert call("run", path)[0] == 0
    alerts_file = place.folder / "alerts.jsonl"
    with alerts_file.open("ab") as torn:
        torn.write(b'{"alert_id": "torn}\n[]\n{"other": 1}\n{"alert_id": "half')
    alert = json.loads(alerts_file.read_bytes().splitlines()[-5])
    assert str(alert["record_key"]) == "40"
    code, out, err = call("explain", alert["alert_id"][:12], "-c", path, "--json")
    assert code == 0, err
    again = json.loads(out)
    assert again["nats_before"] == alert["nats"]
    assert again["nats"] == pytest.approx(alert["nats"], rel=1e-5)
    assert again["threshold_nats"] == alert["threshold_nats"]
    assert len(again["features"]) == len(SCHEMA.columns)
    code, out, _ = call("explain", alert["alert_id"], "-c", path, "--alerts", alerts_file)
    assert code == 0
    assert "pressure" in out
    assert "total" in out
    assert "anomaly" in out
    code, _, err = call("explain", "zzz", "-c", path)
    assert code == 2
    assert "no alert begins with 'zzz'" in err


def test_explain_takes_a_record(
    place: Place, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = call("explain", "--record", documents(1)[0].decode(), "-c", place.config)
    assert code == 0
    assert "normal" in out
    piped = tmp_path / "piped.json"
    piped.write_bytes(anomaly(1))
    with piped.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, _ = call("explain", "--record", "-", "-c", place.config, "--json")
    assert code == 0
    assert json.loads(out)["severity"] == "critical"
    for arguments, words in (
        (["--record", "nonsense"], "not_json"),
        (["--record", '{"id": 1, "flow": -1}'], "out_of_range"),
        ([], "ALERT_ID or a --record"),
        (["abc", "--record", "{}"], "ALERT_ID or a --record"),
        (["abc"], "alert file"),
        (["abc", "--alerts", tmp_path / "none"], "No such file"),
    ):
        code, _, err = call("explain", *arguments, "-c", place.config)
        assert code == 2, arguments
        assert words in err


def test_explain_shows_texts_as_they_are(place: Place, call: Call) -> None:
    record = {**json.loads(documents(1)[0]), "mode": "[/night]"}
    code, out, _ = call("explain", "--record", json.dumps(record), "-c", place.config)
    assert code == 0
    assert "[/night]" in out


def test_explain_follows_a_policy_that_was_changed(place: Place, call: Call) -> None:
    text = place.config.read_text()
    place.config.write_text(text.replace("maximum = 1000", 'maximum = 1000\nrange_policy = "mark"'))
    code, out, _ = call(
        "explain", "--record", '{"id": 1, "flow": 2000}', "-c", place.config, "--json"
    )
    assert code == 0
    assert json.loads(out)["nats"] > place.bundle.threshold.nats


def test_run_ends_with_its_file(place: Place, call: Call) -> None:
    code, out, err = call("run", place.config)
    assert code == 0
    assert out == ""
    events = [json.loads(line) for line in err.splitlines()]
    by_name = {event["event"]: event for event in events}
    assert by_name["listening"]["url"].startswith("http://127.0.0.1:")
    assert by_name["serving"]["version"] == place.bundle.version
    assert by_name["stopped"]["received"] == by_name["stopped"]["scored"] == 50


def test_run_tells_what_keeps_it_from_running(place: Place, call: Call) -> None:
    text = place.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place.config.write_text(text.replace("port = 0", f"port = {port}"))
        code, _, err = call("run", place.config)
    assert code == 2
    assert f"server.port = {port} is in use" in err
    place.config.write_text(text.replace('name = "pressure"', 'name = "druck"'))
    code, _, err = call("run", place.config)
    assert code == 2
    assert "only the bundle has pressure (number); only the config has druck (number)" in err
    assert "store.path elsewhere" in err
    place.config.write_text('device = "cuda:99"\n' + text)
    code, _, err = call("run", place.config)
    assert code == 2
    assert "device" in err
    place.config.write_text(text)
    place.records.unlink()
    code, _, err = call("run", place.config)
    assert code == 2
    assert "there is no file" in err


def test_run_says_when_too_few_records_come(tmp_path: Path, call: Call) -> None:
    records = tmp_path / "records.jsonl"
    records.write_bytes(b"\n".join(documents(20)))
    code, _, err = call("run", config(tmp_path, records))
    assert code == 2
    assert "ended after 20 records" in err
    assert not (tmp_path / "store" / "serving").exists()


def test_the_demo_reckons_at_the_end(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = {
        "SOURCE__HISTORY_RECORDS": 600,
        "SOURCE__FAULTS_AFTER": 600,
        "COLD_START__MIN_RECORDS": 600,
        "TRAINING__MAX_STEPS": 60,
        "MODEL__HIDDEN": "[16]",
    }
    for name, value in smaller.items():
        monkeypatch.setenv(f"VAEISO_{name}", str(value))
    state = tmp_path / "demo"
    for seconds in (3, 10, 60):  # as long as this machine needs to train
        code, _, err = call("demo", "--for", seconds, "--rate", 400, "--state", state)
        assert code == 0
        if "precision" in err:
            break
    for words in ("records", "faulty records", "alerts", "recall", "budget 0.100%", "explain"):
        assert words in err
    assert (state / "demo.toml").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    code, _, err = call("demo", "--state", tmp_path / "other")
    assert code == 2
    assert "holds something else" in err
    assert (tmp_path / "other" / "precious").exists()


def test_init_needs_files_of_one_kind(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    table = table_of(documents(30))
    pq.write_table(table, folder / "a.parquet")
    assert call("init", folder)[0] == 0
    pq.write_table(
        table.rename_columns([f"{name}_" for name in table.column_names]), folder / "b.pq"
    )
    code, _, err = call("init", folder)
    assert code == 2
    assert "do not have the same columns" in err


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=screen, force_terminal=True, width=120))
    with terminal.reporting() as reporter:
        reporter.collecting(10, 100)
        reporter.collecting(100, 100)
        reporter.training(Progress(1, 10, None, 0.1))
        reporter.training(Progress(2, 10, 7.25, 0.2))
    shown = screen.getvalue()
    for words in ("training", "2/10", "judged 7.25 nats"):
        assert words in shown


def test_check_shows_no_secret_of_a_webhook(place: Place, call: Call) -> None:
    text = place.config.read_text()
    sink = 'type = "webhook"\nurl = "https://me:hunter2@example.org/hook?token=hunter2"'
    place.config.write_text(f"{text}\n[[alerts.sinks]]\n{sink}\n")
    code, out, err = call("check", place.config)
    assert code == 0, err
    assert "webhook (https://example.org/hook)" in out
    assert "hunter2" not in out + err
