"""Feedback: what a verdict does to the history and to the window."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_lifecycle_history import SCHEMA, add, rows
from vaeiso_monitor.errors import TransientError
from vaeiso_monitor.lifecycle import (
    AlertHistory,
    Feedback,
    HistoryConfig,
    Spool,
    Window,
    WindowConfig,
    checked,
    taken,
)
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.types import Records

NOW = 1_700_000_000.0


class Place:
    """A window, a history and the feedback between them."""

    def __init__(self, folder, schema=SCHEMA):
        self.window = Window(WindowConfig(), schema, folder / "window", lambda: NOW)
        self.history = AlertHistory(HistoryConfig(), schema, folder)
        self.feedback = Feedback(self.history, self.window, lambda: NOW)

    def admitted(self):
        return self.window.snapshot().records.numbers[:, 0].tolist()

    def close(self):
        self.window.close()
        self.history.close()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


def name(number):
    return f"{number:032x}"


def test_called_normal_it_enters_the_window(place):
    add(place.history, 7, 8)
    judged = place.feedback.give(name(7), "normal", "pump test")
    assert (judged.known, judged.changed, judged.alert_id) == (True, True, name(7))
    assert "called normal: the next training learns" in judged.words
    look = place.window.snapshot()
    np.testing.assert_array_equal(look.records.numbers, rows(7).numbers)
    assert look.records.categories[0] == rows(7).categories[0]
    assert (look.origins, look.nats.tolist()) == ([name(7)], [30.0])
    assert place.history.get(name(7)).note == "pump test"


def test_called_an_anomaly_it_never_does(place):
    add(place.history, 7)
    every = rows(6, 7, 8)
    place.window.keep(every, np.ones(3), np.zeros(3, bool))  # its equal, scored by another bundle
    judged = place.feedback.give(name(7), "anomaly")
    assert "called an anomaly: no training learns" in judged.words
    assert place.admitted() == [6.0, 8.0]
    assert place.window.unfiltered().records.numbers[:, 0].tolist() == [6.0, 8.0]
    assert place.history.precision().confirmed == 1


def test_it_may_be_given_again_and_changed(place):
    add(place.history, 7)
    for _ in range(2):
        place.feedback.give(name(7), "normal")
    assert not place.feedback.give(name(7), "normal").changed
    assert place.admitted() == [7.0]
    assert place.feedback.give(name(7), "anomaly").changed
    assert place.admitted() == []
    assert place.feedback.give(name(7), "normal").changed
    assert place.admitted() == [7.0]
    assert place.history.precision().judged == 1


def test_many_are_given_at_once_and_the_last_on_an_alert_stands(place):
    add(place.history, *range(1, 9))
    given = [(name(n), "normal", "tests") for n in range(1, 6)]
    given += [("cafe", "normal", ""), (name(7), "anomaly", ""), (name(5), "anomaly", "")]
    judged = place.feedback.give_all(given)
    assert [each.known for each in judged] == [True] * 5 + [False] + [True] * 2
    assert sorted(place.admitted()) == [1.0, 2.0, 3.0, 4.0]
    assert place.history.get(name(5)).verdict == "anomaly"
    assert place.history.get(name(8)).verdict is None
    assert (place.history.precision().judged, place.history.precision().confirmed) == (6, 2)
    assert place.feedback.give_all([]) == []


def test_an_unknown_alert_changes_nothing(place):
    judged = place.feedback.give("cafe", "normal")
    assert (judged.known, judged.changed) == (False, False)
    assert judged.to_dict()["words"] == "no alert cafe is remembered"


def test_a_record_of_another_schema_affects_no_training(tmp_path):
    place = Place(tmp_path)
    add(place.history, 7)
    place.close()
    other = Place(tmp_path, Schema((Column("z"),)))
    assert "another schema" in other.feedback.give(name(7), "normal").words
    assert len(other.window.snapshot()) == 0
    assert other.history.get(name(7)).verdict == "normal"
    other.close()


def test_a_request_cut_short_is_completed_by_the_next_try(place, tmp_path):
    """The window was written, the verdict was not: a crash, or a disk that refused."""
    add(place.history, 7)
    spool = Spool(tmp_path / "requests")
    spool.put("feedback", {"alert_id": name(7), "verdict": "normal", "note": ""})
    found = place.history.rows([name(7)])
    place.window.admit(found.records, found.nats, found.alert_ids)
    for request in spool.pending():
        assert place.feedback.give(*checked(request.body)).changed
        spool.done(request)
    assert place.admitted() == [7.0]
    assert place.history.get(name(7)).verdict == "normal"


def test_a_window_that_cannot_be_written_leaves_the_verdict_open(place, tmp_path):
    add(place.history, 7)
    (tmp_path / "window").rename(tmp_path / "away")
    for verdict in ("normal", "anomaly"):
        with pytest.raises(TransientError, match="the window cannot be written"):
            place.feedback.give(name(7), verdict)
    assert place.history.get(name(7)).verdict is None
    (tmp_path / "away").rename(tmp_path / "window")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "alert_id is a text"),
        ({"alert_id": 5, "verdict": "normal"}, "alert_id is a text"),
        ({"alert_id": "", "verdict": "normal"}, "alert_id is a text"),
        ({"alert_id": "a" * 65, "verdict": "normal"}, "alert_id is a text"),
        ({"alert_id": "a"}, "verdict is one of normal, anomaly"),
        ({"alert_id": "a", "verdict": "fine"}, "verdict is one of normal, anomaly"),
        ({"alert_id": "a", "verdict": "normal", "note": 5}, "note is a text"),
        ({"alert_id": "a", "verdict": "normal", "note": "n" * 2001}, "note is a text"),
        ({"alert_id": "a", "verdict": "normal", "who": "me"}, "unknown fields who"),
    ],
)
def test_a_wrong_request_is_told_in_words(place, body, words):
    with pytest.raises(ValueError, match=words):
        place.feedback.give(*checked(body))


def test_a_right_request():
    assert checked({"alert_id": "a", "verdict": "anomaly", "note": None}) == ("a", "anomaly", "")


def test_some_of_the_records_with_their_labels():
    every = Records(
        np.arange(6.0).reshape(3, 2),
        [["a", None, "c"]],
        np.array([4, 5, 9]),
        [1, 2, 3],
        None,
        "xyz",
    )
    some = taken(every, np.array([2, 0]))
    assert some.numbers.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert (some.categories, some.rows.tolist()) == ([["c", "a"]], [9, 4])
    assert (some.keys, some.times, some.entities) == ([3, 1], None, ["z", "x"])
