"""`uses = "rest"` and jobs of code into destinations of dlt: DuckDB and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sys
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg
import pytest

from worker.cli.main import main as worker
from worker.config.load import load
from worker.errors import Interrupted, Misconfigured, TryAgainLater, WorkerError
from worker.jobs.sinks import Stream, TableBatch
from worker.wiring import Wiring

_DUCKDB = 'destination = "duckdb"\npath = "state/rows.duckdb"'
_JOBS = """
[sinks.warehouse]
type = "dlt"
dataset = "crm"
{sink}

[jobs.crm]
uses = "rest"
integration = "crm"
every = "1h"
sink = "warehouse"
[[jobs.crm.resources]]
name = "customers"
paging = {{ style = "cursor", path = "meta.next", parameter = "after" }}
rows = "data"
primary_key = "id"
incremental = {{ field = "updated_at", param = "since" }}
params = {{ limit = 4 }}
[[jobs.crm.resources]]
name = "notes"
path = "/customers/{{customers.id}}/notes"
paging = "single"
rows = "data"
primary_key = ["_customers_id", "id"]
"""
_STREAM = Stream("crm", "crm", "acme")


def in_duckdb(place, statement):
    """Rows of the file."""
    with contextlib.closing(duckdb.connect(str(place.folder / "state" / "rows.duckdb"), read_only=True)) as connection:
        return connection.execute(statement).fetchall()


def session_of(place, fence=1):
    """A way into the sink, without any job."""
    return place.wiring.assignments("crm")["crm"].sink.open(_STREAM, fence)


def rows(count):
    """Rows for one table."""
    return {"things": TableBatch([{"id": number, "tags": ["a"]} for number in range(count)], ("id",))}


def test_rest_job_loads_whole_through_dlts_client_though_its_token_dies_between_two_pages(place, api, sandbox):
    """The client pages with our session: one refresh, every row and child; then only what has changed, in place."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    api.fill("customers", 9)
    api.collections["customers/notes"] = [{"id": 1, "parent": 3, "text": "x"}, {"id": 1, "parent": 4, "text": "y"}]
    api.after_page = lambda number: sandbox.call("expire") if number == 1 else None
    first = place.run("crm")
    assert (first.state, first.counts.rows, first.counts.refreshes) == ("succeeded", 11, 1), first.error

    api.collections["customers"][4].update(name="new", updated_at="2026-01-01T01:00:00Z")
    api.asked.clear()
    second = place.run("crm")
    assert (second.state, "/customers?limit=4&since=2025-12-31T23%3A59%3A04Z" in api.asked) == ("succeeded", True)
    found = in_duckdb(place, "SELECT id, name, _account FROM crm.customers ORDER BY id")
    assert found == [(row["id"], row["name"], "acme") for row in api.collections["customers"]]
    assert in_duckdb(place, "SELECT _customers_id, text FROM crm.notes ORDER BY 1") == [(3, "x"), (4, "y")]


def test_rest_job_loads_into_postgresql_and_its_password_is_nowhere(place, api, new_postgresql, caplog):
    """They come from a file, go to the process through a pipe, and stay out of dlt's folder and of the log."""
    caplog.set_level(logging.DEBUG)
    url, password, role = new_postgresql(), f"hush-{secrets.token_hex(8)}", f"loader_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    parts = urlsplit(url)
    secret = place.folder / "warehouse.url"
    secret.write_text(f"postgresql://{role}:{password}@localhost{parts.path}?{parts.query}")
    secret.chmod(0o600)
    place.configure(
        _JOBS.format(
            sink='destination = "postgres"\ncredentials_file = "warehouse.url"\nsettings = { create_indexes = false }'
        )
    )
    api.fill("customers", 3)
    api.collections["customers/notes"] = []
    try:
        run = place.run("crm")
        assert (run.state, run.counts.rows) == ("succeeded", 3), run.error
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT id, name FROM crm.customers ORDER BY id").fetchall()
        assert found == [(row["id"], row["name"]) for row in api.collections["customers"]]
        kept = [path for path in (place.folder / "state").rglob("*") if path.is_file()]
        assert len(kept) > 5
        assert [path for path in kept if password.encode() in path.read_bytes()] == []
        assert password not in caplog.text
        assert {path.stat().st_mode & 0o077 for path in (place.folder / "state").rglob("*") if "dlt" in path.parts} == {
            0
        }
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_load_that_cannot_reach_its_server_is_tried_again_later(place):
    """And its password is not in the message."""
    sink = 'destination = "postgres"\ncredentials = "postgresql://loader:hush-hush@127.0.0.1:1/warehouse"'
    place.configure(_JOBS.format(sink=sink))
    with (
        contextlib.closing(session_of(place)) as session,
        pytest.raises(TryAgainLater, match=r"sinks\.warehouse: OperationalError") as failed,
    ):
        session.write(rows(1), {"customers": 1})
    assert "hush-hush" not in failed.value.message
    assert place.wiring.assignments("crm")["crm"].sink.read_cursor(_STREAM) == {}


