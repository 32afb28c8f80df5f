from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from worker.errors import WorkerError
from worker.jobs.sinks.values import as_text, plain_row, to_json

_HOUR = timedelta(hours=1)
_EAST = datetime(2026, 3, 2, 9, tzinfo=timezone(13 * _HOUR))


class _Colour(StrEnum):
    RED = "red"


class _Moment(datetime):
    """What date libraries make."""


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (_EAST, _EAST),
        (_Moment(2026, 3, 2, 9, tzinfo=ZoneInfo("Asia/Tokyo")), datetime(2026, 3, 2, 9, tzinfo=timezone(9 * _HOUR))),
        (datetime(1, 1, 1, tzinfo=timezone(_HOUR)), "0001-01-01T00:00:00+01:00"),
        ([_EAST, _EAST.astimezone(UTC)], ["2026-03-02T09:00:00+13:00", "2026-03-01T20:00:00Z"]),
        (datetime(2026, 3, 2, 9), "2026-03-02T09:00:00"),  # noqa: DTZ001 - a naive time is the case
        (date(2026, 3, 2), "2026-03-02"),
        (time(9, 30), "09:30:00"),
        (Decimal("30.10"), Decimal("30.10")),
        (Decimal("NaN"), "NaN"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (_Colour.RED, "red"),
        ((1, Decimal("2.0")), [1, "2.0"]),
        ({"at": date(2026, 1, 1)}, {"at": "2026-01-01"}),
        (bytearray(b"\0\1"), b"\0\1"),
        (True, True),
        (None, None),
    ],
)
def test_value_becomes_plain(value, plain):
    """Exact, and of a type that every sink knows."""
    found = plain_row({"x": value}, "t")["x"]
    assert (found, type(found)) == (plain, type(plain))


def test_value_half_a_character_is_replaced():
    """JSON may hold half a surrogate pair; UTF-8 and SQLite cannot."""
    assert plain_row({"x": "caf\u00e9 \ud83d", "y": "\ud83d\ude00"}, "t") == {
        "x": "caf\u00e9 \ufffd",
        "y": "\U0001f600",
    }


def test_value_row_is_a_copy():
    """What the job does to its row afterwards does not reach the sink."""
    row = {"tags": ["a"]}
    plain = plain_row(row, "t")
    row["tags"].append("b")
    assert plain == {"tags": ["a"]}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"x": {1}}, "invoices.x is a set"),
        ({"x": [object()]}, r"invoices.x\[0\] is a object"),
        ({1: 2}, "column name 1"),
        ({"": 2}, "column name ''"),
        (["x"], "emit dicts"),
    ],
)
def test_value_that_cannot_be_stored_names_table_and_column(row, what):
    """The author finds the line at once."""
    with pytest.raises(WorkerError, match=what):
        plain_row(row, "invoices")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (_EAST, "2026-03-02T09:00:00+13:00"),
        (datetime(2026, 3, 2, 9, 0, 0, 5, tzinfo=UTC), "2026-03-02T09:00:00.000005Z"),
        (Decimal("30.10"), "30.10"),
    ],
)
def test_value_keeps_every_digit_as_text(value, text):
    """For a sink that has no type for it, in a column and inside of JSON."""
    plain = plain_row({"x": value}, "t")
    assert (as_text(plain["x"]), to_json(plain)) == (text, f'{{"x":"{text}"}}')


def test_value_json_holds_bytes_and_no_nan():
    """Strict JSON for whoever reads it."""
    assert json.loads(to_json({"a": b"\xff", "b": [float("nan"), 1.5]})) == {"a": "/w==", "b": [None, 1.5]}
