"""SIGKILL and restart: nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing


def test_killed_run_goes_on_from_its_last_checkpoint(place, until):
    """The run is `interrupted`, a new one starts first, and every row is there exactly once."""
    place.job("counting")
    place.enroll()
    daemon = place.ready()
    place.entered("counting")
    daemon.kill()
    place.go()
    place.ready()
    until(lambda: place.states() == ["interrupted", "succeeded"])
    with closing(sqlite3.connect(place.folder / "state" / "data.db")) as data:
        rows = [number for (number,) in data.execute("SELECT number FROM numbers ORDER BY rowid")]
    assert rows == [0, 1, 2, 3, 4, 5]
    assert place.runs()[1].trigger == "interrupted"


def test_killed_daemon_says_so_at_the_next_start(place):
    """With job and account."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    daemon.kill()
    line = place.ready().says("run was interrupted; it starts again first")
    assert (line["job"], line["integration"], line["account"]) == ("waiting", "books", "acme")


def test_status_calls_no_run_running_whose_process_is_gone(place):
    """Running under the daemon, interrupted after its end, although nobody has settled the record yet."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    states = [json.loads(place.command("--json", "status").stdout)["last_runs"][0]["state"]]
    daemon.kill()
    daemon.end()
    states.append(json.loads(place.command("--json", "status").stdout)["last_runs"][0]["state"])
    assert states == ["running", "interrupted"]


def test_due_time_survives_restarts(place, until):
    """Neither a stop nor a kill moves it."""
    place.job("quick")
    account = place.enroll()
    due = []
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        daemon = place.ready()
        until(lambda: place.states() == ["succeeded"])
        due.append(place.wiring.store.schedule.entry("quick", account.id).next_due)
        daemon.send(end)
        daemon.end()
    assert len(set(due)) == 1


def test_second_daemon_refuses_to_start_and_names_the_first(place):
    """Exit code 78, and the process that is in its way."""
    place.job("quick")
    first = place.ready()
    second = place.daemon()
    assert (second.end(), first.process.poll()) == (78, None)
    assert f"the daemon, process {first.process.pid} on" in second.text


def test_daemon_after_a_killed_one_starts(place):
    """The lock died with its holder; nobody has to remove anything."""
    place.job("quick")
    place.ready().kill()
    assert place.ready().stop() == 0


def test_daemon_in_a_forked_child_fires(place, until):
    """Everything that has threads or connections is made after the fork."""
    place.job("quick", every="1s")
    place.enroll()
    script = (
        "import os, sys; from worker.cli.main import main\n"
        "child = os.fork()\n"
        "if child == 0: main(sys.argv[1:])\n"
        "print(child, flush=True); os.waitpid(child, 0)"
    )
    line = [sys.executable, "-c", script, *place.line("run")[3:]]
    with subprocess.Popen(line, cwd=place.folder, env=place.environment, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        try:
            until(lambda: place.states()[:2] == ["succeeded"] * 2)
        finally:
            os.kill(child, signal.SIGTERM)
            parent.stdout.read()
    assert parent.returncode == 0