def test_loading_process_sees_no_secret_of_the_environment(place):
    """It has what dlt may need of it, and not the master keys."""
    place.configure(_JOBS.format(sink=_DUCKDB).replace("[sinks", '[keyring]\nenv = "MASTER_KEYS"\n[sinks'))
    text = (place.folder / "config.toml").read_text()
    (place.folder / "config.toml").write_text(text.replace('[keyring]\nfile = "worker.key"\n', "", 1))
    environ = {"NO_PROXY": "*", "MASTER_KEYS": (place.folder / "worker.key").read_text(), "EXTRACT__WORKERS": "1"}
    wiring = Wiring(load(place.folder / "config.toml", {}), environ)
    seen: set[bytes] = set()

    def look() -> None:
        for child in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split():
            with contextlib.suppress(OSError):
                seen.add(Path(f"/proc/{child}/environ").read_bytes())

    wiring.store.accounts.list("crm")
    with contextlib.closing(wiring.assignments("crm")["crm"].sink.open(_STREAM, 1)) as session:
        session.heed(look)
        assert session.write(rows(3), {"customers": 3}) == 3
    wiring.store.close()
    assert any(b"EXTRACT__WORKERS=1" in one for one in seen)
    assert not any(b"MASTER_KEYS" in one and b"EXTRACT__WORKERS" in one for one in seen)


def test_load_ends_with_its_run_and_comes_again(place):
    """The process is killed in the middle; the cursor has not moved, and the next load is whole."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    calls = iter(range(20))

    def check():
        if next(calls, None) is None:
            raise Interrupted

    with contextlib.closing(session_of(place)) as session:
        session.heed(check)
        with pytest.raises(Interrupted):
            session.write(rows(50_000), {"customers": 1})
        assert session_of(place, 2).cursor == {}
    with contextlib.closing(session_of(place, 3)) as session:
        assert session.write(rows(10), {"customers": 2}) == 10
    assert in_duckdb(place, "SELECT count(*), max(id) FROM crm.things") == [(10, 9)]
    assert session_of(place, 4).cursor == {"customers": 2}


def test_run_that_reads_with_dlt_ends_with_the_shutdown(place, api):
    """Between two pages, in the middle of dlt's client; nothing is loaded."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    api.fill("customers", 20)
    api.after_page = lambda number: place.wiring.stopping.aborting.set() if number == 2 else None
    run = place.run("crm")
    assert (run.state, run.error) == ("interrupted", "The process is shutting down.")
    assert (place.folder / "state" / "rows.duckdb").exists() is False


