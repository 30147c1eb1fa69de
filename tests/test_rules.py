"""The alert rules: each fires when it should and only then, and none contradicts its config."""

import re
from pathlib import Path

import pytest
import yaml

from tests.promtool import promtool
from tests.rule_cases import CASES
from tests.test_docs import sections
from vaeiso_monitor import settings
from vaeiso_monitor.cli import main
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.lifecycle import RetrainConfig
from vaeiso_monitor.rules import LeftOut, Options, rulebook, to_yaml
from vaeiso_monitor.rules.model import longest_pause
from vaeiso_monitor.rules.terms import span
from vaeiso_monitor.telemetry import METRICS

ROOT = Path(__file__).parent.parent
KAFKA = {
    "source": {"type": "kafka", "bootstrap_servers": ["k:1"], "topics": ["t"], "group_id": "g"},
    "schema": {"columns": [{"name": "x"}]},
    "alerts": {"sinks": [{"type": "webhook", "url": "http://localhost:1/"}]},
}
FILE = {"source": {"type": "file", "path": "x.jsonl"}, "schema": KAFKA["schema"]}
FOLLOWED = FILE | {"source": {"type": "file", "path": "x.jsonl", "follow": True}}
PLANT = FILE | {"source": {"type": "plant"}}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    import os

    for name in [name for name in os.environ if name.upper().startswith("VAEISO_")]:
        monkeypatch.delenv(name)


def book(document=None, **options):
    return rulebook(settings.parse(document or KAFKA), Options(**options))


def rules(document=None, **options):
    return {rule.name: rule for group in book(document, **options) for rule in group.rules}


def left_out(document, **options):
    return {out.name for group in book(document, **options) for out in group.left_out}


def written(folder, document=None, **options):
    path = folder / "rules.yml"
    chosen = Options(**options)
    path.write_text(to_yaml(book(document, **options), chosen, "Written by a test."))
    return path


def changed(document, **tables):
    return {**document, **{name: document.get(name, {}) | keys for name, keys in tables.items()}}


# The rules themselves


@pytest.mark.parametrize("document", [KAFKA, FILE, FOLLOWED, PLANT])
@pytest.mark.parametrize("speed", [1, 60])
def test_prometheus_takes_the_file(tmp_path, document, speed):
    said = promtool("check", "rules", str(written(tmp_path, document, speed=speed)))
    assert f"{len(rules(document))} rules found" in said


def expected(case, minute, count):
    alerts = f'ALERTS{{alertname="{case.rule}",alertstate="firing"}}'
    return {
        "expr": f"count({alerts}) or vector(0)",
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": "{}", "value": count}],
    }


def unit_test(case):
    moments = [] if case.fires is None else [expected(case, case.fires, case.alerts)]
    return {
        "name": f"{case.rule}: {case.what}",
        "interval": "1m",
        "input_series": [{"series": key, "values": text} for key, text in case.series.items()],
        "promql_expr_test": [*moments, *(expected(case, minute, 0) for minute in case.quiet)],
    }


def test_each_rule_fires_when_it_should_and_only_then(tmp_path):
    paths = []
    for name in rules():
        others = frozenset(rules()) - {name}  # each alone, or Prometheus works for minutes
        (folder := tmp_path / name).mkdir()
        document = {
            "rule_files": [str(written(folder, without=others))],
            "evaluation_interval": "1m",
            "tests": [unit_test(case) for case in CASES if case.rule == name],
        }
        paths.append(folder / "tests.yml")
        paths[-1].write_text(yaml.safe_dump(document, sort_keys=False))
    promtool("test", "rules", *map(str, paths))


def test_every_rule_has_a_firing_and_a_silent_case():
    known = set(rules())
    assert {case.rule for case in CASES} == known
    assert {case.rule for case in CASES if case.fires is not None} == known
    assert {case.rule for case in CASES if case.fires is None and case.quiet} == known


def test_every_metric_of_a_rule_is_exported():
    known = {metric.name for metric in METRICS}
    known |= {
        f"{m.name}_{end}" for m in METRICS if m.kind == "histogram" for end in ("bucket", "count")
    }
    known |= {"process_resident_memory_bytes", "process_cpu_seconds_total"}
    known |= {"process_open_fds", "process_max_fds", "up"}
    for rule in rules().values():
        assert set(re.findall(r"([a-z_]+)\{", rule.expr)) <= known, rule.name


def test_no_rule_looks_at_another_job():
    for rule in rules(job="north").values():
        selectors = re.findall(r"[a-z_]+\{([^}]*)\}", rule.expr)
        assert selectors
        assert all('job="north"' in selector for selector in selectors), rule.name


# What the config has to do with it


