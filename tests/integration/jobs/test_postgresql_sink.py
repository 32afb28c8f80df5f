"""The PostgreSQL sink on a real server, read back with SQL alone."""

from __future__ import annotations

import secrets
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import psycopg
import pytest

from worker.clock import SystemClock
from worker.errors import FenceLost, Misconfigured, TryAgainLater, WorkerError
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.postgresql import PostgresqlSink
from worker.jobs.sinks.values import plain_row

#: What a restart, a failover or an administrator does to the sink's connections.
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headless-worker'"


@pytest.fixture(scope="module")
def url(postgresql_server):
    """A database; each test has a schema of its own in it."""
    return postgresql_server


@pytest.fixture
def schema(url):
    """The name of a schema that is not there yet."""
    name = f"rows_{secrets.token_hex(6)}"
    yield name
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def sink(url, schema):
    """A sink in that schema."""
    return PostgresqlSink("sinks.warehouse", lambda: url, SystemClock(), schema=schema)


def write(sink, stream, rows, *, key=(), table="t", cursor=None, fence=1):
    """One run with one write."""
    with closing(sink.open(stream, fence)) as session:
        return session.write({table: TableBatch([plain_row(row, table) for row in rows], key)}, cursor)


@pytest.fixture
def read(url, schema):
    """What anybody's client sees."""

    def ask(query, *values):
        with psycopg.connect(url, autocommit=True, options=f"-c search_path={schema}") as connection:
            found = connection.execute(query, values or None)
            return found.fetchall() if found.description else []

    return ask


@pytest.fixture
def types(read, schema):
    """Types by column, without the owner's."""

    def ask(table="t"):
        query = (
            "SELECT column_name, data_type FROM information_schema.columns WHERE (table_schema, table_name) = (%s, %s)"
        )
        return {name: kind for name, kind in read(query, schema, table) if not name.startswith("_")}

    return ask


def test_postgresql_types_are_kept(sink, stream, read, types):
    """And are readable as what they are."""
    at = datetime(2026, 3, 2, 9, 30, 0, 5, timezone(timedelta(hours=13)))
    row = {
        "i": 1, "big": 2**63 - 1, "huge": 2**80, "d": Decimal("30.10"), "r": 0.1 + 0.2, "t": "x", "b": True,
        "at": at, "naive": at.replace(tzinfo=None), "j": {"a": [1, "ä"]}, "x": b"\0\xff", "none": None,
    }  # fmt: skip
    write(sink, stream, [row])
    assert types() == {
        "i": "bigint", "big": "bigint", "huge": "numeric", "d": "numeric", "r": "double precision", "t": "text",
        "b": "boolean", "at": "timestamp with time zone", "naive": "text", "j": "jsonb", "x": "bytea",
    }  # fmt: skip
    assert read("SELECT i, big, huge, d, r, t, b, at, naive, j, x FROM t") == [
        (1, 2**63 - 1, 2**80, Decimal("30.10"), 0.1 + 0.2, "x", True, at, "2026-03-02T09:30:00.000005",
         {"a": [1, "ä"]}, b"\0\xff")
    ]  # fmt: skip


@pytest.mark.parametrize("many", [0, 2500])
def test_postgresql_row_with_a_key_takes_the_others_place_whole(sink, stream, read, many):
    """A field that is gone from the source is gone from the sink; alike for a handful and for staged rows."""
    filler = [{"id": 10 + n, "a": "f", "b": "f"} for n in range(many)]
    write(sink, stream, [{"id": 1, "a": "x", "b": "y"}, *filler], key=("id",))
    write(sink, stream, [*filler, {"id": 1, "a": "z"}, {"id": 2}, {"id": 2, "a": "last"}], key=("id",))
    assert read("SELECT id, a, b FROM t WHERE id < 10 ORDER BY id") == [(1, "z", None), (2, "last", None)]
    assert read("SELECT count(*) FROM t WHERE id >= 10 AND b = 'f'") == [(many,)]


def test_postgresql_row_that_has_not_changed_is_not_written_again(sink, stream, read):
    """A full sync of the same rows leaves the table as it is, to the transaction that wrote each row."""
    rows = [{"id": n, "j": {"b": 1, "a": n}, "r": float("nan"), "none": None} for n in range(5)]
    write(sink, stream, rows, key=("id",))
    before = read("SELECT id, xmin::text FROM t ORDER BY id")
    assert write(sink, stream, [*rows[:4], {"id": 4, "j": {}}], key=("id",)) == 5
    after = read("SELECT id, xmin::text FROM t ORDER BY id")
    assert [old == new for old, new in zip(before, after, strict=True)] == [True] * 4 + [False]


