"""Times in the forms that sources write."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeiso_monitor.records import parse_time

MOMENT = datetime(2026, 11, 22, 5, 0, 0, 123456, tzinfo=UTC)
WHOLE = MOMENT.replace(microsecond=0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T05:00:00.123456Z", MOMENT),
        ("2026-11-22T05:00:00.123456789Z", MOMENT),
        ("2026-11-22 05:00:00", WHOLE),
        (" 2026-11-22 05:00:00 UTC ", WHOLE),
        ("2026-11-22T07:00:00+02:00", WHOLE),
        (b"2026-11-22T05:00:00", WHOLE),
        ("20261122", datetime(2026, 11, 22, tzinfo=UTC)),
        (date(2026, 11, 22), datetime(2026, 11, 22, tzinfo=UTC)),
        (datetime(2026, 11, 22, 5), WHOLE),  # noqa: DTZ001
        (datetime(2026, 11, 22, 7, tzinfo=timezone(timedelta(hours=2))), WHOLE),
        (1795323600, WHOLE),
        ("1795323600", WHOLE),
        (1795323600000, WHOLE),
        (1795323600123456, MOMENT),
        (1795323600123456000, MOMENT),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-86400.0, datetime(1969, 12, 31, tzinfo=UTC)),
    ],
)
def test_every_form_of_a_time_is_read_in_utc(value, expected):
    parsed = parse_time(value)
    assert parsed == expected
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "soon",
        "2026-13-01",
        b"\xff",
        float("nan"),
        float("inf"),
        10**400,
        "9" * 500,
        "0001-01-01T00:00:00+14:00",
        [1],
        {},
    ],
)
def test_what_is_no_time_is_none(value):
    assert parse_time(value) is None


@given(st.one_of(st.text(), st.binary(), st.floats(), st.integers()))
def test_nothing_raises(value):
    parsed = parse_time(value)
    assert parsed is None or parsed.tzinfo is UTC


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_text_and_epoch_agree(moment):
    aware = moment.replace(tzinfo=UTC)
    assert parse_time(moment.isoformat()) == aware
    assert abs(parse_time(aware.timestamp() * 1000) - aware) < timedelta(milliseconds=1)
