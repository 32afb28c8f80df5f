"""The SQLite sink in real files, read back with SQLite alone."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from worker.clock import SystemClock
from worker.errors import Busy, FenceLost, Misconfigured, WorkerError
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.sqlite import SqliteSink
from worker.jobs.sinks.values import plain_row


def write(sink, stream, rows, *, key=(), table="t", cursor=None, fence=1):
    """One run with one write."""
    with closing(sink.open(stream, fence)) as session:
        return session.write({table: TableBatch([plain_row(row, table) for row in rows], key)}, cursor)


def read(sink, query):
    """What anybody's SQLite sees."""
    with closing(sqlite3.connect(sink.path)) as connection:
        return connection.execute(query).fetchall()


def types(sink, table="t"):
    """Declared types by column, without the owner's."""
    found = read(sink, f"SELECT name, type FROM pragma_table_info('{table}')")
    return {name: kind for name, kind in found if not name.startswith("_")}


def test_sqlite_file_and_folder_are_private_from_the_start(sqlite_sink, stream):
    """0600 in 0700, whatever the umask."""
    before = os.umask(0)
    try:
        write(sqlite_sink, stream, [{"n": 1}])
    finally:
        os.umask(before)
    assert stat.S_IMODE(sqlite_sink.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(sqlite_sink.path.parent.stat().st_mode) == 0o700


def test_sqlite_types_are_kept(sqlite_sink, stream):
    """And are readable as what they are."""
    row = {"i": 1, "r": 1.5, "t": "x", "b": True, "j": {"a": [1]}, "x": b"\0", "none": None}
    write(sqlite_sink, stream, [row])
    assert types(sqlite_sink) == {"i": "INTEGER", "r": "REAL", "t": "TEXT", "b": "BOOLEAN", "j": "JSON", "x": "BLOB"}
    assert read(sqlite_sink, "SELECT i, r, t, b, json_extract(j, '$.a[0]'), x FROM t") == [(1, 1.5, "x", 1, 1, b"\0")]


def test_sqlite_row_with_a_key_takes_the_others_place_whole(sqlite_sink, stream):
    """A field that is gone from the source is gone from the sink."""
    write(sqlite_sink, stream, [{"id": 1, "a": "x", "b": "y"}], key=("id",))
    write(sqlite_sink, stream, [{"id": 1, "a": "z"}, {"id": 2}], key=("id",))
    assert read(sqlite_sink, "SELECT id, a, b FROM t ORDER BY id") == [(1, "z", None), (2, None, None)]


def test_sqlite_last_of_several_rows_with_one_key_wins(sqlite_sink, stream):
    """Within one write as across writes."""
    write(sqlite_sink, stream, [{"id": 1, "a": n} for n in range(5)], key=("id",))
    assert read(sqlite_sink, "SELECT id, a FROM t") == [(1, 4)]


def test_sqlite_rows_without_a_key_are_added(sqlite_sink, stream):
    """Also equal ones."""
    write(sqlite_sink, stream, [{"a": 1}, {"a": 1}])
    assert read(sqlite_sink, "SELECT a FROM t") == [(1,), (1,)]


def test_sqlite_accounts_share_a_table_and_keep_their_rows(sqlite_sink):
    """The key holds within integration and account."""
    for account in ("acme", "umbrella"):
        write(sqlite_sink, Stream("j", "arlo", account), [{"id": 1}], key=("id",))
    assert read(sqlite_sink, "SELECT _integration, _account, id FROM t") == [
        ("arlo", "acme", 1),
        ("arlo", "umbrella", 1),
    ]


def test_sqlite_key_of_several_columns(sqlite_sink, stream):
    """A row is the same only if all of them are."""
    write(sqlite_sink, stream, [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}], key=("a", "b"))
    assert read(sqlite_sink, "SELECT a, b FROM t") == [(1, 1), (1, 2)]


@pytest.mark.parametrize("row", [{"id": None}, {"other": 1}])
def test_sqlite_row_without_its_key_is_refused(sqlite_sink, stream, row):
    """NULLs are all different to SQLite: such rows would pile up."""
    with pytest.raises(WorkerError, match="no 'id', which is its key"):
        write(sqlite_sink, stream, [{"id": 1}, row], key=("id",))
    assert read(sqlite_sink, "SELECT name FROM sqlite_schema WHERE name = 't'") == []


def test_sqlite_other_key_than_the_tables_is_refused(sqlite_sink, stream):
    """With both named."""
    write(sqlite_sink, stream, [{"id": 1, "n": 1}], key=("id",))
    with pytest.raises(WorkerError, match=r"has the key \(id\), but rows were emitted with the key none"):
        write(sqlite_sink, stream, [{"id": 1, "n": 1}])


