"""Sinks under real processes: killed at any moment, several at once, on a full disk. Exactly once, all the same."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from worker.clock import SystemClock
from worker.jobs.sinks import Stream
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.sqlite import SqliteSink

PROCESS = Path(__file__).with_name("sink_process.py")
ROOT = Path(__file__).parents[3]


def start(*arguments):
    """A writer in a process of its own."""
    command = [sys.executable, str(PROCESS), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def contents(kind, path):
    """Every row's account, number and part, sorted."""
    if kind == "sqlite":
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT _account, at, part FROM t ORDER BY 1, 2, 3").fetchall()
    lines = [json.loads(line) for file in path.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return sorted((row["_account"], row["at"], row["part"]) for row in lines)


def expected(accounts, count):
    """What each account's rows are when each was delivered once."""
    return [(account, at, part) for account in accounts for at in range(count) for part in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_sink_rows_arrive_once_however_often_the_writer_is_killed(kind, tmp_path):
    """SIGKILL after a random number of checkpoints and a random fraction of the next; rows have no key."""
    path, dice, fence, done = tmp_path / "data", random.Random(4), 0, False
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


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_sink_acknowledged_rows_outlive_the_writer(kind, tmp_path):
    """What `checkpoint` has returned from is there, with its cursor."""
    path = tmp_path / "data"
    writer = start(kind, path, "acme", 1, 100_000)
    acknowledged = [int(writer.stdout.readline()) for _ in range(10)]
    writer.kill()
    acknowledged += [int(line) for line in writer.communicate()[0].splitlines()]
    sink = (SqliteSink if kind == "sqlite" else JsonlSink)(path, SystemClock())
    place = sink.read_cursor(Stream("j", "i", "acme"))["at"]
    sink.open(Stream("j", "i", "acme"), 2).close()
    assert place > acknowledged[-1]
    assert contents(kind, path) == expected(["acme"], place)


def test_sqlite_file_is_shared_by_processes_that_all_change_its_tables(tmp_path):
    """New columns and wider types from four writers at once: nobody loses a row, nobody fails."""
    path, accounts = tmp_path / "data", ["a", "b", "c", "d"]
    writers = [start("sqlite", path, account, 1, 25) for account in accounts]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert contents("sqlite", path) == expected(accounts, 25)
    with closing(sqlite3.connect(path)) as connection:
        columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('t')")}
        assert connection.execute("SELECT DISTINCT typeof(mixed) FROM t WHERE mixed NOT NULL").fetchall() == [("text",)]
    assert {f"column_{account}_{at}" for account in accounts for at in (0, 10, 20)} <= columns


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_sink_newer_run_takes_over_from_one_that_was_paused(kind, tmp_path):
    """SIGSTOP, a new run, SIGCONT: the old run is refused and no row is there twice."""
    path = tmp_path / "data"
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
