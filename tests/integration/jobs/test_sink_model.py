"""Any sequence of rows, checkpoints, crashes and changes of the data's shape leaves a sink equal to a simple model."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.jobs.buffer import Buffer
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.jsonl_manifest import MANIFEST
from worker.jobs.sinks.jsonl_segments import Rotation
from worker.jobs.sinks.postgresql import PostgresqlSink
from worker.jobs.sinks.sqlite import SqliteSink
from worker.testing import ManualClock

STREAM = Stream("j", "i", "acme")
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headless-worker'"

_times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - the zone is drawn, too
    lambda at: at.replace(tzinfo=timezone(timedelta(hours=at.second % 24 - 12)))
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4),
    st.binary(max_size=3),
    _times,
    st.lists(st.integers(0, 3) | st.text("ab", max_size=2), max_size=2),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3), max_size=2),
)
#: `mixed` takes every type in turn, so the tables change all the time; `late…` are columns that come and go.
_rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 5)},
        optional={"mixed": _scalars, "late1": st.integers(0, 3), "LATE2": _scalars, "x" * 70: st.integers()},
    ),
    min_size=1,
    max_size=6,
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.sampled_from(["keyed", "log"]), _rows),
        st.tuples(st.just("checkpoint")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("crash within")),
        st.tuples(st.just("cut")),
        st.tuples(st.just("wait")),
    ),
    max_size=25,
)


class Crash(Exception):
    """What stands for the end of the process: nothing after it is done by the run it hits."""


def half(batch):
    """The rows of a batch, up to a crash in the middle."""
    rows = list(batch.rows)
    yield from rows[: len(rows) // 2]
    raise Crash


class CrashingSession:
    """Takes half of the rows of a checkpoint, then crashes."""

    def __init__(self, session):
        self._session, self.cursor, self.close = session, session.cursor, session.close

    def write(self, batches, cursor):
        return self._session.write(
            {name: TableBatch(half(batch), batch.key) for name, batch in batches.items()}, cursor
        )


class Bench:
    """One sink, driven by steps, and what it must hold."""

    def __init__(self, place):
        self.place, self.fence, self.at = place, 0, 0
        self.keyed, self.log, self.pending = {}, [], []
        self.begin()

    def begin(self, wrap=lambda session: session):
        """A new run; `wrap` stands between it and the sink."""
        self.fence += 1
        self.session = self.place.sink.open(STREAM, self.fence)
        assert self.session.cursor.get("at", 0) == self.at
        self.buffer, self.pending = Buffer(wrap(self.session)), []

    def end(self):
        """The run is over; what was not committed is gone."""
        self.buffer.discard()
        self.session.close()

    def take(self, step, *details):
        """One step."""
        if step == "emit":
            table, rows = details
            self.buffer.emit(table, rows, key="id" if table == "keyed" else None)
            self.pending += [(table, row) for row in rows]
        elif step == "checkpoint":
            self.at += 1
            self.buffer.checkpoint(at=self.at)
            for table, row in self.pending:
                if table == "keyed":
                    self.keyed[row["id"]] = row
                else:
                    self.log.append(row)
            self.pending = []
        elif step == "crash within" and self.pending:
            self.buffer._session = CrashingSession(self.session)
            with contextlib.suppress(Crash):
                self.buffer.checkpoint(at=self.at + 1)
                pytest.fail("the rows came to an end")
        elif step in {"cut", "wait"}:
            getattr(self.place, step)()
        if step.startswith("crash"):
            self.end()
            self.begin()

    def check(self):
        """The sink is equal to the model."""
        assert self.place.sink.read_cursor(STREAM).get("at", 0) == self.at
        for found, model in ((self.place.rows("log"), self.log), (self.place.keyed(), self.keyed.values())):
            assert sorted(map(shown, found)) == sorted(shown(self.place.written(row)) for row in model)


def shown(row):
    """A row in one spelling for whatever a sink has made of its values."""
    return repr(sorted((name[:9].lower(), canonical(value)) for name, value in row.items() if value is not None))


def canonical(value):
    """A value as text that is the same before and after a column has become wider."""
    match value:
        case bool():
            return str(int(value))
        case int() | float() | Decimal():
            return number(value)
        case bytes():
            return canonical_text(value.hex())
        case datetime():
            return str(value.astimezone(UTC))
        case dict() | list():
            return json.dumps(value, sort_keys=True)
        case _:
            return canonical_text(value)


def canonical_text(text):
    """Text that may have been something else once."""
    if text in {"true", "false"}:
        return str(int(text == "true"))
    for reading in (number, json.loads, datetime.fromisoformat):
        with contextlib.suppress(ValueError, ArithmeticError):
            found = reading(text)
            return found if isinstance(found, str) else canonical(found)
    return text


def number(value):
    """The exact number, in one spelling."""
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return "0" if exact == 0 else format(exact.normalize(), "f")


class Place:
    """Where a sink writes."""

    def written(self, row):
        """A row as the sink's own types have it."""
        return row

    def keyed(self):
        """The rows of the table with a key."""
        return self.rows("keyed")

    def cut(self):
        """Cut the connection, where there is one."""

    def wait(self):
        """Let files grow old, where that matters."""


