"""Sinks under real processes: killed at any moment, several at once, on a full disk. Exactly once, all the same."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sweep_process
from sink_process import sink_of

from worker.clock import SystemClock
from worker.jobs.sinks import Stream

KINDS = ["sqlite", "jsonl", "postgresql"]
PROCESS = Path(__file__).with_name("sink_process.py")
ROOT = Path(__file__).parents[3]


def start(*arguments, process=PROCESS):
    """A writer in a process of its own."""
    command = [sys.executable, str(process), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def path(kind, tmp_path, request):
    """Where a sink of this kind writes."""
    if kind != "postgresql":
        yield tmp_path / "data"
        return
    url, schema = request.getfixturevalue("postgresql_server"), f"crash_{secrets.token_hex(6)}"
    yield f"{url} {schema}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def contents(kind, path):
    """Every row's account, number and part, sorted."""
    if kind == "postgresql":
        url, schema = path.split(" ")
        with psycopg.connect(url, autocommit=True) as connection:
            query = f"SELECT _account, at, part FROM {schema}.t ORDER BY 1, 2, 3"
            return connection.execute(query).fetchall()
    if kind == "sqlite":
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT _account, at, part FROM t ORDER BY 1, 2, 3").fetchall()
    lines = [json.loads(line) for file in path.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return sorted((row["_account"], row["at"], row["part"]) for row in lines)


def place_and_ids(kind, path):
    """The lister's cursor and the ids in the table, as of one moment: a server may still end what a client began."""
    connection, schema = sqlite3.connect(path) if kind == "sqlite" else psycopg.connect(path.split(" ")[0]), ""
    with closing(connection):
        if kind == "postgresql":
            schema = f"{path.split(' ')[1]}."
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        else:
            connection.execute("BEGIN")
        [(cursor,)] = connection.execute(f"SELECT value FROM {schema}_worker_cursor").fetchall()
        ids = connection.execute(f"SELECT id FROM {schema}t ORDER BY id").fetchall()
        return json.loads(cursor)["at"], [number for (number,) in ids]


def columns(kind, path):
    """The table's columns with their types."""
    if kind == "sqlite":
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT name, type FROM pragma_table_info('t')").fetchall())
    url, schema = path.split(" ")
    with psycopg.connect(url, autocommit=True) as connection:
        query = (
            "SELECT column_name, data_type FROM information_schema.columns WHERE (table_schema, table_name) = (%s, 't')"
        )
        return dict(connection.execute(query, (schema,)).fetchall())


def expected(accounts, count, parts=3):
    """What each account's rows are when each was delivered once."""
    return [(account, at, part) for account in accounts for at in range(count) for part in range(parts)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 1500, 11_999, 12_000])
