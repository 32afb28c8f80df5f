"""Reading REST resources: canned answers, a sink in memory, and everything between them."""

from __future__ import annotations

import pytest

from worker.errors import TryAgainLater, WorkerError
from worker.jobs.paging import Cursor, PageNumber
from worker.jobs.rest.reading import read_resources
from worker.jobs.rest.resource import Increment, Resource, families, filled
from worker.jobs.sinks.memory import MemorySink
from worker.testing import Answer, run_job

_CHANGED = Increment("changed", "since")


def customers(**options):
    """A collection with a key and an increment."""
    return Resource(**{"name": "customers", "path": "/customers", "table": "customers", "key": ("id",)} | options)


def notes(**options):
    """What hangs below a customer."""
    settings = {
        "name": "notes",
        "path": "/customers/{customers.id}/notes",
        "table": "notes",
        "key": ("id",),
        "parent": "customers",
        "parent_fields": ("id",),
    }
    return Resource(**settings | options)


def row(number, minute):
    """A customer who changed in that minute."""
    return {"id": number, "changed": f"2026-01-01T12:{minute:02}:00Z"}


def run(*resources, **arguments):
    """One run."""
    return run_job(lambda ctx: read_resources(ctx, resources), **arguments)


def test_reading_keeps_rows_and_place():
    """Rows as they came, and the place of each resource under its name."""
    result = run(customers(increment=_CHANGED), responses={"/customers": [row(1, 2), row(2, 5)]})
    assert result.rows == {"customers": [row(1, 2), row(2, 5)]}
    assert result.cursor == {"customers": "2026-01-01T12:05:00Z"}


def test_reading_asks_for_what_has_changed():
    """From the place on, less the overlap, beside the params of the config."""
    result = run(
        customers(increment=_CHANGED, params={"status": "all"}),
        responses={"/customers": [row(1, 5)]},
        cursor={"customers": "2026-01-01T12:05:00Z", "other": 7},
    )
    assert result.urls == ["https://api.test/customers?status=all&since=2026-01-01T12%3A04%3A00Z"]
    assert result.cursor == {"customers": "2026-01-01T12:05:00Z", "other": 7}


def test_reading_moves_no_place_before_the_end_of_an_unsorted_list():
    """A thousand rows are committed, and say nothing about what the second page may hold."""
    sink = MemorySink()
    first = [{"id": number, "changed": "2026-01-01T12:30:00Z"} for number in range(1000)]
    pages = [Answer(json=first, next="/customers?page=2"), Answer(status=503)]
    with pytest.raises(TryAgainLater):
        run(customers(increment=_CHANGED), responses=pages, sink=sink)
    assert (len(sink.tables["customers"]), list(sink.cursors.values())) == (1000, [])


def test_reading_moves_the_place_with_each_page_of_a_sorted_list():
    """A thousand rows are committed with their place, although what follows fails."""
    sink = MemorySink()
    first = [{"id": number, "changed": f"2026-01-01T12:{number // 60:02}:{number % 60:02}Z"} for number in range(1000)]
    sorted_list = customers(increment=Increment("changed", "since", ascending=True))
    with pytest.raises(TryAgainLater):
        run(sorted_list, responses=[Answer(json=first, next="/customers?page=2"), Answer(status=503)], sink=sink)
    assert list(sink.cursors.values()) == [{"customers": "2026-01-01T12:16:39Z"}]
    assert len(sink.tables["customers"]) == 1000


def test_reading_gives_the_place_back_when_a_sorted_list_is_not():
    """Rows may hide behind a place that an unsorted list has claimed."""
    sink = MemorySink()
    first = [{"id": number, "changed": "2026-01-01T12:30:00Z"} for number in range(1000)]
    pages = [Answer(json=first, next="/customers?page=2"), Answer(json=[row(1, 2)])]
    with pytest.raises(WorkerError, match="is not sorted"):
        run(customers(increment=Increment("changed", "since", ascending=True)), responses=pages, sink=sink)
    assert list(sink.cursors.values()) == [{}]


def test_reading_commits_rows_without_key_only_at_the_end():
    """They would be there twice after the next try."""
    sink = MemorySink()
    pages = [Answer(json=[{"n": 1}] * 1500, next="/customers?page=2"), Answer(status=503)]
    with pytest.raises(TryAgainLater):
        run(customers(key=()), responses=pages, sink=sink)
    assert sink.tables == {}


