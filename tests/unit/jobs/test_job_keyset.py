"""Reading a changing collection in the order of its changes, against a collection in memory."""

from __future__ import annotations

import pytest

from worker.errors import WorkerError
from worker.jobs.keyset import BEFORE_ANY, Batch, Place, Reading
from worker.jobs.ticks import MILLISECOND, SECOND, read_ticks, utc_text

NOW = 1_700_000_000 * SECOND
PAGE = 3


class Table:
    """Rows by id, each its moment; a clock; and what happens before each answer."""

    def __init__(self, rows):
        self.rows, self.now, self.before = dict(rows), NOW, []

    def since(self, millisecond):
        return self._batch(sorted((at, number) for number, at in self.rows.items() if at >= (millisecond or 0)))

    def within(self, millisecond, after):
        rows = [(at, number) for number, at in self.rows.items() if millisecond <= at < millisecond + MILLISECOND]
        return self._batch(sorted((one for one in rows if one[1] > after), key=lambda one: one[1]))

    def _batch(self, found):
        page = [(Place(at, number), number) for at, number in found[:PAGE]]
        batch = Batch(page, len(found) > PAGE, self.now)
        for happen in self.before[:1]:
            happen()
        del self.before[:1]
        return batch


class Run:
    """A context as far as a reading needs one."""

    def __init__(self, cursor=(), since=None):
        self.cursor, self.since, self.rows = dict(cursor), since, []

    def checkpoint(self, **values):
        merged = {**self.cursor, **values}
        self.cursor = {name: value for name, value in merged.items() if value is not None}

    def read(self, table, settle=2.0):
        Reading(self, table, self.rows.extend, settle).run()
        return self


def test_keyset_delivers_each_row_once_when_nothing_changes():
    """More rows in one millisecond than a page holds, and in one moment, included."""
    table = Table({number: NOW - 60 * SECOND + (number // 9) * 40 for number in range(1, 30)})
    run = Run().read(table)
    assert (sorted(run.rows), Run(run.cursor).read(table).rows) == (list(range(1, 30)), [])


def test_keyset_change_that_shows_late_is_met_however_long_the_run_went_on():
    """It was passed in a run that had three more minutes to go: the stored place stays where it was passed."""
    table = Table({number: NOW - (10 - number) * SECOND // 10 for number in range(1, 10)})

    def commit_late():
        table.rows[77] = NOW - SECOND  # before what the first page has delivered
        table.now += 180 * SECOND

    table.before = [lambda: None, commit_late]
    first = Run().read(table)
    assert 77 not in first.rows
    assert 77 in Run(first.cursor).read(table).rows


def test_keyset_settled_places_are_stored():
    """What is older than the margin does not come again."""
    run = Run().read(Table({1: NOW - 3 * SECOND, 2: NOW - SECOND}))
    assert run.cursor == {"modified": utc_text(NOW - 2 * SECOND), "id": BEFORE_ANY}


def test_keyset_cursor_inside_a_crowded_millisecond_is_gone_on_from():
    """Ids up to the stored one have been delivered."""
    table = Table(dict.fromkeys(range(1, 12), NOW - 60 * SECOND))
    run = Run({"modified": utc_text(NOW - 60 * SECOND), "id": 0, "drained": 8}).read(table)
    assert run.rows == [9, 10, 11]


def test_keyset_backfill_begins_where_it_is_told_and_goes_on_from_its_own_cursor():
    """Rows before it are not asked for; once there is a cursor, that counts."""
    table = Table({number: NOW - (60 - number) * SECOND for number in range(1, 6)})
    begun = Run(since=utc_text(NOW - 57 * SECOND)).read(table)
    assert (begun.rows, Run(begun.cursor, since=utc_text(0)).read(table).rows) == ([3, 4, 5], [])


@pytest.mark.parametrize("spoil", ["filter", "order"])
def test_keyset_api_that_does_not_heed_what_it_was_asked_is_told(spoil):
    """Both would lose rows without a word."""
    table = Table({1: NOW - 9 * SECOND, 2: NOW - 8 * SECOND})
    cursor = {"modified": utc_text(NOW - 5 * SECOND), "id": 0} if spoil == "filter" else {}
    listed = [(Place(table.rows[number], number), number) for number in ((1, 2) if spoil == "filter" else (2, 1))]
    table.since = lambda _millisecond: Batch(listed, False, NOW)
    with pytest.raises(WorkerError, match="does not heed the filter or the order"):
        Run(cursor).read(table)


def test_keyset_cursor_that_is_no_time_is_told():
    """Somebody gave one by hand."""
    with pytest.raises(WorkerError, match="'yesterday' and no time"):
        Run({"modified": "yesterday"}).read(Table({}))


@pytest.mark.parametrize(
    ("text", "utc", "zone"),
    [
        ("2026-03-02T09:00:00.1234567+13:00", "2026-03-01T20:00:00.1234567Z", "+13:00"),
        ("2026-03-02T09:00Z", "2026-03-02T09:00:00.0000000Z", "Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00.0000000Z", ""),
    ],
)
def test_ticks_keep_seven_digits_and_the_offset(text, utc, zone):
    """A time with seven digits comes back as it was, in UTC."""
    ticks, found = read_ticks(text)
    assert (utc_text(ticks), found) == (utc, zone)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+13:00", "2026-03-02"])
def test_ticks_are_none_for_what_is_no_time(text):
    """A month 13, a day without a time, a moment before the calendar."""
    assert read_ticks(text) is None