def test_sink_checkpoint_of_many_rows_is_all_or_nothing(kind, path, at):
    """SIGKILL when the sink has taken so many of 12 000 rows without a key; several files are finished by then."""
    for fence, deadly, status in ((1, -1, 0), (2, at, -signal.SIGKILL), (3, at, -signal.SIGKILL)):
        writer = start(kind, path, "acme", fence, 1 + (fence > 1), 0, -1, 12_000, deadly)
        _, errors = writer.communicate()
        assert writer.returncode == status, errors
    sink = sink_of(kind, str(path), SystemClock())
    sink.open(Stream("j", "i", "acme"), 4).close()
    assert sink.read_cursor(Stream("j", "i", "acme")) == {"at": 1}
    assert contents(kind, path) == expected(["acme"], 1, 12_000)
    writer = start(kind, path, "acme", 5, 2, 0, -1, 12_000)
    _, errors = writer.communicate()
    assert (writer.returncode, contents(kind, path)) == (0, expected(["acme"], 2, 12_000)), errors


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sink_rows_arrive_once_however_often_the_writer_is_killed(kind, path):
    """SIGKILL after a random number of checkpoints and a random fraction of the next; rows have no key."""
    dice, fence, done = random.Random(4), 0, False
    kills = 0
    while not done:
        fence += 1
        writer = start(kind, path, "acme", fence, 150)
        killer = threading.Timer(0, writer.kill)
        for _ in range(dice.randrange(1, 25)):
            if not writer.stdout.readline():
                break
        else:
            killer = threading.Timer(dice.random() * 0.01, writer.kill)
            killer.start()
        _, errors = writer.communicate()
        killer.cancel()
        assert writer.returncode in {0, -signal.SIGKILL}, errors
        done = writer.returncode == 0
        kills += not done
    assert kills >= 4
    assert contents(kind, path) == expected(["acme"], 150)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_sink_deletions_and_cursor_are_one_however_often_the_lister_is_killed(kind, path):
    """SIGKILL at any moment of a listing's rows, keys, difference and commit: the table is as the cursor says."""
    dice, kills = random.Random(4), 0
    for fence in range(1, 100):
        lister = start(kind, path, fence, 40, process=Path(sweep_process.__file__))
        for _ in range(dice.randrange(1, 4)):
            lister.stdout.readline()
        killer = threading.Timer(dice.random() * 0.1, lister.kill)
        killer.start()
        _, errors = lister.communicate()
        killer.cancel()
        assert lister.returncode in {0, -signal.SIGKILL}, errors
        kills += lister.returncode != 0
        place, ids = place_and_ids(kind, path)
        assert ids == sweep_process.ids_of(place - 1)
        if lister.returncode == 0:
            break
    assert (place, kills >= 4) == (40, True)


@pytest.mark.parametrize("kind", KINDS)
def test_sink_acknowledged_rows_outlive_the_writer(kind, path):
    """What `checkpoint` has returned from is there, with its cursor."""
    writer = start(kind, path, "acme", 1, 100_000)
    acknowledged = [int(writer.stdout.readline()) for _ in range(10)]
    writer.kill()
    acknowledged += [int(line) for line in writer.communicate()[0].splitlines()]
    sink = sink_of(kind, str(path), SystemClock())
    place = sink.read_cursor(Stream("j", "i", "acme"))["at"]
    sink.open(Stream("j", "i", "acme"), 2).close()
    assert place > acknowledged[-1]
    assert contents(kind, path) == expected(["acme"], place)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_sink_database_is_shared_by_processes_that_all_change_its_tables(kind, path):
    """New columns and wider types from four writers at once: nobody loses a row, nobody fails."""
    accounts = ["a", "b", "c", "d"]
    writers = [start(kind, path, account, 1, 25) for account in accounts]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert contents(kind, path) == expected(accounts, 25)
    assert {f"column_{account}_{at}" for account in accounts for at in (0, 10, 20)} <= set(columns(kind, path))
    assert columns(kind, path)["mixed"].lower() == "text"


@pytest.mark.parametrize("kind", KINDS)
def test_sink_newer_run_takes_over_from_one_that_was_paused(kind, path):
    """SIGSTOP, a new run, SIGCONT: the old run is refused and no row is there twice."""
    paused = start(kind, path, "acme", 1, 40, 0, 5)
    os.waitid(os.P_PID, paused.pid, os.WSTOPPED)
    newer = start(kind, path, "acme", 2, 30)
    _, errors = newer.communicate()
    assert newer.returncode == 0, errors
    paused.send_signal(signal.SIGCONT)
    assert "FenceLost" in paused.communicate()[1]
    assert contents(kind, path) == expected(["acme"], 30)


@pytest.mark.parametrize(("kind", "what"), [("sqlite", "data: "), ("jsonl", "data/i/acme/j: no space left")])
def test_sink_on_a_full_disk_names_its_path_and_loses_nothing(kind, what, tmp_path):
    """The file may not grow; once it may, the next run goes on where the last checkpoint was."""
    path = tmp_path / "data"
    stuck = start(kind, path, "acme", 1, 500, 120_000)
    _, errors = stuck.communicate()
    assert stuck.returncode == 1
    assert "Traceback" not in errors
    assert what in errors
    going_on = start(kind, path, "acme", 2, 200)
    _, errors = going_on.communicate()
    assert going_on.returncode == 0, errors
    assert contents(kind, path) == expected(["acme"], 200)