@pytest.mark.parametrize("key", [(), ("k",)])
@pytest.mark.parametrize(
    ("before", "after", "kind", "values"),
    [
        (1, 2.5, "REAL", [1.0, 2.5]),
        (True, 7, "INTEGER", [1, 7]),
        (True, "x", "TEXT", ["true", "x"]),
        (7, "007", "TEXT", ["7", "007"]),
        (0.1 + 0.2, "x", "TEXT", ["0.30000000000000004", "x"]),
        ({"a": 1}, "x", "TEXT", ['{"a":1}', "x"]),
        (b"\xff", "x", "TEXT", ["ff", "x"]),
        ("x", 7, "TEXT", ["x", "7"]),
        (2**53 + 1, 0.5, "TEXT", [str(2**53 + 1), "0.5"]),
        (0.5, 2**53 + 1, "TEXT", ["0.5", str(2**53 + 1)]),
        (1, 2**80, "TEXT", ["1", str(2**80)]),
    ],
)
def test_sqlite_column_widens_without_losing_a_digit(sqlite_sink, stream, key, before, after, kind, values):
    """Whether the wider value comes later or the narrower one does."""
    write(sqlite_sink, stream, [{"k": 1, "v": before}], key=key)
    write(sqlite_sink, stream, [{"k": 2, "v": after}], key=key)
    assert types(sqlite_sink)["v"] == kind
    assert [value for (value,) in read(sqlite_sink, "SELECT v FROM t ORDER BY k")] == values


def test_sqlite_key_column_may_widen(sqlite_sink, stream):
    """Numbers became codes: old rows are still found by their key."""
    write(sqlite_sink, stream, [{"id": 1, "v": "old"}], key=("id",))
    write(sqlite_sink, stream, [{"id": "1", "v": "new"}, {"id": "01", "v": "other"}], key=("id",))
    assert read(sqlite_sink, "SELECT id, v FROM t ORDER BY v") == [("1", "new"), ("01", "other")]


def test_sqlite_indexes_triggers_and_views_outlive_widening(sqlite_sink, stream):
    """Somebody has built on the table."""
    write(sqlite_sink, stream, [{"id": 1, "v": 1}], key=("id",))
    with closing(sqlite3.connect(sqlite_sink.path)) as connection:
        connection.executescript(
            "CREATE INDEX by_v ON t (v); CREATE VIEW seen AS SELECT v FROM t; CREATE TABLE log (v);"
            "CREATE TRIGGER watch AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); END"
        )
    write(sqlite_sink, stream, [{"id": 2, "v": "x"}], key=("id",))
    names = {name for (name,) in read(sqlite_sink, "SELECT name FROM sqlite_schema")}
    assert {"by_v", "watch"} <= names
    assert read(sqlite_sink, "SELECT v FROM seen") == [("1",), ("x",)]
    assert read(sqlite_sink, "SELECT v FROM log") == [("x",)]


def test_sqlite_columns_appear_as_the_data_names_them(sqlite_sink, stream):
    """Within a write and across writes, more than one chunk apart."""
    rows = [{"n": n} for n in range(1500)] + [{"n": 1500, "late": "x"}]
    write(sqlite_sink, stream, rows)
    write(sqlite_sink, stream, [{"later": 1}])
    assert read(sqlite_sink, "SELECT count(*), count(n), count(late), count(later) FROM t") == [(1502, 1501, 1, 1)]


def test_sqlite_column_of_nothing_but_none_waits_for_a_value(sqlite_sink, stream):
    """Until then nobody knows its type."""
    write(sqlite_sink, stream, [{"a": 1, "b": None}])
    assert types(sqlite_sink) == {"a": "INTEGER"}
    write(sqlite_sink, stream, [{"a": 1, "b": 2.5}])
    assert types(sqlite_sink) == {"a": "INTEGER", "b": "REAL"}


def test_sqlite_spellings_of_a_column_are_one_column(sqlite_sink, stream):
    """SQLite compares names without regard to case; the first spelling stays."""
    write(sqlite_sink, stream, [{"ID": 1, "v": 1}, {"id": 2, "V": 2}], key=("id",))
    write(sqlite_sink, stream, [{"Id": 2, "v": 3}], key=("ID",))
    assert types(sqlite_sink) == {"ID": "INTEGER", "v": "INTEGER"}
    assert read(sqlite_sink, "SELECT ID, v FROM t") == [(1, 1), (2, 3)]


def test_sqlite_row_with_two_spellings_that_differ_is_refused(sqlite_sink, stream):
    """One of the values would be lost."""
    write(sqlite_sink, stream, [{"id": 1, "ID": 1}, {"id": 2, "ID": None}])
    with pytest.raises(WorkerError, match="'id' and 'ID' with different values"):
        write(sqlite_sink, stream, [{"id": 1, "ID": "x"}])


@pytest.mark.parametrize("name", ['a"b', "select", "a b", "a;--", "ä", "a.b", "[x]", "'", "x" * 200])
def test_sqlite_any_name_is_just_a_name(sqlite_sink, stream, name):
    """Tables and columns are quoted."""
    write(sqlite_sink, stream, [{name: 1, "k": 1}], table=name, key=("k",))
    write(sqlite_sink, stream, [{name: "x", "k": 2}], table=name, key=("k",))
    quoted = '"' + name.replace('"', '""') + '"'
    assert read(sqlite_sink, f"SELECT {quoted} FROM {quoted}") == [("1",), ("x",)]