def test_limits_are_those_of_the_config():
    document = changed(
        KAFKA,
        server={"stall_seconds": 33},
        retrain={"interval_seconds": 1000},
        trainer={"deadline_seconds": 500},
        threshold={"alert_budget": 0.02},
        gate={"max_rate_factor": 4},
        drift={"isometry": {"interval_seconds": 100}},
        source={"outage_deadline_seconds": 30},
    )
    found = rules(document)
    assert "> 33\n" in found["LoopStalled"].expr
    assert found["ModelStale"].expr.endswith("> 3500")
    assert "> 0.2\n" in found["HighAnomalyRate"].expr
    assert "4 * sum" in found["AlertRateAboveBudget"].expr
    assert "> 360\n" in found["IsometryCheckStale"].expr
    assert found["SourceDisconnected"].for_seconds == 10


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        (KAFKA, set()),
        (
            FOLLOWED,
            {"SourceDisconnected", "HighReadErrorRate", "HighWriteErrorRate", "ConsumerLagGrowing"},
        ),
        (
            PLANT,
            {"SourceDisconnected", "HighReadErrorRate", "HighWriteErrorRate", "ConsumerStalled"},
        ),
        (changed(KAFKA, retrain={"enabled": False}), {"ModelStale", "SkippedModelRunsDetected"}),
        (
            changed(KAFKA, reload={"enabled": False}),
            {"LastConfigReloadFailed", "ConfigRestartNeeded"},
        ),
    ],
)
def test_a_rule_that_cannot_fire_is_left_out_by_name(document, missing, tmp_path):
    assert left_out(document) == missing
    assert not missing & set(rules(document))
    text = written(tmp_path, document).read_text()
    assert all(f"# {name} is left out: " in text for name in missing)


def test_a_daemon_that_reads_to_an_end_may_be_gone():
    gone = {"ServiceDown", "NoSelfMonitoringMetrics", "NoRecordsArriving", "TooHighCPUUsage"}
    assert gone <= left_out(FILE)
    assert not gone & left_out(FOLLOWED)
    assert gone <= left_out(changed(PLANT, source={"records": 10}))


def test_without_metrics_there_are_no_rules():
    with pytest.raises(ConfigError, match=r"server\.enabled"):
        book(changed(KAFKA, server={"enabled": False}))


def test_the_longest_pause_of_a_schedule():
    monday = 1_699_833_600.0
    assert longest_pause(RetrainConfig(enabled=False)) is None
    assert longest_pause(RetrainConfig(interval_seconds=7)) == 7
    assert longest_pause(RetrainConfig(cron="30 2 * * *"), monday) == 86400
    assert longest_pause(RetrainConfig(cron="0 2 * * 1-5"), monday) == 3 * 86400
    assert longest_pause(RetrainConfig(cron="0 4 30 2 *"), monday) is None  # there is no such day


# Options


def test_a_rule_that_is_not_wanted_is_left_out():
    unwanted = frozenset({"NoRecordsArriving"})
    assert "NoRecordsArriving" not in rules(without=unwanted)
    assert left_out(KAFKA, without=unwanted) == unwanted
    with pytest.raises(ConfigError, match="no rule Nonsense"):
        book(without=frozenset({"Nonsense"}))


def test_a_trial_is_shorter_and_says_so(tmp_path):
    path = written(tmp_path, speed=30)
    document = yaml.safe_load(path.read_text())
    found = {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}
    assert found["HighAnomalyRate"]["for"] == "4s"
    assert "[10s]" in found["HighAnomalyRate"]["expr"]
    assert "> 60\n" in found["LoopStalled"]["expr"]  # a limit of the config stays
    assert all(rule["labels"]["trial"] == "30x" for rule in found.values())
    assert "FOR A TRIAL" in path.read_text()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (0.2, "1s"), (90, "1m30s"), (3600, "1h"), (262800, "3d1h"), (604800, "7d")],
)
def test_spans_are_written_as_prometheus_does(seconds, said):
    assert span(seconds) == said


def test_the_verb_writes_a_file(tmp_path, capsys):
    output = tmp_path / "rules.yml"
    example = str(ROOT / "config.example.toml")
    assert main(["rules", example, "-o", str(output), "--label", "team=plant"]) == 0
    group = yaml.safe_load(output.read_text())["groups"][0]
    assert group["rules"][0]["labels"] == {"severity": "critical", "team": "plant"}
    assert main(["rules", example, "--runbooks", "https://wiki.example.com/r", "--job", "x"]) == 0
    text = capsys.readouterr().out
    assert "https://wiki.example.com/r#toomanyrestarts" in text
    assert 'job="x"' in text
    assert main(["rules", example, "--label", "severity=low"]) == 2


def test_the_operator_gets_an_object(tmp_path, capsys):
    example = str(ROOT / "config.example.toml")
    assert main(["rules", example, "--format", "kubernetes"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert (found["kind"], found["metadata"]["name"]) == ("PrometheusRule", "vaeiso-monitor")
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(found["spec"]))
    promtool("check", "rules", str(path))


# Documents


def test_every_rule_has_a_runbook_and_every_runbook_a_rule():
    said = sections((ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8"))
    runbooks = {name for name, body in said.items() if "**What it means.**" in body}
    assert runbooks == set(rules())
    for name in runbooks:
        words = ("**Why it matters.**", "**Look at.**", "**Do.**")
        assert all(word in said[name] for word in words), name


def test_the_table_of_rules_says_what_they_are():
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    for rule in rules().values():
        assert f"| [{rule.name}](#{rule.anchor}) | {rule.severity} |" in text


def test_left_out_rules_are_data_too():
    assert all(isinstance(out, LeftOut) for group in book(FILE) for out in group.left_out)
