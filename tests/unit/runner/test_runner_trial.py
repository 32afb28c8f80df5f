"""Running a job by hand: where it begins, and where its rows go."""

from __future__ import annotations

from decimal import Decimal

import pytest

from worker.errors import UsageFault
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.memory import MemorySink
from worker.runner.trial import SinceSink, dry_sink, read_since

STREAM = Stream("invoices", "books", "acme")


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ('{"changed": "2026-01-01", "id": 7}', {"changed": "2026-01-01", "id": 7}),
        ("changed=2026-01-01T00:00:00Z", {"changed": "2026-01-01T00:00:00Z"}),
        ("changed=2026-01-01,id=7", {"changed": "2026-01-01", "id": "7"}),
        ("{}", {}),
        ("query=a=b", {"query": "a=b"}),
    ],
)
def test_since_is_read_as_json_or_pairs(text, cursor):
    """Both ways to write a cursor."""
    assert read_since(text) == cursor


@pytest.mark.parametrize("text", ["", "yesterday", "[1]", "7", '"x"', "=1", "a=1,b"])
def test_since_that_is_no_cursor_is_refused(text):
    """With the two ways to write one."""
    with pytest.raises(UsageFault, match="no cursor"):
        read_since(text)


def test_dry_sink_begins_where_the_real_one_stands():
    """A dry run shows what the next run would bring."""
    real = MemorySink({STREAM: {"changed": "a"}})
    assert dry_sink(real, STREAM, None).open(STREAM, 1).cursor == {"changed": "a"}


def test_since_names_only_what_the_job_reads():
    """Another name would stay in the cursor for good, and the run begin anew."""
    assert read_since("customers=7", ["customers"]) == {"customers": "7"}
    with pytest.raises(UsageFault, match="is called custmers") as caught:
        read_since("customers=7,custmers=2026", ["customers", "orders"])
    assert caught.value.hint == "those with incremental: customers, orders"


def test_dry_sink_begins_at_since():
    """Or what a run from elsewhere would."""
    real = MemorySink({STREAM: {"changed": "b"}})
    assert dry_sink(real, STREAM, {"changed": "a"}).open(STREAM, 1).cursor == {"changed": "a"}


def test_dry_sink_leaves_the_real_one_alone():
    """Neither rows nor cursor."""
    real = MemorySink({STREAM: {"changed": "a"}})
    dry_sink(real, STREAM, None).open(STREAM, 1).write({"invoices": TableBatch([{"id": 1}])}, {"changed": "b"})
    assert (real.tables, real.read_cursor(STREAM)) == ({}, {"changed": "a"})


def test_since_sink_begins_there_and_writes_to_the_real_one():
    """Rows and cursor of a run with --since are kept."""
    real = MemorySink({STREAM: {"changed": "z"}})
    session = SinceSink(real, {"changed": "a"}).open(STREAM, 1)
    begun = session.cursor
    session.write({"invoices": TableBatch([{"id": 1}])}, {"changed": "b"})
    session.close()
    assert (begun, real.tables, real.read_cursor(STREAM)) == (
        {"changed": "a"},
        {"invoices": [{"id": 1}]},
        {"changed": "b"},
    )


def test_dry_sink_tells_types_and_keys():
    """As they came, and not as a sink keeps them."""
    trial = dry_sink(MemorySink(), STREAM, None)
    rows = [{"id": 1, "total": Decimal(2)}, {"id": 2, "total": None, "note": "x"}]
    trial.open(STREAM, 1).write({"invoices": TableBatch(rows, ("id",))}, None)
    assert trial.types == {"invoices": {"id": ["int"], "total": ["Decimal", "None"], "note": ["str"]}}
    assert trial.keys == {"invoices": ("id",)}