def test_reading_refuses_a_field_that_no_row_has():
    """The place would never move, and everything be read again and again."""
    with pytest.raises(WorkerError, match="has 'modified'; they have 'id', 'changed'"):
        run(customers(increment=Increment("modified", "since")), responses={"/customers": [row(1, 2)]})


def test_reading_keeps_selected_fields_under_their_names():
    """Nested ones too; one that is not there is None."""
    columns = (("id", "id"), ("city", "address.city"), ("fax", "fax"))
    answer = [{"id": 1, "address": {"city": "Basel", "street": "x"}, "secret": "y"}]
    result = run(customers(columns=columns), responses={"/customers": answer})
    assert result.rows["customers"] == [{"id": 1, "city": "Basel", "fax": None}]


def test_reading_follows_each_row_to_its_children():
    """They carry the parent's field, and their paging is their own."""
    result = run(
        customers(columns=(("id", "id"),)),
        notes(style=Cursor(path="next")),
        responses={
            "/customers": [{"id": "a/b"}, {"id": 2}],
            "/customers/a%2Fb/notes": {"data": [{"id": 7}], "next": "x"},
            "/customers/a%2Fb/notes?cursor=x": {"data": [{"id": 8}]},
            "/customers/2/notes": {"data": []},
        },
    )
    assert result.rows["notes"] == [{"id": 7, "_customers_id": "a/b"}, {"id": 8, "_customers_id": "a/b"}]


def test_reading_fills_parameters_from_the_parent():
    """Many APIs filter instead of nesting."""
    result = run(
        customers(),
        notes(path="/notes", params={"of": "{customers.id}"}),
        responses={"/customers": [{"id": 3}], "/notes?of=3": [{"id": 7}]},
    )
    assert result.rows["notes"] == [{"id": 7, "_customers_id": 3}]


def test_reading_passes_over_a_child_that_is_gone():
    """Deleted between the list and the look."""
    result = run(
        customers(), notes(), responses={"/customers": [{"id": 1}, {"id": 2}], "/customers/1/notes": 404,
                                         "/customers/2/notes": [{"id": 7}]}
    )  # fmt: skip
    assert [row["id"] for row in result.rows["notes"]] == [7]


def test_reading_does_not_pass_over_a_child_that_is_forbidden():
    """Only what is gone is gone."""
    with pytest.raises(WorkerError, match="403"):
        run(customers(), notes(), responses={"/customers": [{"id": 1}], "/customers/1/notes": 403})


def test_reading_of_one_root_stays_when_another_fails():
    """Each root is committed by itself."""
    sink = MemorySink()
    with pytest.raises(WorkerError, match="404"):
        run(
            customers(),
            customers(name="orders", path="/orders", table="orders"),
            responses={"/customers": [{"id": 1}], "/orders": 404},
            sink=sink,
        )
    assert sink.tables == {"customers": [{"id": 1}]}


def test_reading_pages_as_told():
    """A style with its settings."""
    result = run(
        customers(style=PageNumber(limit=2, limit_parameter="size")),
        responses={"/customers?size=2&page=1": [{"id": 1}, {"id": 2}], "/customers?size=2&page=2": [{"id": 3}]},
    )
    assert [row["id"] for row in result.rows["customers"]] == [1, 2, 3]


def test_reading_takes_away_what_a_full_list_no_longer_names():
    """A second run over a sink that has more; what hangs below a customer who is gone goes with him."""
    sink = MemorySink()
    resources = (customers(deletions=True), notes(deletions=True))
    many = {"/customers": [{"id": number} for number in range(1, 4)]}
    below = {f"/customers/{number}/notes": [{"id": number}] for number in range(1, 4)}
    run(*resources, responses=many | below, sink=sink)
    run(*resources, responses=below | {"/customers": [{"id": 1}, {"id": 3}]}, sink=sink)
    assert [row["id"] for row in sink.tables["customers"]] == [1, 3]
    assert [row["id"] for row in sink.tables["notes"]] == [1, 3]


def test_families_stand_by_root():
    """A grandchild belongs to its grandparent."""
    other = customers(name="orders")
    grandchild = notes(name="files", parent="notes")
    found = families([customers(), other, notes(), grandchild])
    assert [[member.name for member in family.members] for family in found] == [
        ["customers", "notes", "files"],
        ["orders"],
    ]


@pytest.mark.parametrize("value", [None, {"x": 1}, [1]])
def test_path_refuses_a_row_without_its_field(value):
    """A request to /customers/None/notes would be answered with something."""
    with pytest.raises(WorkerError, match="has no 'id'"):
        filled("/customers/{customers.id}/notes", {"id": value}, in_path=True)
