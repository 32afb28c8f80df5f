"""The same resources, read by dlt's REST source: the same requests, rows and place as ours, and the same errors."""

from __future__ import annotations

import logging

import pytest

from worker.errors import Interrupted, NeedsConsent, TryAgainLater, WorkerError
from worker.jobs.paging import Cursor, LinkHeader, Offset, PageNumber, Single
from worker.jobs.rest.dlt_reading import read_with_dlt
from worker.jobs.rest.reading import read_resources
from worker.jobs.rest.resource import Increment, Resource
from worker.testing import Answer, run_job


def customers(**options):
    """A collection."""
    settings = {"name": "customers", "path": "/customers", "table": "c", "key": ("id",), "rows": "data"}
    return Resource(**settings | {"style": Single()} | options)


def notes(**options):
    """What hangs below a customer."""
    below = {"name": "notes", "path": "/customers/{customers.id}/notes", "table": "n", "parent": "customers"}
    return customers(**below | {"parent_fields": ("id",)} | options)


def outcome(read, resources, answers, cursor):
    """Rows, place and requests; or the error."""
    try:
        result = run_job(lambda ctx: read(ctx, resources), responses=answers, cursor=cursor)
    except WorkerError as error:
        return type(error), error.message, getattr(error, "after", None)
    return result.rows, result.cursor, sorted(result.urls)


_CHANGED = Increment("at", "since")
_FIRST, _SECOND = {"id": 1, "at": "2026-01-01T00:00:00Z"}, {"id": 2, "at": "2026-01-01T00:00:09Z"}
SCENARIOS = {
    "cursor": (
        [customers(style=Cursor("next", "after"), increment=_CHANGED, params={"of": "{x}", "n": 5})],
        [{"data": [_FIRST], "next": "b"}, {"data": [_SECOND]}],
    ),
    "last row": (
        [customers(style=Cursor(last_row="id", parameter="after", more="more"))],
        [{"data": [{"id": 1}, {"id": 2}], "more": True}, {"data": [{"id": 3}], "more": False}],
    ),
    "link": ([customers(style=LinkHeader())], [Answer(json={"data": [_FIRST]}, next="/x?page=2"), {"data": [_SECOND]}]),
    "offset": ([customers(style=Offset(limit=1))], [{"data": [_FIRST]}, {"data": [_SECOND]}, {"data": []}]),
    "page": ([customers(style=PageNumber(pages="of"))], [{"data": [_FIRST], "of": 2}, {"data": [_SECOND], "of": 2}]),
    "nested rows": ([customers(rows="a.b")], [{"a": {"b": [_FIRST]}}]),
    "fields": ([customers(columns=(("id", "id"), ("city", "o.city")))], [{"data": [{"id": 1, "o": {"city": "x"}}]}]),
    "children": (
        [customers(), notes(), notes(name="files", table="f", path="/n/{notes.id}", parent="notes")],
        {
            "/customers": {"data": [{"id": 1}, {"id": 2}]},
            "/customers/1/notes": {"data": [{"id": 5, "t": "x"}]},
            "/customers/2/notes": 404,
            "/n/5": {"data": [{"id": 9}]},
        },
    ),
    "parameters of the parent": (
        [customers(), notes(path="/notes", params={"of": "{customers.id}"}, columns=(("id", "id"),))],
        {"/customers": {"data": [{"id": 1}]}, "/notes?of=1": {"data": [{"id": 5, "t": "x"}]}},
    ),
    "a parent's nested field": (
        [customers(), notes(path="/n/{customers.ref.id}", parent_fields=("ref.id",))],
        {"/customers": {"data": [{"id": 1, "ref": {"id": "a/../b"}}]}, "/n/a%2F..%2Fb": {"data": [{"id": 5}]}},
    ),
    "a row from the future": (
        [customers(increment=_CHANGED)],
        [Answer(json={"data": [_SECOND]}, headers={"Date": "Thu, 01 Jan 2026 00:00:07 GMT"})],
    ),
    "nothing": ([customers(increment=_CHANGED)], [{"data": []}]),
    "nothing, not even a body": ([customers(increment=_CHANGED)], [204]),
}  # fmt: skip
FAULTS = {
    "asked to wait": ([customers()], [Answer(status=429, headers={"Retry-After": "7"})]),
    "refused": ([customers()], [Answer(status=403, json={"message": "not yours"})]),
    "an object for a list": ([customers()], [{"data": {"id": 1}}]),
    "an object, nobody knows where": ([customers(rows=None)], [{"data": {"id": 1}}]),
    "rows elsewhere": ([customers()], [{"items": []}]),
    "in circles": ([customers(style=Cursor("next", "after"))], [{"data": [_FIRST], "next": "b"}] * 3),
    "to another place": ([customers(style=LinkHeader())], [Answer(json={"data": [_FIRST]}, next="https://elsewhere.test/")]),
    "field missing": ([customers(increment=_CHANGED)], [{"data": [{"id": 1}]}]),
    "time and number": ([customers(increment=_CHANGED)], [{"data": [{"id": 1, "at": 5}]}]),
    "parent without its field": ([customers(), notes()], [{"data": [{"key": 1}]}]),
    "grant is gone": ([customers()], lambda _request: NeedsConsent("acme must consent")),
    "shut down": ([customers()], lambda _request: Interrupted()),
}  # fmt: skip