def test_postgresql_account_is_part_of_the_key(sink, read):
    """Two accounts may have the same ids."""
    for account in ("acme", "umbrella", "acme"):
        write(sink, Stream("j", "arlo", account), [{"id": 1}], key=("id",))
    assert read("SELECT _integration, _account, id FROM t ORDER BY 2") == [("arlo", "acme", 1), ("arlo", "umbrella", 1)]


@pytest.mark.parametrize("name", ["o'hara", 'a"b', "50%s", "\\", "{x}"])
def test_postgresql_owner_is_just_text(sink, read, name):
    """Accounts are named by operators; the name goes into statements."""
    write(sink, Stream("j", name, name), [{"id": 1}], key=("id",))
    write(sink, Stream("j", name, name), [{"n": 1}], table="no_key")
    assert read("SELECT _integration, _account FROM t UNION SELECT _integration, _account FROM no_key") == [
        (name, name)
    ]


@pytest.mark.parametrize("row", [{"id": None}, {"other": 1}])
def test_postgresql_row_without_its_key_is_refused(sink, stream, read, row):
    """Before any table is made."""
    with pytest.raises(WorkerError, match="no 'id', which is its key"):
        write(sink, stream, [{"id": 1}, row], key=("id",))
    assert read("SELECT to_regclass('t')") == [(None,)]


def test_postgresql_other_key_than_the_tables_is_refused(sink, stream):
    """With both named."""
    write(sink, stream, [{"id": 1, "n": 1}], key=("id",))
    with pytest.raises(WorkerError, match=r"has the key \(id\), but rows were emitted with the key none"):
        write(sink, stream, [{"id": 1, "n": 1}])


_AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


@pytest.mark.parametrize("key", [(), ("k",)])
@pytest.mark.parametrize(
    ("before", "after", "kind", "values"),
    [
        (1, 2.5, "double precision", [1.0, 2.5]),
        (True, 7, "bigint", [1, 7]),
        (True, 2.5, "double precision", [1.0, 2.5]),
        (True, Decimal("2.50"), "numeric", [Decimal(1), Decimal("2.50")]),
        (1, 2**70, "numeric", [Decimal(1), Decimal(2**70)]),
        (0.1 + 0.2, 2**53 + 1, "numeric", [Decimal("0.30000000000000004"), Decimal(2**53 + 1)]),
        (2**53 + 1, 0.5, "numeric", [Decimal(2**53 + 1), Decimal("0.5")]),
        (Decimal("1.10"), 7, "numeric", [Decimal("1.10"), Decimal(7)]),
        (True, "x", "text", ["true", "x"]),
        (7, "007", "text", ["7", "007"]),
        (1e300, "x", "text", ["1e+300", "x"]),
        (Decimal("1.10"), "x", "text", ["1.10", "x"]),
        (b"\xff", "x", "text", ["ff", "x"]),
        (_AT, "soon", "text", ["2026-01-02T03:04:05.000006Z", "soon"]),
        ("soon", _AT, "text", ["soon", "2026-01-02T03:04:05.000006Z"]),
        ({"a": 1}, "x", "text", ['{"a": 1}', "x"]),
        ("x", 7, "text", ["x", "7"]),
    ],
)
def test_postgresql_column_widens_without_losing_a_digit(sink, stream, read, types, key, before, after, kind, values):
    """Whether the wider value comes later or the narrower one does."""
    write(sink, stream, [{"k": 1, "v": before}], key=key)
    write(sink, stream, [{"k": 2, "v": after}], key=key)
    assert types()["v"] == kind
    assert [value for (value,) in read("SELECT v FROM t ORDER BY k")] == values


@pytest.mark.parametrize("value", [0.1, 1e16, 1e15, 123456789012345.0, -1.5e-7, 1e-4, 5.0, -0.0, True, _AT, b"\1"])
def test_postgresql_row_is_found_by_its_key_after_the_key_became_text(sink, stream, read, value):
    """What the server made of the old value and what is sent for the same one are spelt alike."""
    write(sink, stream, [{"id": value, "n": 1}], key=("id",))
    write(sink, stream, [{"id": "text", "n": 2}], key=("id",))
    write(sink, stream, [{"id": value, "n": 3}], key=("id",))
    assert read("SELECT n FROM t ORDER BY n") == [(2,), (3,)]


