"""What jobs/arlo.py makes of contacts, orders, merges and deletions: rows in a real SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from arlo_run import stored


def query(sink, text):
    with closing(sqlite3.connect(sink.path)) as connection:
        return connection.execute(text).fetchall()


def test_arlo_orders_come_with_their_lines_in_the_same_page(arlo, sqlite_sink):
    """300 orders and 600 lines: two pages of orders, and no request for lines."""
    arlo.run("orders", sqlite_sink)
    assert query(sqlite_sink, "SELECT count(*) FROM orderlines") == [(600,)]
    assert not [url for url in arlo.asked if "/lines/" in url]


def test_arlo_lines_beyond_the_nested_page_are_fetched(arlo, sqlite_sink):
    """The nested list says that it goes on."""
    arlo.sandbox.insert("orderlines", 360, owner=91)
    arlo.run("orders", sqlite_sink)
    source = {row["OrderLineID"] for row in arlo.sandbox.rows("orderlines") if row["Order/ID"] == "91"}
    assert {
        str(number) for (number,) in query(sqlite_sink, "SELECT OrderLineID FROM orderlines WHERE OrderID = 91")
    } == source
    assert len([url for url in arlo.asked if "/lines/" in url]) == 2


def test_arlo_amounts_are_exact_and_have_the_digits_that_came(arlo, sqlite_sink):
    """Text in SQLite: a binary fraction would not hold a tenth of a cent."""
    arlo.run("orders", sqlite_sink)
    source = {int(row["OrderLineID"]): row for row in arlo.sandbox.rows("orderlines")}
    found = query(sqlite_sink, "SELECT OrderLineID, UnitAmount, LineAmount, typeof(UnitAmount) FROM orderlines")
    assert [
        one for one in found if one[1:] != (source[one[0]]["UnitAmount"], source[one[0]]["LineAmount"], "text")
    ] == []
    assert query(sqlite_sink, "SELECT DISTINCT typeof(LineAmountsTaxInclusive) FROM orders") == [("integer",)]


def test_arlo_line_that_is_gone_is_told_by_its_orders_time(arlo, sqlite_sink):
    """A line has no time of its own; it is current where its order's is the same."""
    arlo.run("orders", sqlite_sink)
    [(line,)] = query(sqlite_sink, "SELECT min(OrderLineID) FROM orderlines")
    arlo.sandbox.delete("orderlines", numbers=[line])
    arlo.run("orders", sqlite_sink)
    current = query(
        sqlite_sink,
        "SELECT OrderLineID FROM orderlines JOIN orders USING (OrderID) "
        "WHERE OrderLastModifiedDateTime = orders.LastModifiedDateTime",
    )
    assert len(current) == 599
    assert (line,) not in current


def test_arlo_merged_contact_keeps_a_row_that_says_where_it_went(arlo, sqlite_sink):
    """However often it was merged; nothing personal is left in it, and the merges are a table."""
    arlo.run("contacts", sqlite_sink)
    arlo.sandbox.merge(512, 513)
    arlo.sandbox.merge(513, 514)
    arlo.run("contacts", sqlite_sink)
    columns = "ContactID, Status, MergedIntoContactID, FirstName, Email"
    found = query(sqlite_sink, f"SELECT {columns} FROM contacts WHERE ContactID < 514 ORDER BY 1")
    assert found == [(512, "Merged", 514, None, None), (513, "Merged", 514, None, None)]
    merges = query(
        sqlite_sink, "SELECT SourceContactID, DestinationContactID, CreatedDateTimeOffset FROM contact_merges"
    )
    assert sorted(merges) == [(512, 513, "+13:00"), (513, 514, "+13:00")]


def test_arlo_merge_into_a_contact_that_was_deleted_still_retires(arlo, sqlite_sink):
    """308, and 404 behind it."""
    arlo.run("contacts", sqlite_sink)
    arlo.sandbox.merge(512, 513)
    arlo.sandbox.delete("contacts", numbers=[513])
    arlo.run("contacts", sqlite_sink)
    assert query(sqlite_sink, "SELECT MergedIntoContactID FROM contacts WHERE ContactID = 512") == [(513,)]