class SqlitePlace(Place):
    """A file."""

    def __init__(self, folder):
        self.sink = SqliteSink(Path(folder) / "data.db", ManualClock())

    def rows(self, table):
        """The rows of a table as dicts."""
        with contextlib.closing(sqlite3.connect(self.sink.path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
                return []
            return dicts(connection.execute(f"SELECT * FROM {table}"))


class JsonlPlace(Place):
    """A folder."""

    def __init__(self, folder):
        self.clock = ManualClock()
        self.sink = JsonlSink(Path(folder), self.clock, Rotation(300, 60.0))
        self.seen = {}

    def rows(self, table):
        """The rows of all files of a table; what was finished once has not changed since."""
        folder = self.sink.folder(STREAM)
        manifest = folder / MANIFEST
        lines = [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []
        assert len({line["file"] for line in lines}) == len(lines)
        for line in lines:
            content = (folder / line["file"]).read_bytes()
            assert (len(content), content.count(b"\n")) == (line["bytes"], line["rows"])
            assert self.seen.setdefault(line["file"], content) == content
        unfinished = {path.name for path in folder.glob(f"{table}-*.jsonl")} - {line["file"] for line in lines}
        assert len(unfinished) <= 1
        files = sorted(folder.glob(f"{table}-*.jsonl"))
        found = [json.loads(line) for path in files for line in path.read_text("utf-8").split("\n") if line]
        return [{name: value for name, value in row.items() if not name.startswith("_")} for row in found]

    def keyed(self):
        """The newest line of each key."""
        return {row["id"]: row for row in self.rows("keyed")}.values()

    def written(self, row):
        """JSON has no bytes: they are base64."""
        return {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in row.items()
        }

    def wait(self):
        """Files grow old."""
        self.clock.advance(90)


class PostgresqlPlace(Place):
    """A schema."""

    def __init__(self, url):
        self.url, self.schema = url, f"model_{secrets.token_hex(6)}"
        self.sink = PostgresqlSink("sinks.test", lambda: url, ManualClock(), schema=self.schema)

    def rows(self, table):
        """The rows of a table as dicts."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass(%s)", (f"{self.schema}.{table}",)).fetchone() == (None,):
                return []
            return dicts(connection.execute(f"SELECT * FROM {self.schema}.{table}"))

    def cut(self):
        """The server ends every connection of the sink."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(CUT)

    def drop(self):
        """Leave nothing behind."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


def dicts(cursor):
    """A result as dicts, without the owner's columns."""
    names = [column[0] for column in cursor.description]
    return [
        {name: value for name, value in zip(names, row, strict=True) if not name.startswith("_")}
        for row in cursor.fetchall()
    ]


def drive(place, steps):
    """Take the steps and look."""
    bench = Bench(place)
    try:
        for step in steps:
            bench.take(*step)
    finally:
        bench.end()
    bench.begin()
    bench.end()
    bench.check()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_sqlite_sink_equals_the_model(steps):
    """Rows with a key once, as last emitted; rows without one each time; nothing of what was not committed."""
    with tempfile.TemporaryDirectory() as folder:
        drive(SqlitePlace(folder), steps)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_jsonl_sink_equals_the_model(steps):
    """And every file that the manifest names stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        drive(JsonlPlace(folder), steps)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_postgresql_sink_equals_the_model(postgresql_server, steps):
    """With connections that are cut in between."""
    place = PostgresqlPlace(postgresql_server)
    try:
        drive(place, steps)
    finally:
        place.drop()
