"""What counts as the same row on both sides."""

from __future__ import annotations

import sqlite3

from worker.cli.demo_story.rows import fingerprint, sink_counts, sink_prints, source_prints

SOURCE = {
    "EventID": "41",
    "UniqueIdentifier": "c039",
    "Status": "Draft",
    "LastModifiedDateTime": "2025-10-15T18:37:36.667897Z",
}
SUNK = SOURCE | {"EventID": 41, "LastModifiedDateTime": "2025-10-15T18:37:36.6678970Z"}


def sink_with(path, rows):
    """A sink's file with these events of alice."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE events"
            " (_account TEXT, EventID INT, UniqueIdentifier TEXT, Status TEXT, LastModifiedDateTime TEXT)"
        )
        connection.executemany(
            "INSERT INTO events VALUES ('alice', :EventID, :UniqueIdentifier, :Status, :LastModifiedDateTime)", rows
        )
    connection.close()
    return path


def test_row_is_the_same_whether_or_not_zeros_are_written():
    """The API leaves trailing zeros out, the sink writes seven digits."""
    assert fingerprint(SOURCE, "EventID") == fingerprint(SUNK, "EventID")


def test_row_differs_by_a_tick():
    """A change in the seventh digit is a change."""
    later = SUNK | {"LastModifiedDateTime": "2025-10-15T18:37:36.6678971Z"}
    assert fingerprint(SOURCE, "EventID") != fingerprint(later, "EventID")


def test_sink_rows_are_compared_by_account(tmp_path):
    """What alice has, bob does not have."""
    sink = sink_with(tmp_path / "data.db", [SUNK])
    assert sink_prints(sink, "events", "alice") == source_prints([SOURCE], "events")
    assert sink_prints(sink, "events", "bob") == set()


def test_sink_without_the_table_has_no_rows(tmp_path):
    """Before the first run there is no table, which is no fault."""
    sink = sink_with(tmp_path / "data.db", [SUNK])
    assert sink_prints(sink, "registrations", "alice") == set()
    assert sink_counts(sink) == {("alice", "events"): 1}


def test_sink_that_is_not_there_has_no_rows(tmp_path):
    """Nor is there a file before the first run; looking makes none."""
    assert sink_counts(tmp_path / "data.db") == {}
    assert not (tmp_path / "data.db").exists()