@pytest.mark.parametrize(
    ("table", "row", "what"),
    [
        ("_worker_cursor", {"a": 1}, "no name for a table"),
        ("SQLITE_x", {"a": 1}, "no name for a table"),
        ("", {"a": 1}, "no name for a table"),
        ("t", {"_Account": 1}, "the sink fills itself"),
    ],
)
def test_sqlite_names_of_its_own_are_refused(sqlite_sink, stream, table, row, what):
    """A job cannot write to the cursors."""
    with pytest.raises(WorkerError, match=what):
        write(sqlite_sink, stream, [row], table=table)


def test_sqlite_table_of_somebody_else_is_left_alone(sqlite_sink, stream):
    """It has no owner columns, so it was not made here."""
    write(sqlite_sink, stream, [{"a": 1}])
    with closing(sqlite3.connect(sqlite_sink.path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(Misconfigured, match="not made by the worker"):
        write(sqlite_sink, stream, [{"a": 1}], table="theirs")


def test_sqlite_failed_write_leaves_nothing(sqlite_sink, stream):
    """Neither the rows before the fault, nor a table, nor the cursor."""
    with closing(sqlite_sink.open(stream, 1)) as session:
        batches = {"good": TableBatch([{"a": 1}]), "bad": TableBatch([{"_account": 1}])}
        with pytest.raises(WorkerError):
            session.write(batches, {"at": 1})
        assert session.write({"good": TableBatch([{"a": 2}])}, {"at": 2}) == 1
    assert read(sqlite_sink, "SELECT a FROM good") == [(2,)]
    assert sqlite_sink.read_cursor(stream) == {"at": 2}


def test_sqlite_cursor_is_there_for_the_next_run(sqlite_sink, stream):
    """By stream; None leaves it as it is."""
    write(sqlite_sink, stream, [{"a": 1}], cursor={"at": [1, "ä"]})
    write(sqlite_sink, stream, [{"a": 2}], cursor=None, fence=2)
    with closing(sqlite_sink.open(stream, 3)) as session:
        assert session.cursor == {"at": [1, "ä"]}
    assert sqlite_sink.read_cursor(Stream("invoices", "books", "other")) == {}


def test_sqlite_older_run_is_refused_when_a_newer_has_begun(sqlite_sink, stream):
    """Even if the newer has written nothing yet: it has read the cursor."""
    with closing(sqlite_sink.open(stream, 1)) as older, closing(sqlite_sink.open(stream, 2)) as newer:
        with pytest.raises(FenceLost):
            older.write({"t": TableBatch([{"a": 1}])}, {"at": 1})
        newer.write({"t": TableBatch([{"a": 2}])}, {"at": 2})
    with pytest.raises(FenceLost):
        sqlite_sink.open(stream, 1)
    assert read(sqlite_sink, "SELECT a FROM t") == [(2,)]


def test_sqlite_reset_forgets_the_cursor_and_refuses_the_run_under_way(sqlite_sink, stream):
    """Its checkpoint would bring the cursor back. The rows stay, and so does the fence."""
    with closing(sqlite_sink.open(stream, 5)) as session:
        session.write({"t": TableBatch([{"a": 1}])}, {"at": 1})
        sqlite_sink.reset(stream)
        with pytest.raises(FenceLost):
            session.write({}, {"at": 2})
    assert (sqlite_sink.read_cursor(stream), read(sqlite_sink, "SELECT a FROM t")) == ({}, [(1,)])
    sqlite_sink.open(stream, 5).close()
    with pytest.raises(FenceLost):
        sqlite_sink.open(stream, 4)


def test_sqlite_reading_a_cursor_creates_nothing(sqlite_sink, stream):
    """A dry run leaves no trace."""
    assert sqlite_sink.read_cursor(stream) == {}
    sqlite_sink.reset(stream)
    assert not sqlite_sink.path.parent.exists()


def test_sqlite_commits_are_durable(sqlite_sink, stream):
    """synchronous=EXTRA on the rollback journal."""
    with closing(sqlite_sink.open(stream, 1)) as session:
        found = [
            session._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
        ]
    assert found == [3, "delete"]


def test_sqlite_held_by_somebody_else_for_too_long_is_busy(sqlite_sink, stream):
    """Try again later, and what to do about it."""
    write(sqlite_sink, stream, [{"a": 1}])
    with closing(sqlite3.connect(sqlite_sink.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        impatient = SqliteSink(sqlite_sink.path, SystemClock(), busy_timeout=0.05)
        with pytest.raises(Busy, match=r"data\.db is held by another process"):
            impatient.open(stream, 2)


def test_sqlite_file_that_is_none_says_so(sqlite_sink, stream):
    """Instead of overwriting it."""
    sqlite_sink.path.parent.mkdir()
    sqlite_sink.path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(Misconfigured, match=r"data\.db is damaged or no SQLite database"):
        sqlite_sink.open(stream, 1)


def test_sqlite_path_that_cannot_be_made_is_named(stream, tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "state").write_text("")
    with pytest.raises(WorkerError, match=r"state.*: (Not a directory|File exists)"):
        SqliteSink(tmp_path / "state" / "data.db", SystemClock()).open(stream, 1)