def test_postgresql_widening_sees_every_row_of_a_checkpoint(sink, stream, read, types):
    """A whole number that a double cannot hold stands far before the first fraction."""
    rows = [{"v": 2**53 + 1}, *({"v": n} for n in range(2500)), {"v": 0.5}]
    write(sink, stream, rows)
    assert types() == {"v": "numeric"}
    assert read("SELECT max(v), min(v) FROM t WHERE v <> 0") == [(Decimal(2**53 + 1), Decimal("0.5"))]


def test_postgresql_characters_it_cannot_hold_are_replaced(sink, stream, read):
    """No text of PostgreSQL has a character of code zero."""
    write(sink, stream, [{"t": "a\0b", "j": {"a\0": ["\0", "\\u0000"]}}])
    assert read("SELECT t, j FROM t") == [("a\ufffdb", {"a\ufffd": ["\ufffd", "\\u0000"]})]


def test_postgresql_column_of_nothing_but_none_waits_for_a_value(sink, stream, types):
    """Until then nobody knows its type."""
    write(sink, stream, [{"a": 1, "b": None}])
    assert types() == {"a": "bigint"}
    write(sink, stream, [{"a": 1, "b": 2.5}])
    assert types() == {"a": "bigint", "b": "double precision"}


def test_postgresql_spellings_of_a_column_are_one_column(sink, stream, read, types):
    """As in the SQLite sink: the same job makes the same columns."""
    write(sink, stream, [{"ID": 1, "v": 1}, {"id": 2, "V": 2}], key=("id",))
    write(sink, stream, [{"Id": 2, "v": 3}], key=("ID",))
    assert types() == {"ID": "bigint", "v": "bigint"}
    assert read('SELECT "ID", v FROM t ORDER BY 1') == [(1, 1), (2, 3)]


def test_postgresql_long_names_stay_different(sink, stream, read, types, schema):
    """PostgreSQL would cut both to the same 63 bytes, silently."""
    first, second = "ä" * 40 + "first", "ä" * 40 + "second"
    write(sink, stream, [{"k": 1, first: 1, second: 2}], key=("k",), table=first)
    write(sink, stream, [{"k": 1, first: "x", second: 3}], key=("k",), table=first)
    write(sink, stream, [{"n": 1}], table=second)
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name LIKE %s"
    tables = read(query, schema, "ä%")
    assert len(tables) == 2
    columns = {name: kind for (table,) in tables for name, kind in types(table).items()}
    assert sorted(columns.values()) == ["bigint", "bigint", "bigint", "text"]
    assert all(len(name.encode()) <= 63 for name in columns)


@pytest.mark.parametrize("name", ['a"b', "select", "a b", "a;--", "100%", "%s", "a.b", "'", "x" * 200, "xmin", "{0}"])
def test_postgresql_any_name_is_just_a_name(sink, stream, read, name, schema):
    """Tables and columns are quoted."""
    for n, value in enumerate([1, "x", "y"]):
        write(sink, stream, [{name: value, "k": n}], table=name, key=("k",))
        write(sink, stream, [{name: value}], table=f"{name}!")
    tables = read("SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = %s", schema)
    counts = [read(f"SELECT count(*) FROM {table}")[0][0] for (table,) in tables if "_worker" not in table]
    assert counts == [3, 3]


@pytest.mark.parametrize(
    ("table", "row", "what"),
    [
        ("_worker_cursor", {"a": 1}, "no name for a table"),
        ("", {"a": 1}, "no name for a table"),
        ("t", {"_Account": 1}, "the sink fills itself"),
    ],
)
def test_postgresql_names_of_its_own_are_refused(sink, stream, table, row, what):
    """A job cannot write to the cursors."""
    with pytest.raises(WorkerError, match=what):
        write(sink, stream, [row], table=table)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("CREATE TABLE t (a int)", "not made by the worker"),
        ("CREATE TABLE t (_integration text, _account text, a date)", '"a" of .*"t" has the type date'),
    ],
)
def test_postgresql_table_of_somebody_else_is_left_alone(sink, stream, read, made, what):
    """Its owner columns are missing, or a type is not ours."""
    write(sink, stream, [{"a": 1}], table="other")
    read(made)
    with pytest.raises(Misconfigured, match=what):
        write(sink, stream, [{"a": 1}])