@pytest.mark.parametrize(("job", "column"), [("registrations", "ContactID"), ("orders", "BillToContactID")])
def test_arlo_rows_of_a_merged_contact_follow_it_without_having_changed(arlo, sqlite_sink, job, column):
    """The merge leaves their LastModifiedDateTime alone, so that no list of changes has them."""
    arlo.run(job, sqlite_sink)
    [(source, count)] = query(sqlite_sink, f"SELECT {column}, count(*) FROM {job} GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
    into = 512 if source != 512 else 513
    arlo.sandbox.merge(source, into)
    arlo.run(job, sqlite_sink)
    moved = query(sqlite_sink, f"SELECT count(*) FROM {job} WHERE {column} = {into}")
    assert query(sqlite_sink, f"SELECT count(*) FROM {job} WHERE {column} = {source}") == [(0,)]
    assert moved[0][0] >= count


def test_arlo_merges_are_looked_at_once_they_are_settled(arlo, sqlite_sink):
    """The next run asks for what came since, and touches no contact again."""
    arlo.run("contacts", sqlite_sink)
    arlo.sandbox.merge(512, 513)
    arlo.sandbox.advance(60)
    arlo.run("contacts", sqlite_sink, settle=2)
    arlo.run("contacts", sqlite_sink, settle=2)
    assert not [url for url in arlo.asked if url.endswith(("contacts/512/", "contacts/513/"))]


def test_arlo_merges_newer_than_the_servers_clock_allows_are_looked_at_once_more(arlo, sqlite_sink):
    """One that shows late could lie before them."""
    arlo.run("contacts", sqlite_sink)
    arlo.sandbox.merge(512, 513)
    arlo.run("contacts", sqlite_sink, settle=60)
    arlo.run("contacts", sqlite_sink, settle=60)
    assert [url for url in arlo.asked if url.endswith("contacts/512/")]


def test_arlo_deletions_take_away_what_no_list_of_changes_tells(arlo, sqlite_sink):
    """Rows, an order's lines with it, and neither a merged contact nor anything that is there."""
    for job in ("events", "registrations", "contacts", "orders"):
        arlo.run(job, sqlite_sink)
    arlo.sandbox.merge(512, 513)
    arlo.run("contacts", sqlite_sink)
    arlo.sandbox.delete("events", numbers=[41, 42])
    arlo.sandbox.delete("orders", numbers=[91])
    arlo.run("deletions", sqlite_sink)
    found = stored(sqlite_sink.path)
    assert {name: len(rows) for name, rows in found.items() if name not in {"orderlines", "merged"}} == {
        "events": 298, "registrations": 300, "contacts": 299, "orders": 299,
    }  # fmt: skip
    assert found["orderlines"].keys() == {int(row["OrderLineID"]) for row in arlo.sandbox.rows("orderlines")}
    assert found["merged"] == {512: 513}


def test_arlo_deletions_ask_for_ids_alone(arlo, sqlite_sink):
    """Nothing is expanded but the lists of lines, which are reached through their orders only."""
    arlo.run("events", sqlite_sink)
    arlo.run("deletions", sqlite_sink, tables=["events"])
    assert len(arlo.asked) == 2
    assert not [url for url in arlo.asked if "expand" in url]


def test_arlo_rows_that_come_while_deletions_are_listed_stay(arlo, sqlite_sink):
    """A row with a lower id than the page that was just read is delivered by the other job meanwhile."""
    arlo.run("events", sqlite_sink)
    arlo.sandbox.insert("events", 1)

    def meanwhile(number):
        if number == 2:  # the listing is over
            arlo.after_page = lambda _: None
            arlo.sandbox.insert("events", 3)
            arlo.run_within(arlo.new_session(), "events", sqlite_sink)

    arlo.after_page = meanwhile
    arlo.run("deletions", sqlite_sink, tables=["events"])
    assert query(sqlite_sink, "SELECT count(*) FROM events") == [(304,)]


def test_arlo_large_collection_is_read_whole_while_it_changes(make_arlo, sqlite_sink):
    """20 000 registrations; 3000 get one moment while they are read, others come, change and go."""
    arlo = make_arlo(rows=20_000)
    changes = {
        10: lambda: arlo.sandbox.touch("registrations", 3000, equal=True),
        20: lambda: arlo.sandbox.insert("registrations", 60, equal=True),
        30: lambda: arlo.sandbox.delete("registrations", 50),
        85: lambda: arlo.sandbox.touch("registrations", 400),
    }
    arlo.after_page = lambda number: changes.pop(number, lambda: None)()
    arlo.run("registrations", sqlite_sink, settle=2)
    arlo.sandbox.advance(60)
    arlo.run("registrations", sqlite_sink, settle=2)
    arlo.run("deletions", sqlite_sink, tables=["registrations"])
    source = {
        (int(row["RegistrationID"]), int(row["Contact/ID"]), row["Grade"] or None)
        for row in arlo.sandbox.rows("registrations")
    }
    assert changes == {}
    assert set(query(sqlite_sink, "SELECT RegistrationID, ContactID, Grade FROM registrations")) == source
