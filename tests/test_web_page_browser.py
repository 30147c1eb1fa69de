"""The page in a real browser: what a person sees, does, and is spared."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.pages import Page, Stage, alert, chrome, model
from tests.plain import anomaly, config, documents
from tests.test_app import Run, append, run
from vaeiso_monitor.telemetry import State
from vaeiso_monitor.web import ServerConfig

__all__ = ["run"]  # a fixture

STATES = {
    "streaming": ("All well", "running"),
    "warming_up": ("12,300 of 30,000 records collected", "Nothing is scored before"),
    "source_down": ("Source kafka is not connected", "Critical"),
    "rejected": ("rejected: 0.182 nats per record worse than the champion", "Let it serve"),
}
READ, WRITE = "read-" + "r" * 20, "write-" + "w" * 20
FITS = "return document.documentElement.scrollWidth <= innerWidth"
LOW_CONTRAST = """
const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
const light = ([r, g, b]) => [r, g, b].map(n => n / 255)
  .map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
  .reduce((sum, n, i) => sum + n * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const found = parse(getComputedStyle(e).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll('body *')].filter(e => e.offsetParent !== null
  && !e.disabled && e.tagName !== 'OPTION'
  && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 40), e.className];
  }).filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[object]:
    found = chrome()
    yield found
    found.quit()


@pytest.fixture
def page(driver) -> Page:
    fresh = Page(driver)
    fresh.look()
    return fresh


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_shown_in_words_and_without_complaints(page, stage, state):
    getattr(stage, state)()
    with stage.shown() as url:
        page.open(url, charts=True)
        for words in STATES[state]:
            page.shows(words)
        page.drawn()
        for width, dark in ((1280, False), (400, False), (400, True), (1280, True)):
            page.look(width, dark=dark)
            page.until(lambda: page.run(FITS), f"a page of {width} pixels")
            assert page.run(LOW_CONTRAST) == []
            page.picture(f"{state}-{width}-{'dark' if dark else 'light'}")
        assert page.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_in_both_colours(page, stage, dark):
    stage.rejected()
    stage.telemetry.sink_connected("webhook", connected=False)
    stage.plant.alerts[-1] = alert(200, feedback={"verdict": "normal", "note": "", "judged_at": ""})
    with stage.shown() as url:
        page.look(dark=dark)
        page.open(url)
        page.one(".alert [data-does=why]").click()
        page.shows("expected", "#why")
        assert page.run(LOW_CONTRAST) == []


def test_a_chart_changes_its_colours_with_the_screen(page, stage):
    stage.streaming()
    with stage.shown() as url:
        page.open(url, charts=True)
        page.drawn()
        colour = "return getComputedStyle(document.querySelector('#flow svg text')).fill"
        page.one("#flow svg text")
        before = page.run(colour)
        page.look(dark=True)
        page.until(lambda: page.run(colour) != before, "other colours")


def test_an_alert_is_judged_by_a_click_and_judged_anew(page, stage):
    stage.streaming()
    newest = stage.plant.alerts[-1]["alert_id"]
    row = f'[data-id="{newest}"]'
    with stage.shown() as url:
        page.open(url)
        page.one(f"{row} [data-does=normal]").click()
        page.one(f"{row} [data-does=normal][aria-pressed=true]")
        page.shows(f"Alert {newest} is called normal", "#said")
        page.one(f"{row} [data-does=anomaly]").click()
        page.one(f"{row} [data-does=normal][aria-pressed=false]")
        page.one(f"{row} [data-does=anomaly][aria-pressed=true]")
    assert stage.plant.asked == [(newest, "normal", ""), (newest, "anomaly", "")]


def test_why_shows_the_features_and_takes_a_note(page, stage):
    stage.streaming()
    newest = stage.plant.alerts[-1]["alert_id"]
    with stage.shown() as url:
        page.open(url)
        page.one(".alert [data-does=why]").click()
        for words in (
            "pressure",
            "9.125",
            "4.500",
            "+23.4",
            "p4",
            "1 in 4,762",
            "bar",
            "2 (+6.10, of flow, 31",
        ):
            page.shows(words, "#why")
        page.one("#why textarea").send_keys("a drill")
        page.all("#why .actions button")[0].click()
        page.until(lambda: stage.plant.asked)
        page.until(lambda: not page.all("#why[open]"))
        assert page.run("return document.activeElement.dataset.does") == "why"
    assert stage.plant.asked == [(newest, "normal", "a drill")]