def test_postgresql_columns_of_the_operator_are_no_hindrance(sink, stream, read):
    """Generated ones, identities, types that no sink writes."""
    write(sink, stream, [{"id": 1, "v": 1}], key=("id",))
    read(
        "ALTER TABLE t ADD twice bigint GENERATED ALWAYS AS (v * 2) STORED, ADD no bigint GENERATED ALWAYS AS IDENTITY"
    )
    read("ALTER TABLE t ADD seen date DEFAULT '2026-01-01'")
    write(sink, stream, [{"id": 1, "v": 2}, {"id": 2, "v": 3}], key=("id",))
    assert read("SELECT id, twice, seen::text FROM t ORDER BY id") == [(1, 4, "2026-01-01"), (2, 6, "2026-01-01")]


def test_postgresql_view_that_forbids_widening_is_told(sink, stream, read):
    """The server does not change a column under a view."""
    write(sink, stream, [{"v": 1}])
    read("CREATE VIEW seen AS SELECT v FROM t")
    with pytest.raises(Misconfigured, match="cannot alter type of a column used by a view") as caught:
        write(sink, stream, [{"v": "x"}])
    assert "drop the views" in caught.value.hint


def test_postgresql_failed_write_leaves_nothing(sink, stream, read):
    """Neither the rows before the fault, nor a table, nor the cursor."""
    with closing(sink.open(stream, 1)) as session:
        batches = {"good": TableBatch([{"a": 1}]), "bad": TableBatch([{"_account": 1}])}
        with pytest.raises(WorkerError):
            session.write(batches, {"at": 1})
        assert read("SELECT to_regclass('good')") == [(None,)]
        assert session.write({"good": TableBatch([{"a": 2}])}, {"at": 2}) == 1
    assert read("SELECT a FROM good") == [(2,)]
    assert sink.read_cursor(stream) == {"at": 2}


def test_postgresql_cursor_is_there_for_the_next_run(sink, stream):
    """By stream; None leaves it as it is."""
    write(sink, stream, [{"a": 1}], cursor={"at": [1, "ä"]})
    write(sink, stream, [{"a": 2}], cursor=None, fence=2)
    with closing(sink.open(stream, 3)) as session:
        assert session.cursor == {"at": [1, "ä"]}
    assert sink.read_cursor(Stream("invoices", "books", "other")) == {}


def test_postgresql_older_run_is_refused_when_a_newer_has_begun(sink, stream, read):
    """Even if the newer has written nothing yet: it has read the cursor."""
    with closing(sink.open(stream, 1)) as older, closing(sink.open(stream, 2)) as newer:
        with pytest.raises(FenceLost):
            older.write({"t": TableBatch([{"a": 1}])}, {"at": 1})
        newer.write({"t": TableBatch([{"a": 2}])}, {"at": 2})
    with pytest.raises(FenceLost):
        sink.open(stream, 1)
    assert read("SELECT a FROM t") == [(2,)]


def test_postgresql_reset_forgets_the_cursor_and_refuses_the_run_under_way(sink, stream, read):
    """Its checkpoint would bring the cursor back. The rows stay, and so does the fence."""
    with closing(sink.open(stream, 5)) as session:
        session.write({"t": TableBatch([{"a": 1}])}, {"at": 1})
        sink.reset(stream)
        with pytest.raises(FenceLost):
            session.write({}, {"at": 2})
    assert (sink.read_cursor(stream), read("SELECT a FROM t")) == ({}, [(1,)])
    sink.open(stream, 5).close()
    with pytest.raises(FenceLost):
        sink.open(stream, 4)


