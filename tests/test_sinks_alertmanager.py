"""The Alertmanager sink: what it makes of alerts, and a real Alertmanager that receives them."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import stamina
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from tests.monitors import Alertmanager, Prometheus, missing, until
from vaeiso_monitor import settings
from vaeiso_monitor.alerts import Alert, DriftAlert, Feature, Membership, RegimeShift
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.sinks import AlertmanagerSinkConfig, open_sink
from vaeiso_monitor.sinks.alertmanager import AlertmanagerSink
from vaeiso_monitor.sinks.alertmanager_board import FLOOD, Board, Said
from vaeiso_monitor.types import Refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_000_000.0
real = pytest.mark.skipif(
    bool(missing("prometheus-alertmanager")), reason=missing("prometheus-alertmanager")
)


def alert(number: int, pump: str | None = "p1", severity: str = "warning", **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_id": f"{number:032x}",
        "severity": severity,
        "event_time": "2026-11-18T04:00:00.000Z",
        "detected_at": "2026-11-18T04:00:01.000Z",
        "source": {"type": "kafka", "stream": "t", "partition": 0, "offset": number},
        "entity": None if pump is None else {"pump": pump},
        "record_key": number,
        "model": {"version": "v1"},
        "nats": 40.0 + number,
        "threshold_nats": 20.0,
        "anomaly_score": 1.0 + number / 100,
        "tail_probability": 1e-5,
        "alert_budget": 0.001,
        "distortion_nats": 30.0,
        "rate_nats": 10.0,
        "features": [Feature("flow", 3.0, 7.0, 25.0, "m3/h")],
        "latents": [],
        "episode": Membership("e1", None, number),
        "record": {"flow": 3.0},
    }
    return Alert(**fields | changes)


def shift(status: str) -> RegimeShift:
    return RegimeShift(
        regime_id="r",
        status=status,
        started_at="2026-11-18T04:00:00.000Z",
        detected_at="2026-11-18T04:10:00.000Z",
        duration_seconds=600.0,
        alert_rate=0.3,
        alert_budget=0.001,
        records=1000,
        anomalies=300,
        action="alert",
    )


def drift(status: str, kind: str = "isometry") -> DriftAlert:
    return DriftAlert(
        kind=kind,
        status=status,
        detected_at="2026-11-18T04:10:00.000Z",
        model_version="v1",
        records=1000,
        names=["norm_error"],
        sentence="The ruler bent.",
        action="alert",
    )


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# A server that only writes down what comes: what is sent, and when


class Member(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.posts: list[list[dict[str, Any]]] = []
        self.credentials: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Member

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.credentials.append(self.headers["Authorization"])
        assert self.path == "/api/v2/alerts"
        if status == 200:
            self.server.posts.append(json.loads(body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def member() -> Iterator[Member]:
    with closing(Member()) as running:
        yield running


@pytest.fixture(autouse=True)
def _fast_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def seconds(instant: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(instant).timestamp()


def sink_to(
    member: Member, clock: Clock, folder: Path | None = None, **keys: Any
) -> AlertmanagerSink:
    config = AlertmanagerSinkConfig(urls=(member.url,), **keys)
    return AlertmanagerSink(config, quiet_seconds=300, folder=folder, clock=clock)


def test_the_first_alert_of_an_episode_is_posted_and_the_others_are_counted(member):
    clock = Clock()
    with closing(sink_to(member, clock, labels={"site": "north"}, page_url="https://m/")) as sink:
        sink.deliver([alert(1), alert(2)])
        sink.deliver([alert(3)])
    [[posted]] = member.posts
    assert posted["labels"] == {
        "alertname": "VaeisoAnomaly",
        "severity": "warning",
        "source": "kafka",
        "entity": "p1",
        "site": "north",
    }
    assert posted["generatorURL"] == "https://m/"
    assert posted["annotations"]["messages"] == "2"
    assert posted["annotations"]["alert_id"] == f"{2:032x}"  # the worst of them
    assert "flow" in posted["annotations"]["description"]
    assert seconds(posted["startsAt"]) == NOW
    assert seconds(posted["endsAt"]) == NOW + 240
    assert isinstance(sink, Refreshed)


def test_what_goes_on_is_sent_again_and_what_is_over_is_resolved(member):
    clock = Clock()
    with closing(sink_to(member, clock)) as sink:
        sink.deliver([alert(1)])
        sink.refresh()  # the first is due at once
        clock.now += 30
        sink.refresh()  # not due yet
        clock.now += 30
        sink.deliver([alert(2)])
        sink.refresh()
        clock.now += 299
        sink.refresh()
        clock.now += 2
        sink.refresh()
        clock.now += 60
        sink.refresh()  # nothing stands any more
    ends = [seconds(post["endsAt"]) - NOW for posts in member.posts for post in posts]
    assert ends == [240, 240, 300, 599, 361]
    assert {seconds(post["startsAt"]) for posts in member.posts for post in posts} == {NOW}


def test_an_episode_that_becomes_critical_takes_the_place_of_the_warning(member):
    clock = Clock()
    with closing(sink_to(member, clock)) as sink:
        sink.deliver([alert(1)])
        clock.now += 5
        sink.deliver([alert(2, severity="critical"), alert(3)])
    first, second = member.posts
    assert [post["labels"]["severity"] for post in (*first, *second)] == [
        "warning",
        "warning",
        "critical",
    ]
    assert seconds(second[0]["endsAt"]) == NOW + 5
    assert seconds(second[1]["startsAt"]) == NOW
    assert second[1]["annotations"]["messages"] == "3"


def test_a_regime_shift_and_a_drift_stand_until_their_end_is_told(member):
    clock = Clock()
    with closing(sink_to(member, clock)) as sink:
        sink.deliver([shift("started")])
        sink.deliver([drift("started")])
        clock.now += 100_000
        sink.refresh()
        sink.deliver([shift("ended"), drift("ended")])
        sink.deliver([drift("ended")])  # of one that nobody knows of
    names = [[post["labels"]["alertname"] for post in posts] for posts in member.posts]
    assert names == [
        ["VaeisoRegimeShift"],
        ["VaeisoDrift"],
        ["VaeisoRegimeShift", "VaeisoDrift"],
        ["VaeisoRegimeShift", "VaeisoDrift"],
    ]
    assert member.posts[0][0]["labels"]["severity"] == "critical"
    assert member.posts[1][0]["labels"]["kind"] == "isometry"
    assert {seconds(post["endsAt"]) - NOW for post in member.posts[3]} == {100_000}


def test_what_stands_survives_a_restart(member, tmp_path):
    clock = Clock()
    with closing(sink_to(member, clock, tmp_path)) as sink:
        sink.deliver([shift("started"), alert(1)])
    clock.now += 400
    with closing(sink_to(member, clock, tmp_path)) as sink:
        sink.refresh()
    ended, goes_on = member.posts[1]
    assert (ended["labels"]["alertname"], seconds(ended["endsAt"])) == ("VaeisoAnomaly", clock.now)
    assert goes_on["labels"]["alertname"] == "VaeisoRegimeShift"
    assert seconds(goes_on["startsAt"]) == NOW


def test_a_damaged_memory_is_forgotten(member, tmp_path):
    with closing(sink_to(member, Clock(), tmp_path)) as sink:
        sink.deliver([alert(1)])
    [path] = tmp_path.glob("alertmanager-*.json")
    path.write_text("{")
    with closing(sink_to(member, Clock(), tmp_path)) as sink:
        sink.deliver([alert(1)])
    assert len(member.posts) == 2


def test_a_failure_is_retried_and_then_raised(member):
    member.statuses = [503, 200]
    with closing(sink_to(member, Clock())) as sink:
        sink.deliver([alert(1)])
        assert sink.connected()
        member.statuses = [500, 500, 500]
        with pytest.raises(TransientError, match="takes no alerts"):
            sink.deliver([alert(2, "p2")])
        assert not sink.connected()
        member.statuses = [400]
        with pytest.raises(ConfigError, match="refuses alerts with 400"):
            sink.deliver([alert(3, "p3")])
        member.statuses = [502]
        sink.refresh()
        assert not sink.connected()
        sink.refresh()


def test_one_member_of_a_cluster_is_enough(member):
    config = AlertmanagerSinkConfig(urls=("http://127.0.0.1:9", member.url))
    with closing(AlertmanagerSink(config)) as sink:
        sink.deliver([alert(1)])
        assert sink.connected()
    assert len(member.posts) == 1


def test_credentials_come_from_the_environment_or_a_file(member, tmp_path, monkeypatch):
    monkeypatch.setenv("AM_TOKEN", "secret-token")
    with closing(sink_to(member, Clock(), token_env="AM_TOKEN")) as sink:
        sink.deliver([alert(1)])
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    with closing(sink_to(member, Clock(), username="u", password_file=str(secret))) as sink:
        sink.deliver([alert(1)])
    basic = base64.b64encode(b"u:geheim").decode()
    assert member.credentials == ["Bearer secret-token", f"Basic {basic}"]
    with pytest.raises(ConfigError, match="a username and its password"):
        sink_to(member, Clock(), username="u")


@pytest.mark.parametrize(
    "keys",
    [
        {"urls": ("alertmanager:9093",)},
        {"urls": ("http://a",), "page_url": "ftp://x"},
        {"urls": ("http://a",), "labels": {"a-b": "c"}},
        {"urls": ("http://a",), "labels": {"severity": "low"}},
    ],
)
def test_what_alertmanager_would_refuse_is_no_config(keys):
    with pytest.raises(ValueError, match=r"must start|no name"):
        AlertmanagerSinkConfig(**keys)


def test_secrets_in_an_address_are_not_shown():
    config = AlertmanagerSinkConfig(urls=("https://u:geheim@am/x?token=geheim",))
    assert config.where == "https://am/x"


def test_dead_letters_are_no_alerts():
    document = {
        "source": {"type": "plant"},
        "schema": {"columns": [{"name": "x"}]},
        "dead_letters": {"sinks": [{"type": "alertmanager", "urls": ["http://a"]}]},
    }
    with pytest.raises(ConfigError, match="no dead letters"):
        settings.parse(document)


# The board


said = st.builds(
    Said,
    type=st.sampled_from(["alert", "regime_shift", "drift", "episode"]),
    severity=st.sampled_from(["warning", "critical"]),
    status=st.sampled_from(["started", "ended"]),
    kind=st.none(),
    entity=st.one_of(st.none(), st.builds(dict, pump=st.text(max_size=3) | st.integers(0, 5))),
    anomaly_score=st.none() | st.floats(1, 1e6),
)


@unhurried(deadline=None)
@given(st.lists(st.tuples(said, st.floats(0, 200)), max_size=40))
def test_what_stands_is_what_was_begun_and_not_ended(messages):
    board, now = Board(300, 3), NOW
    standing: list[dict[str, str]] = []
    for message, wait in messages:
        now += wait
        over = board.ended(now)
        began, old = board.take(message, "HEAD\n    rest", now)
        for each in (*over, *old):
            standing.remove(each.labels)
        standing += [each.labels for each in began if each.labels not in standing]
        assert sorted(map(str, standing)) == sorted(
            str(each.labels) for each in board.standing.values()
        )
        entities = [each for each in board.standing.values() if not each.lasting]
        assert len(entities) <= 3 + 1
        assert all(each.started <= now for each in board.standing.values())
        msgspec.json.encode(board.standing)


def test_too_many_entities_are_one_alert_and_labels_are_short():
    board = Board(300, 2)
    for number in range(50):
        board.take(Said(type="alert", entity={"pump": f"{number:03}" * 500}), "x", NOW)
    assert len(board.standing) == 3
    assert board.standing[FLOOD].labels["alertname"] == FLOOD
    assert "entity" not in board.standing[FLOOD].labels
    assert board.standing[FLOOD].messages == 48
    assert max(len(each.labels.get("entity", "")) for each in board.standing.values()) == 120


def test_a_hostile_entity_is_one_line():
    board = Board(300, 2)
    [new], _ = board.take(Said(type="alert", entity={"pump": 'a\n"} b\x00'}), "x", NOW)
    assert new.labels["entity"] == 'a "} b'


# A real Alertmanager


@pytest.fixture
def alertmanager(tmp_path) -> Iterator[Alertmanager]:
    with closing(Alertmanager(tmp_path / "am")) as running:
        yield running


@real
def test_a_real_alertmanager_shows_an_episode_and_resolves_it(alertmanager):
    import time

    clock = Clock(time.time())
    config = AlertmanagerSinkConfig(urls=(alertmanager.url + "/",))
    with closing(AlertmanagerSink(config, quiet_seconds=300, clock=clock)) as sink:
        assert sink.check().startswith("Alertmanager 0.")
        sink.deliver([alert(1), alert(2, "p2", "critical"), shift("started"), drift("started")])
        shown = until(lambda: len(found := alertmanager.alerts()) == 4 and found, "four alerts")
        names = sorted((a["labels"]["alertname"], a["labels"]["severity"]) for a in shown)
        assert names == [
            ("VaeisoAnomaly", "critical"),
            ("VaeisoAnomaly", "warning"),
            ("VaeisoDrift", "warning"),
            ("VaeisoRegimeShift", "critical"),
        ]
        sink.deliver([shift("ended"), drift("ended")])
        until(lambda: len(alertmanager.alerts()) == 2, "two are over")
        sink.deliver([alert(3, "p1", "critical")])
        until(
            lambda: all(a["labels"]["severity"] == "critical" for a in alertmanager.alerts()),
            "the warning gave way to the critical alert",
        )
        # the clock of the sink goes on, Alertmanager's does not: two episodes are over
        sink._board.standing = {
            key: msgspec.structs.replace(each, seen=each.seen - 400)
            for key, each in sink._board.standing.items()
        }
        sink.refresh()
        until(lambda: not alertmanager.alerts(), "all are over")


@real
def test_both_ways_lead_to_the_same_alertmanager(alertmanager, tmp_path):
    """The sink's own alert, and a rule of Prometheus about a daemon that is gone."""
    if why := missing("prometheus"):
        pytest.skip(why)
    from vaeiso_monitor.rules import Options, rulebook, to_yaml

    document = {"source": {"type": "plant"}, "schema": {"columns": [{"name": "x"}]}}
    options = Options(speed=60)
    path = tmp_path / "rules.yml"
    path.write_text(to_yaml(rulebook(settings.parse(document), options), options, "For a test."))
    targets = {"vaeiso-monitor": "http://127.0.0.1:9"}
    prometheus = Prometheus(
        tmp_path / "p", targets, seconds=1, rules=path, alertmanager=alertmanager.url
    )
    config = AlertmanagerSinkConfig(urls=(alertmanager.url,))
    with closing(prometheus), closing(open_sink(config)) as sink:
        sink.deliver([alert(1)])

        def both() -> dict[str, Any]:
            found = {each["labels"]["alertname"]: each for each in alertmanager.alerts()}
            return found if {"VaeisoAnomaly", "ServiceDown"} <= set(found) else {}

        shown = until(both, "both alerts")
    down = shown["ServiceDown"]
    assert down["labels"] | {"severity": "critical", "trial": "60x"} == down["labels"]
    assert down["annotations"]["summary"] == "127.0.0.1:9 does not answer"
    assert down["annotations"]["runbook_url"] == "docs/runbooks.md#servicedown"