def both(resources, answers):
    """How our reading ends, and dlt's."""
    cursor = {"customers": "2026-01-01T00:00:05Z", "other": 1}
    return [outcome(read, resources, answers, cursor) for read in (read_resources, read_with_dlt)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_readings_come_to_the_same(name):
    """Rows, place and requests."""
    ours, dlts = both(*SCENARIOS[name])
    assert ours == dlts
    assert ours[1]["other"] == 1


@pytest.mark.parametrize("name", FAULTS)
def test_both_readings_fail_in_the_same_words(name):
    """The class says what happens next, and nothing of dlt's wrapping is left."""
    ours, dlts = both(*FAULTS[name])
    assert ours == dlts
    assert issubclass(ours[0], WorkerError)


def test_place_is_held_back_by_the_apis_clock_in_both_readings():
    """The scenario above comes to the API's Date, not to the row's own time."""
    assert [one[1]["customers"] for one in both(*SCENARIOS["a row from the future"])] == ["2026-01-01T00:00:07Z"] * 2


@pytest.mark.parametrize("read", [read_resources, read_with_dlt])
def test_backfill_begins_and_ends_where_it_was_told(read):
    """With the page that passes the end; what is read whole each time is left out."""
    resources = [
        customers(style=LinkHeader(), increment=Increment("at", "since", "2020-01-01T00:00:00Z", ascending=True)),
        customers(name="countries", path="/countries", table="x"),
    ]
    result = run_job(
        lambda ctx: read(ctx, resources),
        responses=[
            Answer(json={"data": [{"id": n, "at": f"2026-01-0{n}T00:00:00Z"}]}, next=f"/x?{n}") for n in (1, 2, 3)
        ],
        backfill=("2026-01-01", "2026-01-02"),
    )
    assert result.urls == ["https://api.test/customers?since=2026-01-01T00%3A00%3A00Z", "https://api.test/x?1"]
    assert ([row["id"] for row in result.rows["c"]], result.cursor) == ([1, 2], {"customers": "2026-01-02T00:00:00Z"})


@pytest.mark.parametrize("read", [read_resources, read_with_dlt])
def test_backfill_refuses_a_field_that_counts(read):
    """A time is no number."""
    counted = customers(increment=Increment("number", "after", 0))
    with pytest.raises(WorkerError, match="a backfill asks for times"):
        run_job(lambda ctx: read(ctx, [counted]), responses=[], backfill=("2026-01-01", "2026-01-02"))


def test_reading_by_dlt_says_when_to_come_back():
    """An error of ours comes out of all that dlt wraps around it."""
    with pytest.raises(TryAgainLater) as failed:
        run_job(
            lambda ctx: read_with_dlt(ctx, [customers()]),
            responses=[Answer(status=503, headers={"Retry-After": "9"})],
        )
    assert failed.value.after == 9


def test_reading_by_dlt_leaves_the_log_to_us(caplog, capfd):
    """What dlt has to say goes through our format and scrubbing, and not to standard error by itself."""
    outcome(read_with_dlt, *FAULTS["rows elsewhere"], {})
    logging.getLogger("dlt").warning("said by dlt")
    assert ("said by dlt" in caplog.text, "said by dlt" in capfd.readouterr().err) == (True, False)