def test_a_keyboard_is_enough(page, stage):
    stage.streaming()
    with stage.shown() as url:
        page.open(url)
        page.one(".alert")
        keys = ActionChains(page.driver)
        for _ in range(30):
            keys.send_keys(Keys.TAB).perform()
            if page.run("return document.activeElement.dataset.does") == "normal":
                break
        assert page.run("return document.activeElement.matches(':focus-visible')")
        assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
        keys.send_keys(Keys.ENTER).perform()
        page.until(lambda: stage.plant.asked)
        page.one("[data-does=normal][aria-pressed=true]")
        assert page.run("return document.activeElement.dataset.does") == "normal"
        keys.send_keys(Keys.TAB, Keys.TAB, Keys.ENTER).perform()
        page.one("#why[open]")
        keys.send_keys(Keys.ESCAPE).perform()
        page.until(lambda: not page.all("#why[open]"))
        assert page.run("return document.activeElement.dataset.does") == "why"


def test_everything_that_can_be_used_has_a_name(page, stage):
    stage.rejected()
    with stage.shown() as url:
        page.open(url)
        page.one(".alert")
        page.one(".model")
        nameless = """return [...document.querySelectorAll('button, input, select, textarea, a')]
            .filter(e => !e.hidden && !(e.textContent.trim() || e.ariaLabel || e.labels?.length))
            .map(e => e.outerHTML)"""
        assert page.run(nameless) == []
        assert page.run("return document.documentElement.lang") == "en"


def test_what_a_record_brings_is_never_markup(page, stage):
    evil = '<img src=x onerror="window.hit = 1"><script>window.hit = 1</script>'
    stage.streaming()
    features = [{"name": evil, "value": evil, "expected": evil, "nats": 9.0, "unit": evil}]
    bad = alert(500, entity={evil: evil}, features=features, record={evil: evil}, record_key=evil)
    stage.plant.alerts.append(bad)
    stage.plant.models = [
        model(evil, accepted=False, verdict_sentence=evil),
        model("b", error=evil),
    ]
    stage.telemetry.sink_connected(evil, connected=False)
    with stage.shown() as url:
        page.open(url)
        page.shows("<img src=x", "#alert-list .reasons")
        page.shows("<img src=x", "#problems")
        page.shows("<img src=x", "#models")
        page.one(".alert [data-does=why]").click()
        page.shows("<img src=x", "#why table")
        page.run("document.querySelector('#models button').click()")
        page.shows("<img src=x", "#promote")
        assert page.run("return window.hit ?? null") is None
        assert page.all("main img, dialog img") == []


def test_ten_thousand_alerts_are_read_page_by_page(page, stage):
    stage.streaming()
    stage.plant.alerts = [alert(number) for number in range(1, 10_001)]
    with stage.shown() as url:
        page.open(url)
        page.shows("1 to 50 and more", "#pager")
        assert len(page.all(".alert")) == 50
        page.one("#older").click()
        page.shows("51 to 100 and more", "#pager")
        page.one("#older").click()
        page.shows("101 to 150 and more", "#pager")
        page.one("#newer").click()
        page.shows("51 to 100 and more", "#pager")
        page.one("#newer").click()
        page.shows("1 to 50 and more", "#pager")
        assert page.all("#newer:disabled")
        assert len(page.all(".alert")) == 50


def test_alerts_are_filtered(page, stage):
    stage.streaming()
    judged = {"verdict": "normal", "note": "", "judged_at": "2026-11-22T08:00:00+00:00"}
    stage.plant.alerts[-5] = alert(196, feedback=judged)
    with stage.shown() as url:
        page.open(url)
        page.one(".alert")
        page.one("select[name=verdict] option[value=normal]").click()
        page.shows("1 to 1", "#pager")
        page.one("select[name=severity] option[value=critical]").click()
        page.shows("No alert fits these filters", "#alert-list")
        page.one("select[name=verdict] option[value='']").click()
        page.until(lambda: set(page.texts(".alert .badge")) == {"critical"})
        page.one("input[name=entity]").send_keys("p0")
        page.until(lambda: set(page.texts(".alert .who")) == {"p0"})


def test_new_alerts_do_not_move_the_list_under_a_reader(page, stage):
    stage.streaming()
    with stage.shown() as url:
        page.open(url)
        page.one(".alert [data-does=why]")
        page.run("document.querySelector('.alert [data-does=why]').focus()")
        stage.plant.alerts.append(alert(201))
        stage.pass_time(1, 1000)
        page.shows("Show 1 new", "#fresh")
        assert page.run("return document.querySelector('.alert').dataset.id") == f"{200:032x}"
        page.one("#fresh").click()
        page.until(
            lambda: page.run("return document.querySelector('.alert').dataset.id") == f"{201:032x}"
        )


