"""What a job's author does by hand: begin one, look, record, copy a time again, begin anew."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import tomllib
from contextlib import closing

import pytest

from worker.cli.main import main
from worker.jobs.loading import load_jobs
from worker.testing import run_job

JOBS = '''
"""One row a day, from the cursor or the window's beginning to its end."""

import time
from datetime import date, timedelta
from pathlib import Path

from worker import job


@job
def days(ctx):
    begin = ctx.cursor.get("next") or (ctx.since or "2026-03-01T00:00:00Z")[:10]
    end = (ctx.until or "2026-03-04T00:00:00Z")[:10]
    folder = Path(ctx.params["folder"])
    day = date.fromisoformat(begin)
    while str(day) < end:
        ctx.get("events/", params={"top": 1})
        ctx.emit("days", {"day": str(day), "by": ctx.run_id}, key="day")
        day += timedelta(days=1)
        ctx.checkpoint(next=str(day))
        if ctx.since and day.day == 4:
            (folder / f"entered-days-{ctx.account}").touch()
            while not (folder / "go").exists():
                time.sleep(0.02)


@job
def heedless(ctx):
    ctx.emit("days", {"day": "0000-01-01"}, key="day")


@job(scopes=["read", "write"])
def greedy(ctx):
    ctx.get("events/")


@job
def echo(ctx):
    answer = ctx.get("events/", params={"top": 1})
    sent = answer.request.headers.get("Authorization", "Bearer of-the-test")
    query = {"top": 1, "access_token": sent.split()[1]}
    hooks = {"response": [lambda response, **_: response]}
    with ctx.session.get(ctx.url("events/"), params=query, stream=True, hooks=hooks) as streamed:
        assert b"".join(streamed.iter_content(100)).startswith(b"<?xml")
    ctx.emit("rows", {"id": 1, "text": answer.text[:10]}, key="id")


@job
def long(ctx):
    for number in range(4):
        ctx.emit("rows", {"id": number})
        ctx.progress(number + 1, 4)
        time.sleep(0.6)
