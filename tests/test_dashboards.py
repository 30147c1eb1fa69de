"""The dashboards: code and JSON agree, Grafana can read them, and they speak of what there is."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.export import exported
from tests.test_docs import sections, slug
from vaeiso_monitor.cli import main
from vaeiso_monitor.telemetry.catalogue import METRICS, Metric

ROOT = Path(__file__).parent.parent
PACKAGED = ROOT / "vaeiso_monitor" / "dashboards"
DEPLOYED = ROOT / "deploy" / "grafana"

SCHEMA_VERSION = 41  # of Grafana 11.6, which newer ones read as well
# units of Grafana that these panels may use; a word of one's own is "suffix: word"
UNITS = {"none", "short", "percentunit", "s", "bytes", "cps"}
OWN = re.compile(r"\bvaeiso_\w+")
SELECTOR = re.compile(r"\b(?P<name>vaeiso_\w+|process_\w+|up|ALERTS)\{(?P<matchers>[^}]*)\}")
GROUPING = re.compile(r"\bby \((?P<labels>[^)]*)\)")
SCRAPED = {"job", "instance"}

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(PACKAGED.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]


def metric_of(name: str) -> Metric | None:
    """Return the metric of the catalogue that a series belongs to."""
    whole = {metric.name: metric for metric in METRICS}
    found = whole.get(name) or whole.get(re.sub(r"_(bucket|sum|count)$", "", name))
    return found if found is None or name == found.name or found.kind == "histogram" else None


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def test_code_and_json_agree() -> None:
    assert {path.name: path.read_text() for path in PACKAGED.iterdir()} == exported(), (
        "run `python -m deploy.grafana.source`"
    )


def test_there_is_one_copy() -> None:
    assert (DEPLOYED / "dashboards").resolve() == PACKAGED.resolve()


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_grafana_can_read_a_dashboard(board: dict[str, Any]) -> None:
    read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert read == board
    assert board["schemaVersion"] == SCHEMA_VERSION
    assert "id" not in board  # it is Grafana's to give
    assert re.fullmatch(r"vaeiso-[a-z]+", board["uid"])
    assert board["tags"] == ["vaeiso-monitor"]
    assert board["description"]


def test_the_dashboards_have_names_of_their_own() -> None:
    assert set(BOARDS) == {"anomalies", "model", "service"}
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_number_comes_from_the_chosen_source(board: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["datasource"] == chosen for panel in panels)
    assert all(target["datasource"] == chosen for panel in panels for target in panel["targets"])
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert all(variables[name]["datasource"] == chosen for name in ("job", "instance"))
    queries = [a for a in board["annotations"]["list"] if not a["builtIn"]]
    assert all(annotation["datasource"] == chosen for annotation in queries)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_have_numbers_and_a_place_of_their_own(board: dict[str, Any]) -> None:
    panels = board["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert place["h"] >= 1
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_first_row_says_what_is_wrong(board: dict[str, Any]) -> None:
    first, *panels = board["panels"]
    assert (first["type"], first["title"]) == ("row", "What is wrong")
    top = [panel for panel in panels if panel["gridPos"]["y"] == 1]
    assert {panel["type"] for panel in top} == {"stat"}
    assert all(panel["fieldConfig"]["defaults"]["noValue"] for panel in top)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_no_line_of_panels_is_crowded(board: dict[str, Any]) -> None:
    lines: dict[int, list[dict[str, Any]]] = {}
    for panel in board["panels"]:
        if panel["type"] != "row":
            lines.setdefault(panel["gridPos"]["y"], []).append(panel)
    for panels in lines.values():
        assert sum(panel["gridPos"]["w"] for panel in panels) == 24
        assert len(panels) <= (6 if panels[0]["type"] == "stat" else 3)
        assert len({panel["gridPos"]["h"] for panel in panels}) == 1


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    told, _, target = panel["description"].rpartition(" More: docs/")
    assert told.endswith(".")
    page, _, anchor = target.partition("#")
    there = ROOT / "docs" / page
    assert there.exists(), target
    heads = {slug(head) for head in sections(there.read_text(encoding="utf-8"))}
    assert not anchor or anchor in heads, target


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_units_that_grafana_knows(panel: dict[str, Any]) -> None:
    config = panel["fieldConfig"]
    units = [config["defaults"].get("unit")] + [
        change["value"]
        for override in config["overrides"]
        for change in override["properties"]
        if change["id"] == "unit"
    ]
    named = [unit for unit in units if unit is not None]
    assert all(unit in UNITS or unit.startswith("suffix: ") for unit in named)
    assert named or panel["type"] in ("statetimeline", "state-timeline", "heatmap")


@pytest.mark.parametrize("panel", PANELS)
def test_the_steps_of_a_panel_rise(panel: dict[str, Any]) -> None:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    values = [step["value"] for step in steps[1:]]
    assert not steps or steps[0]["value"] is None
    assert values == sorted(set(values))
    assert all(step["color"] for step in steps)


@pytest.mark.parametrize("panel", PANELS)
def test_a_query_asks_for_what_the_catalogue_has(panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        selectors = list(SELECTOR.finditer(expression))
        assert selectors
        assert len(OWN.findall(expression)) == sum(
            found["name"].startswith("vaeiso_") for found in selectors
        ), "a metric without a selector takes in daemons that were not chosen"
        labels = {"le", "alertname", "severity", *SCRAPED}
        for found in selectors:
            asked = set(re.findall(r"(\w+)=~?", found["matchers"]))
            assert 'job=~"$job"' in found["matchers"]
            if found["name"].startswith("vaeiso_"):
                metric = metric_of(found["name"])
                assert metric is not None, found["name"]
                assert asked <= {*metric.labels, *SCRAPED}
                labels |= set(metric.labels)
        for grouped in GROUPING.finditer(expression):
            assert {label.strip() for label in grouped["labels"].split(",")} <= labels


@pytest.mark.parametrize("panel", PANELS)
def test_a_counter_is_never_shown_as_it_stands(panel: dict[str, Any]) -> None:
    """But for trainings, which are so few that their number says more than their rate."""
    for expression in expressions(panel):
        for found in SELECTOR.finditer(expression):
            metric = metric_of(found["name"])
            if metric is None or metric.kind != "counter" or "retrains" in metric.name:
                continue
            before = expression[: found.start()]
            assert re.search(r"(rate|increase)\($", before), expression


@pytest.mark.parametrize("panel", PANELS)
def test_what_is_drawn_at_one_instant_is_asked_for_one_instant(panel: dict[str, Any]) -> None:
    instant = panel["type"] in ("stat", "table", "bargauge")
    assert all(target["instant"] is instant for target in panel["targets"])
    assert all(target["range"] is not instant for target in panel["targets"])


def test_the_verb_writes_what_is_in_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboards", str(tmp_path / "new" / "folder")]) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    assert written == exported()
    told = capsys.readouterr().out
    assert all(name in told for name in written)


def test_the_verb_leads_to_the_pages_where_they_are_served(tmp_path: Path) -> None:
    assert main(["dashboards", str(tmp_path), "--docs", "https://wiki.example/docs/"]) == 0
    for path in tmp_path.iterdir():
        board = json.loads(path.read_text())
        assert board["links"][-1]["url"] == "https://wiki.example/docs/runbooks.md"
        for panel in board["panels"]:
            if panel["type"] != "row":
                page = panel["description"].rpartition(" More: docs/")[2]
                assert [link["url"] for link in panel["links"]] == [
                    f"https://wiki.example/docs/{page}"
                ]


def test_the_provisioning_fits_the_dashboards() -> None:
    sources = yaml.safe_load((DEPLOYED / "provisioning/datasources/prometheus.yaml").read_text())
    assert [source["type"] for source in sources["datasources"]] == ["prometheus", "alertmanager"]
    assert sources["datasources"][0]["isDefault"]
    providers = yaml.safe_load(
        (DEPLOYED / "provisioning/dashboards/vaeiso-monitor.yaml").read_text()
    )
    assert [one["options"]["path"] for one in providers["providers"]] == [
        "/var/lib/grafana/dashboards"
    ]