def test_a_training_is_asked_for_only_after_a_confirmation(page, stage):
    stage.streaming()
    with stage.shown() as url:
        page.open(url)
        page.one("#retrain-open:not(:disabled)").click()
        page.one("#retrain button[value=no]").click()
        assert stage.plant.asked == []
        page.one("#retrain-open").click()
        page.one("#retrain input[name=adopt]").click()
        page.one("#retrain button[value=yes]").click()
        page.shows("A training starts now", "#said")
        assert stage.plant.asked == [("retrain", True)]
        stage.telemetry.lifecycle.training_began("request")
        stage.telemetry.lifecycle.training_effort(0.4, 0)
        page.shows("Training a new model beside the scoring (asked for): 40\u2009% done")
        assert page.all("#retrain-open:disabled")


def test_an_earlier_model_is_let_serve_after_a_confirmation(page, stage):
    stage.rejected()
    with stage.shown() as url:
        page.open(url)
        page.one(".model summary").click()
        page.shows("0.182 nats worse", ".model ul")
        page.one(".model button").click()
        page.shows("The gate rejected it", "#promote")
        page.one("#promote button[value=yes]").click()
        page.until(lambda: stage.plant.asked)
    assert stage.plant.asked == [("promote", "20261122T020000Z-99ffee11")]


def test_a_token_is_asked_for_and_kept_in_the_tab_alone(page, stage, monkeypatch):
    monkeypatch.setenv("READ", READ)
    monkeypatch.setenv("WRITE", WRITE)
    stage.streaming()
    settings = ServerConfig(port=0, read_token_env="READ", write_token_env="WRITE")
    with stage.shown(settings) as url:
        page.open(url)
        page.one("#token[open] input").send_keys("wrong-wrong-wrong-wrong", Keys.ENTER)
        page.shows("not accepted", "#token[open]")
        page.one("#token[open] input").send_keys(READ, Keys.ENTER)
        page.one(".alert [data-does=normal]").click()
        page.shows("the token may only read", "#said")
        assert page.all("[data-does=normal][aria-pressed=true]") == []
        page.one("#token-open").click()
        page.one("#token[open] input").send_keys(WRITE, Keys.ENTER)
        page.until(lambda: not page.all("#token[open]"))
        page.one(".alert [data-does=normal]").click()
        page.one("[data-does=normal][aria-pressed=true]")
        assert page.run("return [localStorage.length, document.cookie]") == [0, ""]
        assert READ not in page.text()


def test_a_new_version_of_the_page_is_loaded_by_itself(page, stage):
    stage.streaming()
    with stage.shown() as url:
        page.open(url)
        page.one(".alert")
        page.run("window.old = true")
        page.run("""const real = fetch; window.fetch = async (...all) => {
            const answer = await real(...all);
            if (!String(all[0]).endsWith('overview')) return answer;
            return new Response(JSON.stringify({...await answer.json(), page: 'another'}));
        }""")
        page.until(lambda: page.run("return window.old ?? null") is None, "the page anew")


def test_what_fails_is_said(page, stage):
    stage.streaming()
    stage.telemetry.failed("the disk is full")
    stage.telemetry.state_changed(State.FAILED)
    with stage.shown() as url:
        page.open(url)
        page.shows("Failed: the disk is full", "#problems")
        assert page.run("return document.title") == "(1) vaeiso_monitor"


def test_a_verdict_reaches_the_daemon_and_the_page_outlives_it(
    page: Page, run: Run, tmp_path: Path
) -> None:
    records = tmp_path / "records.jsonl"
    append(records, [*documents(700), anomaly(700)])
    path = config(tmp_path, records, follow=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path.write_text(path.read_text().replace("port = 0", f"port = {port}"))
    daemon = run(path)
    daemon.wait_for(daemon.ready)

    page.open(f"http://127.0.0.1:{port}/", charts=True)
    row = page.one(".alert")
    alert_id = row.get_attribute("data-id")
    page.one(".alert [data-does=normal]").click()
    page.one(".alert [data-does=normal][aria-pressed=true]")
    stored = daemon.get(f"/api/v1/alerts/{alert_id}").json()
    assert stored["feedback"]["verdict"] == "normal"
    page.drawn()
    assert page.complaints() == []

    assert daemon.end() == 0
    page.shows("The monitor is not reachable", "#problems")
    page.shows("since", "#problems")
    again = run(path)
    again.wait_for(again.ready)
    page.until(lambda: "not reachable" not in page.text("#problems"), "the page's recovery")
    page.one(".alert [data-does=normal][aria-pressed=true]")