def test_postgresql_reading_a_cursor_creates_nothing(sink, stream, read, schema):
    """A dry run leaves no trace."""
    assert sink.read_cursor(stream) == {}
    sink.reset(stream)
    assert read("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema) == []


def test_postgresql_threads_that_all_change_one_table_lose_nothing(sink, read, types):
    """New tables, columns and wider types from eight runs at once, two of them for the same account."""
    faults = []

    def run(number):
        try:
            with closing(sink.open(Stream(f"job{number}", "i", f"account{number // 2}"), 1)) as session:
                for at in range(6):
                    row = {"id": number * 100 + at, f"c{number}": at, f"late{at}": at, "mixed": [at, "x", 1.5][at % 3]}
                    session.write({"t": TableBatch([row], ("id",)), "log": TableBatch([row])}, {"at": at})
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test says so
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert read("SELECT count(*), count(DISTINCT id) FROM t") == [(48, 48)]
    assert read("SELECT count(*) FROM log") == [(48,)]
    assert types()["mixed"] == "text"


@pytest.mark.parametrize("key", [(), ("id",)])
def test_postgresql_connection_that_is_cut_between_checkpoints_is_made_anew(sink, stream, read, key):
    """A firewall forgot it, or the server was restarted while the job read pages."""
    with closing(sink.open(stream, 1)) as session:
        session.write({"t": TableBatch([{"id": 1}], key)}, {"at": 1})
        read(CUT)
        session.write({"t": TableBatch([{"id": 2}], key)}, {"at": 2})
    assert read("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_postgresql_connection_that_is_cut_within_a_checkpoint_loses_and_doubles_nothing(sink, stream, read):
    """Rows without a key, half of them sent."""
    cuts = iter([True])

    class Rows:
        def __iter__(self):
            for number in range(3000):
                if number == 1500 and next(cuts, False):
                    read(CUT)
                yield {"n": number}

    with closing(sink.open(stream, 1)) as session:
        assert session.write({"t": TableBatch([{"n": -1}])}, {"at": 0}) == 1
        assert session.write({"t": TableBatch(Rows())}, {"at": 1}) == 3000
    assert read("SELECT count(*), count(DISTINCT n) FROM t") == [(3001, 3001)]


def test_postgresql_login_that_was_changed_is_read_again(url, schema, stream, read):
    """Passwords that live for minutes come from a command."""
    answers = iter([url, url.replace("postgres:@", "nobody:@"), url])
    sink = PostgresqlSink("sinks.warehouse", lambda: next(answers), SystemClock(), schema=schema)
    sink.open(stream, 1).close()
    sink.server._url = url.replace("postgres:@", "gone:@")
    with pytest.raises(Misconfigured, match='role "nobody" does not exist'):
        sink.open(stream, 2)
    sink.open(stream, 2).close()


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (lambda url: url.replace("postgres:@", "nobody:@"), Misconfigured, 'role "nobody" does not exist'),
        (lambda url: url.replace("/postgres?", "/nonesuch?"), Misconfigured, "does not exist"),
        (lambda _url: "postgresql://u:hush@127.0.0.1:1/x", TryAgainLater, "Connection refused"),
        (lambda _url: "postgresql://u:hush@h/x?hush=1", Misconfigured, "the URL is malformed"),
        (lambda _url: "postgresql://u:hu sh@h/x", Misconfigured, "the URL is malformed"),
    ],
)
def test_postgresql_that_cannot_be_reached_says_so_without_the_password(url, stream, change, kind, what):
    """One message each."""
    sink = PostgresqlSink("sinks.warehouse", lambda: change(url), SystemClock())
    with pytest.raises(kind, match=what) as caught:
        sink.open(stream, 1)
    assert caught.value.message.startswith("sinks.warehouse: ")
    assert "hush" not in caught.value.message + caught.value.hint
    assert "hu sh" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        ("ALTER ROLE {role} SET default_transaction_read_only = on", Misconfigured, "read-only transaction"),
        ("REVOKE ALL ON SCHEMA {schema} FROM {role}", Misconfigured, "permission denied for schema"),
        ("REVOKE CREATE ON SCHEMA {schema} FROM {role}", Misconfigured, "permission denied for schema"),
        (
            "REVOKE INSERT ON _worker_cursor FROM {role}",
            Misconfigured,
            "permission denied for table _worker_cursor",
        ),
        ("ALTER ROLE {role} SET statement_timeout = '1ms'", TryAgainLater, "statement timeout"),
        ("ALTER ROLE {role} NOLOGIN", Misconfigured, "not permitted to log in"),
        ("ALTER ROLE {role} CONNECTION LIMIT 0", TryAgainLater, "too many connections"),
    ],
)
def test_postgresql_right_that_is_missing_is_named(sink, url, schema, stream, read, statement, kind, what):
    """The server's own words, the sink's name, and what to do."""
    role = f"{schema}_role"
    write(sink, stream, [{"n": 1}])
    read(f"CREATE ROLE {role} LOGIN")
    try:
        read(f"GRANT ALL ON SCHEMA {schema} TO {role}")
        read(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
        read(statement.format(role=role, schema=schema))
        limited = PostgresqlSink(
            "sinks.limited", lambda: url.replace("postgres:@", f"{role}:@"), SystemClock(), schema=schema
        )
        with pytest.raises(kind, match=f"sinks.limited: .*{what}") as caught:
            write(limited, stream, [{"n": n} for n in range(5000)], table="new", fence=2)
        assert caught.value.hint
    finally:
        read(f"DROP OWNED BY {role}")
        read(f"DROP ROLE {role}")