'''
WINDOW = "--from 2026-01-01 --to 2026-01-07"
NAME = "days@2026-01-01..2026-01-07"


@pytest.fixture
def house(place):
    """A folder with these jobs, none of which is on a schedule, and one account."""
    place.add_job_file("author", JOBS)
    for name in ("days", "heedless", "greedy", "echo", "long"):
        place.job(name, every=None, uses=f"author.{name}")
    place.enroll()
    return place


@pytest.fixture
def typed(house, capsys, monkeypatch):
    """Runs a command in this process, which saves what takes longest; answers its exit code and what it said."""
    for name in ("HOME", "NO_PROXY"):
        monkeypatch.setenv(name, house.environment[name])
    monkeypatch.chdir(house.folder)
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = list(root.handlers), root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def type_in(line):
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(house.folder / "config.toml"), *line.split()])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    yield type_in
    root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
    root.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)


def shown(typed, line):
    """What a command answers with --json."""
    return json.loads(typed(f"--json {line}")[1])


def ask(place, query):
    with closing(sqlite3.connect(place.folder / "state" / "data.db")) as data:
        return data.execute(query).fetchall()


def test_backfill_beside_the_live_job_killed_and_gone_on_with(house, typed):
    """The whole story: rows in the same table, each day once; the live cursor as it was, to the byte."""
    typed("jobs run days")
    live = "SELECT * FROM _worker_cursor WHERE job = 'days'"
    before = ask(house, live)
    running = in_the_middle(house)
    try:
        # It holds a lock of its own: the same window is not run twice at once, and the live job is not kept out.
        assert shown(typed, f"jobs backfill days {WINDOW}")[0]["error"] == "it is running already"
        assert shown(typed, "jobs run days")[0]["state"] == "succeeded"
        before = ask(house, live)
        assert listed(typed) == [(NAME, "running")]
    finally:
        running.kill()
        running.wait()
    assert [(one["job"], one["state"]) for one in shown(typed, "status")["backfills"]] == [(NAME, "unfinished")]
    house.go()
    (run,) = shown(typed, f"jobs backfill days {WINDOW}")
    assert (run["job"], run["trigger"], run["state"], run["rows"]) == (NAME, "backfill", "succeeded", 3)
    days = [day for (day,) in ask(house, "SELECT day FROM days ORDER BY day")]
    assert days == [f"2026-01-0{day}" for day in range(1, 7)] + [f"2026-03-0{day}" for day in range(1, 4)]
    assert ask(house, live) == before
    assert (listed(typed), shown(typed, "status")["backfills"]) == ([(NAME, "done")], [])


def in_the_middle(house, **streams):
    """A process that has begun the backfill, and waits on its third day."""
    line = house.line("jobs", "backfill", "days", *WINDOW.split())
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(line, cwd=house.folder, env=house.environment, **(silent | streams))
    house.entered("days")
    return process


def test_run_under_way_tells_how_far_it_is(house, typed):
    """From the note that its process leaves; the record knows only how runs end."""
    running = in_the_middle(house)
    try:
        (run,) = shown(typed, "status")["last_runs"]
        notes = house.folder / "state" / "progress"
        notes.mkdir()
        (notes / run["id"]).write_text('{"rows": 7, "pages": 2, "done": 7, "total": 9, "at": 0}')
        assert shown(typed, "status")["last_runs"][0]["rows"] == 7
        assert shown(typed, f"runs show {run['id']}")["progress"] == {
            "rows": 7, "pages": 2, "done": 7, "total": 9, "at": "1970-01-01T00:00:00.000Z",
        }  # fmt: skip
    finally:
        running.kill()
        running.wait()


def test_run_that_is_stopped_says_how_to_go_on(house, typed):
    """Ctrl-C is told from a failure; ids and jobs that are mistyped are answered with what there is."""
    running = in_the_middle(house, stderr=subprocess.PIPE)
    running.send_signal(signal.SIGINT)
    assert running.stderr.readline() == b"Stopping at the next request or checkpoint.\n"
    house.go()
    _, told = running.communicate(timeout=60)
    assert (running.returncode, b"goes on from the last checkpoint" in told) == (130, True)
    (run,) = shown(typed, f"jobs backfill days {WINDOW}")
    code, _, told = typed(f"runs show {run['id'][:2]}")
    assert (code, f"{run['id']} (days@2026-01-01..2026-01-07 of books/acme, succeeded)" in told) == (2, True)
    assert 'no job "nosuch" is configured' in typed("runs list --job nosuch")[2]


def listed(typed):
    """The backfills of `worker jobs list`."""
    return [(one["backfill"], one["state"]) for one in shown(typed, "jobs list")[0]["backfills"]]


def test_backfill_that_is_done_begins_anew(house, typed):
    """Who asks for the same window again wants it again; one that a limit has ended goes on."""
    house.go()
    lines = (f"jobs backfill days {WINDOW}{limit}" for limit in (" --limit 2", "", ""))
    assert [shown(typed, line)[0]["rows"] for line in lines] == [2, 4, 6]


def test_run_that_a_limit_has_ended_is_not_done(house, typed):
    """The backfill stays unfinished; a run without a checkpoint says that nothing was committed."""
    house.go()
    (run,) = shown(typed, f"jobs backfill days {WINDOW} --limit 2")
    assert (run["state"], run["note"]) == ("succeeded", "ended by the limit of 2 rows, at its last checkpoint")
    assert (listed(typed), len(shown(typed, "status")["backfills"])) == ([(NAME, "unfinished")], 1)
    code, said, _ = typed("jobs run heedless --limit 1")
    assert (code, "nothing was committed" in said) == (0, False)  # its one row is within the limit
    code, said, _ = typed("jobs run long --limit 1")
    assert (code, "ended by the limit of 1 row before its first checkpoint: nothing was committed" in said) == (0, True)
    assert shown(typed, f"jobs backfill days {WINDOW} --limit 4")[0]["note"] is None
    assert listed(typed) == [(NAME, "done")]


def test_backfill_is_given_up(house, typed):
    """Its cursor is forgotten and it is not listed; asked for again, it begins anew."""
    house.go()
    typed(f"jobs backfill days {WINDOW} --limit 2")
    assert typed(f"jobs reset {NAME} --yes")[1] == f"{NAME} for books/acme: forgotten\n"
    assert listed(typed) == []
    assert typed(f"jobs reset {NAME} --yes")[0] == 2
    assert shown(typed, f"jobs backfill days {WINDOW}")[0]["rows"] == 6


def test_backfill_of_a_job_that_does_not_heed_the_window_fails(house, typed):
    """And writes nothing; a dry run tells it as well; no window is left unfinished."""
    for options in ("", " --dry-run"):
        code, said, _ = typed(f"--json jobs backfill heedless {WINDOW}{options}")
        assert (code, "heedless does not look at ctx.since and ctx.until" in said) == (2, True)
    assert shown(typed, "status")["backfills"] == []
    assert ask(house, "SELECT name FROM sqlite_schema WHERE name = 'days'") == []


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("jobs backfill days --from soon", 2, "no date and no time"),
        ("jobs backfill days --from 2026-02-01 --to 2026-01-01", 2, "is not after"),
        ("jobs backfill nothing --from 2026-01-01", 78, 'no job "nothing"'),
        ("jobs backfill days --from 2026-01-01 --account nobody", 2, "has no account nobody"),
        ("jobs reset days --account nobody --yes", 2, "has no account nobody"),
        ("jobs reset days@2020-01-01.. --yes", 2, "there is no backfill"),
        ("jobs run echo --record x.yaml", 2, "--record goes with --dry-run"),
        ("jobs run echo --dry-run --record nowhere/x.yaml", 2, "there is no folder nowhere"),
        ("jobs run echo --dry-run --record config.toml", 2, "exists already"),
        ("jobs new days", 2, "[jobs.days] is in "),
        ("jobs new author", 2, "jobs/author.py exists already"),
        ("jobs new orders --integration nowhere", 2, 'no integration "nowhere"'),
    ],
)
def test_mistakes_of_an_author_are_told(typed, line, code, said):
    """One sentence, and the exit code of its kind."""
    answered, _, told = typed(line)
    assert (answered, said in told) == (code, True), told


def test_new_job_is_tested_and_can_be_looked_at(house, typed):
    """Stdout has what the config needs, and nothing else; files that are there are left alone."""
    code, toml, told = typed("jobs new late-orders")
    assert (code, tomllib.loads(toml)["jobs"]["late-orders"]["integration"]) == (0, "books")
    assert f"These lines belong in {house.folder / 'config.toml'}" in told
    again = (house.folder / "jobs" / "late_orders.py").read_text()
    assert (typed("jobs new late-orders")[0], (house.folder / "jobs" / "late_orders.py").read_text()) == (2, again)
    house.job("late-orders", uses="late_orders.late_orders")
    assert (typed("config check")[0], typed("jobs run late-orders --dry-run")[0]) == (0, 1)


def test_new_job_without_a_folder_says_how_to_make_it(house, typed):
    """Configuration, not usage: 78."""
    house.options["jobs_path"] = ["elsewhere"]
    house.write()
    code, _, told = typed("jobs new orders")
    assert (code, f"mkdir -m 755 {house.folder / 'elsewhere'}" in told) == (78, True)


def test_reset_asks_on_a_terminal_and_wants_a_yes_elsewhere(house, typed):
    """Nothing is forgotten by mistake; then the next run begins anew."""
    typed("jobs run days")
    code, _, told = typed("jobs reset days")
    assert (code, "1 cursor of days would be forgotten" in told) == (2, True)
    assert answering(house, "n", "jobs", "reset", "days")[0] == 130
    assert ask(house, "SELECT value FROM _worker_cursor") == [('{"next":"2026-03-04"}',)]
    code, said = answering(house, "y", "jobs", "reset", "days", "--account", "acme")
    assert (code, 'days for books/acme: {"next": "2026-03-04"}' in said) == (0, True)
    assert shown(typed, "jobs run days")[0]["rows"] == 3


def answering(place, word, *arguments):
    """Run a command on a terminal, and type a word; its exit code and what it said."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        place.line(*arguments), cwd=place.folder, env=place.environment | {"TERM": "xterm", "COLUMNS": "100"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{word}\n".encode())
        said = b""
        while True:
            try:
                said += os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    return process.returncode, said.decode(errors="replace")


def test_progress_is_drawn_on_a_terminal_alone(house, typed):
    """Rows, and how many of how many; nothing where nobody looks."""
    _, said = answering(house, "", "jobs", "run", "long")
    assert re.search(r"long books/acme [34] rows, 0 pages", said)
    assert typed("jobs run long")[2] == ""


def test_scope_that_was_not_granted_parks_the_job_before_any_request(house, typed):
    """No call is spent on finding out; the account's other jobs go on."""
    house.sandbox.reset_stats()
    code, said, _ = typed("--json jobs run greedy")
    assert (code, json.loads(said)[0]["requests"], "names: write" in said) == (3, 0, True)
    assert house.sandbox.stats()["api_requests"] == {}
    assert [typed(f"jobs run {job}")[0] for job in ("greedy", "days")] == [3, 0]


def test_recording_of_a_real_run_has_no_secret_and_replays(house, typed):
    """After a refresh, with a token in an address: none of them is in the file."""
    house.sandbox.expire("acme")
    assert typed("jobs run echo --dry-run --record echo.yaml")[0] == 0
    text = (house.folder / "echo.yaml").read_text()
    grant = house.wiring.store.grants.read(house.wiring.store.accounts.get("books", "acme").id)
    secrets = [grant.access_token.reveal(), house.sandbox.client_secret]
    assert [secret for secret in secrets if secret in text] == []
    assert (text.count("request:"), "/token" in text, "access_token=redacted" in text) == (2, False, True)
    assert (house.folder / "echo.yaml").stat().st_mode & 0o777 == 0o600
    job = load_jobs([house.folder / "jobs"]).get("author.echo")
    result = run_job(job.function, recording=house.folder / "echo.yaml")
    assert result.rows == {"rows": [{"id": 1, "text": "<?xml vers"}]}
