"""Episodes, floods and their summaries: what is sent at once, what is counted, what is told."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.plain import anomaly, documents
from vaeiso_monitor.alerts import (
    Alert,
    AlertsConfig,
    AlertWriter,
    Blame,
    Episodes,
    Feature,
    Membership,
    Summary,
    Told,
    Worst,
)
from vaeiso_monitor.bundle import Bundle, Engine
from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle import Slot
from vaeiso_monitor.model import resolve_device
from vaeiso_monitor.pipeline import Pipeline, PipelineConfig
from vaeiso_monitor.sinks import FanOut, MemorySink
from vaeiso_monitor.sources import MemorySource
from vaeiso_monitor.telemetry import Telemetry
from vaeiso_monitor.types import Message

CONFIG = AlertsConfig(cooldown_seconds=60, summary_seconds=300, flood_entities=3)
START = 1_800_000_000.0
_NUMBERS = itertools.count()


def alert(
    entity: object = "p0",
    severity: str = "warning",
    nats: float = 30.0,
    blame: str = "flow",
    minute: int = 0,
) -> Alert:
    return Alert(
        alert_id=hashlib.sha256(b"%d" % next(_NUMBERS)).hexdigest()[:32],
        severity=severity,
        event_time=f"2026-01-02T03:{minute:02}:00.000Z",
        detected_at="2026-01-02T03:04:05.000Z",
        source={"type": "memory", "stream": "memory", "partition": 0, "offset": 0},
        entity=None if entity is None else {"pump": entity},
        record_key=None,
        model={"version": "v1"},
        nats=nats,
        threshold_nats=20.0,
        anomaly_score=1.5 if severity == "warning" else 2.5,
        tail_probability=1e-4,
        alert_budget=0.001,
        distortion_nats=nats,
        rate_nats=0.0,
        features=[Feature(blame, 1.0, 2.0, nats)],
        latents=[],
        record=None,
    )


def critical(entity: object = "p0", **changes: object) -> Alert:
    return alert(entity, "critical", **changes)  # type: ignore[arg-type]


def summaries(messages: Iterable[Message]) -> list[Summary]:
    return [message for message in messages if isinstance(message, Summary)]


def sent(messages: Iterable[Message]) -> list[Alert]:
    return [message for message in messages if isinstance(message, Alert)]


def one(messages: Sequence[Message]) -> Summary:
    assert len(messages) == 1
    assert isinstance(messages[0], Summary)
    return messages[0]


# An episode


def test_the_first_alert_is_sent_at_once_and_the_others_are_counted() -> None:
    episodes = Episodes(CONFIG)
    first = alert()
    told = episodes.tell([first, alert(), alert()], START)
    assert [a.alert_id for a in sent(told.brief)] == [first.alert_id]
    assert len(told.brief) == 1
    assert (told.begun, told.cooled, told.flooded) == (1, 2, 0)
    assert episodes.due(START + 1) == []


def test_every_alert_is_in_its_episode_and_none_is_lost_or_moved() -> None:
    given_ = [alert("a"), alert("b"), alert("a"), alert(None), alert("a")]
    told = Episodes(CONFIG).tell(given_, START)
    assert [a.alert_id for a in told.every] == [a.alert_id for a in given_]
    assert [msgspec.structs.replace(a, episode=None) for a in told.every] == given_
    members = [a.episode for a in told.every]
    assert all(isinstance(member, Membership) for member in members)
    assert [member.count for member in members if member] == [1, 1, 2, 1, 3]
    assert len({member.id for member in members if member}) == 3


def test_a_long_episode_is_summarised_now_and_then_and_when_it_ends() -> None:
    episodes = Episodes(CONFIG)
    at = START
    told = list(episodes.tell([alert(minute=1)], at).brief)
    for step in range(20):  # 20 x 30 s: two summaries while it goes on
        at += 30
        told += episodes.tell([alert(minute=2 + step, nats=30.0 + step)], at).brief
        told += episodes.due(at)
    told += episodes.due(at + 61)
    assert len(sent(told)) == 1
    found = summaries(told)
    assert [each.status for each in found] == ["ongoing", "ongoing", "ended"]
    assert [each.new_alerts for each in found] == [10, 10, 0]
    assert [each.alerts for each in found] == [11, 21, 21]
    assert {each.episode_id for each in found} == {sent(told)[0].episode.id}  # type: ignore[union-attr]
    last = found[-1]
    assert (last.first_event_time, last.last_event_time) == (
        "2026-01-02T03:01:00.000Z",
        "2026-01-02T03:21:00.000Z",
    )
    assert last.duration_seconds == 600
    assert last.peak.nats == 49.0
    assert episodes.open == 0
    assert episodes.due(at + 500) == []


def test_an_episode_of_one_alert_needs_no_summary() -> None:
    episodes = Episodes(CONFIG)
    episodes.tell([alert()], START)
    assert episodes.open == 1
    assert episodes.due(START + 61) == []
    assert episodes.open == 0


def test_after_a_quiet_time_another_episode_begins() -> None:
    episodes = Episodes(CONFIG)
    first = episodes.tell([alert(), alert()], START)
    again = episodes.tell([alert()], START + 61)  # before anyone asked what is due
    ended, new = again.brief
    assert isinstance(ended, Summary)
    assert (ended.status, ended.new_alerts) == ("ended", 1)
    assert isinstance(new, Alert)
    assert new.episode is not None
    assert new.episode.count == 1
    assert new.episode.id != first.every[0].episode.id  # type: ignore[union-attr]


def test_a_summary_names_the_worst_and_the_features_to_blame() -> None:
    episodes = Episodes(CONFIG)
    nats = [50.0, 20.0, math.nan, 90.0, 70.0, 60.0]
    blamed = ["flow", "flow", "ph", "flow", "ph", "level"]
    episodes.tell([alert(nats=10_000.0)], START)
    held = [alert(nats=n, blame=b) for n, b in zip(nats, blamed, strict=True)]
    episodes.tell(held, START + 1)
    found = one(episodes.due(START + 62))
    assert [each.nats for each in found.worst] == [None, 90.0, 60.0]
    assert found.worst[1].alert_id == held[3].alert_id
    assert [(each.name, each.alerts, each.nats) for each in found.features] == [
        ("flow", 3, 160.0),
        ("ph", 2, 70.0),
        ("level", 1, 60.0),
    ]
    assert found.peak.nats is None  # no number at all is the worst


def test_without_an_entity_the_stream_is_one_episode() -> None:
    told = Episodes(CONFIG).tell([alert(None), alert(None)], START)
    assert told.begun == told.cooled == 1


# What breaks through


def test_a_warning_that_turns_critical_breaks_through_once() -> None:
    episodes = Episodes(CONFIG)
    told = episodes.tell([alert(), critical(), critical(), alert()], START)
    assert [a.severity for a in sent(told.brief)] == ["warning", "critical"]
    assert told.cooled == 2


def test_a_new_critical_is_sent_although_warnings_never_end() -> None:
    episodes = Episodes(CONFIG)
    at, told = START, []
    for step in range(20):
        at += 30
        told += episodes.tell([critical() if step in (3, 4, 15) else alert()], at).brief
    assert [a.severity for a in sent(told)] == ["warning", "critical", "critical"]
    assert {a.episode.id for a in sent(told) if a.episode} == {sent(told)[0].episode.id}  # type: ignore[union-attr]


# Floods


def test_many_entities_at_once_are_told_as_one_flood() -> None:
    episodes = Episodes(CONFIG)
    told = episodes.tell([alert(f"p{i}", nats=30.0 + i) for i in range(50)], START)
    *alerts, flood = told.brief
    assert len(alerts) == 3
    assert isinstance(flood, Summary)
    assert (flood.type, flood.status, flood.entities) == ("flood", "started", 47)
    assert (flood.alerts, flood.new_alerts) == (47, 47)
    assert flood.entity is None
    assert flood.worst[0].entity == {"pump": "p49"}
    assert told.flooded == 47
    assert episodes.flooding
    more = episodes.tell([alert(f"p{i}") for i in range(50)], START + 10)
    assert more.brief == []
    assert (more.cooled, more.flooded) == (3, 47)
    ended = episodes.due(START + 71)
    assert len(ended) == 4  # the three that were sent alone, and the flood
    assert sum(each.new_alerts for each in summaries(ended)) == 50
    assert summaries(ended)[-1].status == "ended"
    assert not episodes.flooding


def test_a_lasting_flood_is_summarised_now_and_then() -> None:
    episodes = Episodes(CONFIG)
    at, told = START, []
    for _ in range(40):
        told += episodes.tell([alert(f"p{i}") for i in range(10)], at).brief
        told += episodes.due(at)
        at += 20
    floods = [each for each in summaries(told) if each.type == "flood"]
    assert [each.status for each in floods] == ["started", "ongoing", "ongoing"]
    assert len(sent(told)) == 3


def test_a_flood_of_warnings_holds_no_critical_back_until_they_flood_too() -> None:
    episodes = Episodes(CONFIG)
    episodes.tell([alert(f"p{i}") for i in range(20)], START)
    told = episodes.tell([critical("p9"), critical("x")], START + 5)
    assert [a.entity for a in sent(told.brief)] == [{"pump": "p9"}, {"pump": "x"}]
    told = episodes.tell([critical(f"p{i}") for i in range(20)], START + 6)
    assert len(sent(told.brief)) == 1
    flood = summaries(told.brief)[-1]
    assert (flood.status, flood.severity, flood.new_criticals) == ("ongoing", "critical", 19)


def test_an_episode_outlives_its_flood_and_joins_the_next_one() -> None:
    episodes = Episodes(CONFIG)
    episodes.tell([alert(f"p{i}") for i in range(10)], START)
    assert len(sent(episodes.tell([critical("p9")], START + 50).brief)) == 1
    over = episodes.due(START + 70)  # the flood, and all its episodes but that of p9
    assert [each.status for each in summaries(over)] == ["ended"]
    assert episodes.open == 1
    told = episodes.tell([alert("p9")], START + 71)
    assert (told.cooled, told.flooded) == (1, 0)
    assert not episodes.flooding
    told = episodes.tell([critical(f"q{i}") for i in range(9)] + [alert("p9")], START + 72)
    flood = summaries(told.brief)[-1]
    assert (flood.status, flood.entities, flood.alerts) == ("started", 7, 7)
    assert (told.cooled, told.flooded) == (1, 7)


def test_open_episodes_are_bounded() -> None:
    episodes = Episodes(CONFIG)
    episodes.tell([alert(f"p{i}") for i in range(10_050)], START)
    assert episodes.open == 10_000


# Nothing is lost

_steps = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=12),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(_steps)
def test_every_alert_is_sent_or_counted_once_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, steps: list
) -> None:
    path = tmp_path_factory.mktemp("state") / "episodes.json"
    episodes, at = Episodes(CONFIG, path), START
    brief: list[Message] = []
    given_, criticals = 0, 0
    for seconds, batch, restart in steps:
        at += seconds
        alerts = [critical(f"p{who}") if bad else alert(f"p{who}") for who, bad in batch]
        given_, criticals = given_ + len(alerts), criticals + sum(bad for _, bad in batch)
        told = episodes.tell(alerts, at)
        assert len(told.every) == len(alerts)
        brief += told.brief
        brief += episodes.due(at)
        episodes.save(at, at_once=True)
        if restart:
            episodes = Episodes(CONFIG, path)
    brief += episodes.flush(at)
    assert len(sent(brief)) + sum(each.new_alerts for each in summaries(brief)) == given_
    assert (
        sum(a.severity == "critical" for a in sent(brief))
        + sum(each.new_criticals for each in summaries(brief))
        == criticals
    )
    assert episodes.flush(at) == []
    assert len({message.key for message in brief}) == len(brief)


def test_after_a_restart_an_episode_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state" / "episodes.json"
    before = Episodes(CONFIG, path)
    first = before.tell([alert(), alert(nats=99.0)], START)
    before.save(START)
    after = Episodes(CONFIG, path)
    told = after.tell([alert()], START + 30)
    assert told.brief == []
    assert told.every[0].episode == Membership(
        first.every[0].episode.id,  # type: ignore[union-attr]
        "2026-01-02T03:00:00.000Z",
        3,
    )
    found = one(after.due(START + 91))
    assert (found.alerts, found.new_alerts, found.peak.nats) == (3, 2, 99.0)


def test_what_was_not_saved_is_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    Episodes(CONFIG, path).tell([alert()], START)
    assert len(Episodes(CONFIG, path).tell([alert()], START).brief) == 1


def test_it_is_written_about_once_a_second_and_only_when_something_changed(tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    episodes = Episodes(CONFIG, path)
    episodes.save(START)
    assert not path.exists()
    episodes.tell([alert()], START)
    episodes.save(START)
    written = path.read_bytes()
    episodes.tell([alert()], START + 0.5)
    episodes.save(START + 0.5)
    assert path.read_bytes() == written
    episodes.save(START + 1.1)
    assert path.read_bytes() != written
    assert [each.name for each in tmp_path.iterdir()] == ["episodes.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"open": {"a": 1}}', b"\xff"])
def test_a_damaged_state_is_left_behind_with_a_word(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "episodes.json"
    path.write_bytes(content)
    with capture_logs() as logs:
        episodes = Episodes(CONFIG, path)
    assert [entry["event"] for entry in logs] == ["episodes_forgotten"]
    assert len(episodes.tell([alert()], START).brief) == 1


@pytest.mark.parametrize("entity", [{"a": [1]}, 2**70, "x" * 5000, 1.5, True, math.nan, None])
def test_odd_entities_survive_a_restart(tmp_path: Path, entity: object) -> None:
    path = tmp_path / "episodes.json"
    episodes = Episodes(CONFIG, path)
    episodes.tell([alert(entity), alert(entity), critical(entity, nats=math.inf)], START)
    episodes.save(START)
    assert path.stat().st_size < 10_000
    after = Episodes(CONFIG, path)
    assert after.tell([alert(entity)], START + 1).brief == []
    found = one(after.flush(START + 2))
    assert found.new_alerts == 2
    assert found.to_text()
    json.loads(found.to_json())


def test_a_clock_that_is_put_back_stops_nothing() -> None:
    episodes = Episodes(CONFIG)
    episodes.tell([alert(), alert()], START)
    told = episodes.tell([alert()], START - 7200)
    assert [type(message) for message in told.brief] == [Summary, Alert]


# What a person reads


def worst(number: int, entity: str | None = None) -> Worst:
    return Worst(
        alert_id=f"{number:032x}",
        event_time="2026-01-02T03:07:00.000Z",
        entity={"pump": entity} if entity else None,
        severity="critical",
        nats=99.04,
        anomaly_score=2.5,
        tail_probability=1e-6,
        feature="flow",
    )


def summary(**changes: object) -> Summary:
    fields: dict = {
        "type": "episode",
        "episode_id": "e1",
        "status": "ongoing",
        "severity": "critical",
        "entity": {"pump": "p7"},
        "entities": 1,
        "first_event_time": "2026-01-02T03:00:00.000Z",
        "last_event_time": "2026-01-02T04:05:00.000Z",
        "started_at": "2026-01-02T04:05:00.000Z",
        "detected_at": "2026-01-02T04:05:07.000Z",
        "duration_seconds": 3.0,
        "alerts": 1234,
        "criticals": 300,
        "new_alerts": 1200,
        "new_criticals": 299,
        "peak": worst(1),
        "worst": [worst(1)],
        "features": [Blame("flow", 900, 1e4), Blame("ph", 300, 1e3)],
    }
    return Summary(**(fields | changes))


def test_a_summary_reads_well() -> None:
    assert summary().to_text().splitlines() == [
        "ONGOING  2026-01-02T04:05:00.000Z  p7  going on for 1 h 5 min: 1,200 more alerts "
        "(299 critical), 1,234 in all",
        "    most often because of flow (900), ph (300)",
        "    2026-01-02T03:07:00.000Z  99.0 nats, 1 in 1,000,000 normal records, flow  "
        "(000000000000)",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "ended", "new_alerts": 1}, "over after 1 h 5 min: 1 more alert (299 critical)"),
        ({"new_alerts": 0, "new_criticals": 0, "worst": [], "features": []}, ": no more alerts, 1"),
        ({"first_event_time": None}, "going on for 3 s:"),
        ({"entity": None}, "the stream  going on"),
        (
            {"type": "flood", "entities": 47, "entity": None},
            "FLOOD    2026-01-02T04:05:00.000Z  47",
        ),
        ({"type": "flood", "status": "started"}, "1 entity  raise alerts at once; 1,200 (299"),
        ({"type": "flood", "worst": [worst(1, "p9")]}, "03:07:00.000Z  p9  99.0 nats"),
    ],
)
def test_the_words_of_a_summary(changes: dict, words: str) -> None:
    assert words in summary(**changes).to_text()


# In the loop


class Line:
    """A whole pipeline over memory with a sink of each detail and a clock that stands still."""

    def __init__(self, bundle: Bundle, payload: list, path: Path | None = None) -> None:
        self.every, self.brief = MemorySink(), MemorySink()
        self.now = START
        self.source = MemorySource(payload)
        self.telemetry = Telemetry(CollectorRegistry())
        self.slot = Slot(Engine(bundle, resolve_device("cpu")))
        self.pipeline = Pipeline(
            PipelineConfig(batch_records=32),
            source=self.source,
            serving=self.slot,
            writer=AlertWriter(AlertsConfig()),
            alerts=FanOut([self.every, self.brief], details=["every", "episodes"]),
            dead_letters=FanOut([]),
            telemetry=self.telemetry,
            stop=lambda: False,
            episodes=Episodes(CONFIG, path),
            clock=lambda: self.now,
        )

    def run(self) -> Line:
        try:
            self.pipeline.run()
        finally:
            self.slot.close()
        return self


def faulty(count: int) -> list[bytes]:
    return [*documents(50, seed=2), *(anomaly(50 + i) for i in range(count))]


def test_programs_get_every_alert_and_people_the_episode(bundle: Bundle) -> None:
    line = Line(bundle, faulty(100)).run()
    at_p0 = [a for a in sent(line.every.messages) if a.entity == {"pump": "p0"}]
    assert len(at_p0) >= 100
    assert not summaries(line.every.messages)
    people = [m for m in line.brief.messages if m.entity == {"pump": "p0"}]  # type: ignore[attr-defined]
    assert 1 <= len(sent(people)) <= 2
    told = len(sent(people)) + sum(each.new_alerts for each in summaries(people))
    assert told == len(at_p0)
    value = line.telemetry.registry.get_sample_value
    assert value("vaeiso_episodes_begun_total") == value("vaeiso_episodes_open") >= 1
    held = value("vaeiso_alerts_suppressed_total", {"reason": "cooldown"})
    assert held == len(line.every.messages) - len(sent(line.brief.messages))


class _Full(MemorySink):
    def deliver(self, messages: Sequence[Message]) -> None:
        msg = "out of reach"
        raise TransientError(msg)


def test_what_people_did_not_get_is_neither_committed_nor_remembered(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "episodes.json"
    line = Line(bundle, [anomaly(i) for i in range(5)], path)
    line.pipeline._alerts = FanOut([line.every, _Full()], details=["every", "episodes"])
    with pytest.raises(TransientError):
        line.run()
    assert line.source.committed == 0
    assert not path.exists()
    again = Line(bundle, [anomaly(i) for i in range(5)], path).run()
    assert len(sent(again.brief.messages)) == 1


def test_a_sink_that_wants_episodes_is_left_alone_when_there_is_nothing_to_say() -> None:
    every, brief = MemorySink(), MemorySink()
    delivered: list[tuple] = []
    fan = FanOut([every, brief], lambda *what: delivered.append(what), ["every", "episodes"])
    told = Told(every=[alert()])
    fan.deliver(told.every, told.brief)
    fan.deliver([], [])
    assert len(every.messages) == 1
    assert brief.messages == []
    assert delivered == [("memory", 1, True)]