def test_run_whose_load_hangs_ends_with_the_shutdown(place, api, new_postgresql):
    """The server makes the load wait for ever; the process is gone, and the cursor where it was."""
    url = new_postgresql()
    parts = urlsplit(url)
    credentials = f"postgresql://postgres:x@localhost{parts.path}?{parts.query}"
    place.configure(_JOBS.format(sink=f'destination = "postgres"\ncredentials = "{credentials}"'))
    api.fill("customers", 1)
    api.collections["customers/notes"] = []
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def shut_down():
        with psycopg.connect(url, autocommit=True) as watching:
            while not watching.execute(waiting).fetchone()[0]:
                time.sleep(0.05)
        place.wiring.stopping.aborting.set()

    with psycopg.connect(url) as held:
        held.execute("CREATE SCHEMA crm")  # not committed: whoever wants the same name waits
        watcher = threading.Thread(target=shut_down, daemon=True)
        watcher.start()
        run = place.run("crm")
        watcher.join()
        held.rollback()
    assert (run.state, run.counts.rows) == ("interrupted", 0), run.error
    assert place.wiring.assignments("crm")["crm"].sink.read_cursor(_STREAM) == {}


def test_load_keeps_types_and_the_last_of_two_rows_with_one_key(place):
    """By lines of JSON, and by statements where there are bytes; lists stay JSON where they are to."""
    place.configure(_JOBS.format(sink=f'{_DUCKDB}\nnested = "json"'))
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    row = {"id": 1, "amount": Decimal("12345678901234.56"), "at": moment, "big": 2**62, "half": 0.5, "paid": True}
    odd = row | {"raw": b"\x00\xff"}
    things = TableBatch([row | {"big": 7, "tags": [7]}, row | {"tags": ["a", 2]}], ("id",))
    with contextlib.closing(session_of(place)) as session:
        batches = {"things": things, "odd": TableBatch([odd], ("id",)), "log": TableBatch([{"n": 1}, {"n": 1}])}
        assert session.write(batches, {"at": 1}) == 5
    (*found, tags), *others = in_duckdb(
        place, 'SELECT "id", "amount", "at", "big", "half", "paid", tags FROM crm.things'
    )
    assert (found, json.loads(tags), others) == (list(row.values()), ["a", 2], [])
    assert in_duckdb(place, 'SELECT "id", "amount", "at", "big", "half", "paid", raw FROM crm.odd') == [
        tuple(odd.values())
    ]
    assert in_duckdb(place, "SELECT n, _account FROM crm.log") == [(1, "acme"), (1, "acme")]


def test_load_leaves_no_rows_in_its_working_folder(place):
    """By itself dlt keeps a copy of every row that it has ever loaded."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    with contextlib.closing(session_of(place)) as session:
        session.write(rows(3), {"at": 1})
    assert in_duckdb(place, "SELECT count(*) FROM crm.things") == [(3,)]
    folder = place.folder / "state" / "dlt" / "warehouse"
    assert [path for path in folder.rglob("*") if "things" in path.name] == []


def test_load_refuses_a_row_without_its_key(place):
    """As the other sinks do; nothing is loaded."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    with (
        contextlib.closing(session_of(place)) as session,
        pytest.raises(WorkerError, match="no 'id', which is its key"),
    ):
        session.write({"things": TableBatch([{"name": "x"}], ("id",))}, {"at": 1})


def test_dry_run_reads_with_dlt_and_loads_nothing(place, api, capsys, monkeypatch):
    """The rows are shown, and there is no database."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    api.fill("customers", 3)
    api.collections["customers/notes"] = [{"id": 1, "parent": 1, "text": "a note"}]
    place.account()
    place.close()
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(sys, "argv", ["worker", "jobs", "run", "crm", "--dry-run"])
    with contextlib.suppress(SystemExit):
        worker()
    shown = capsys.readouterr().out
    assert ("customers: 3 rows" in shown, "a note" in shown) == (True, True)
    assert not (place.folder / "state" / "rows.duckdb").exists()


def test_sink_says_what_to_install_when_dlt_is_missing(place, monkeypatch):
    """The extra is named."""
    place.configure(_JOBS.format(sink=_DUCKDB))
    monkeypatch.setitem(sys.modules, "dlt", None)
    with pytest.raises(Misconfigured, match="dlt is not installed") as missing:
        session_of(place)
    assert missing.value.hint == 'pip install "headless-worker[dlt]"'
