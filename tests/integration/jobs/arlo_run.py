"""Arlo's jobs against a sandbox, and what of the source ought to be in the sink.

As a program: one run of one job, in a process that kills itself.

    arlo_run.py JOBS SINK FENCE JOB DEADLY < addresses.json

DEADLY is the number of the request, or with a minus of the checkpoint, in whose middle the process dies; 0 for never.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import requests

from worker.clock import SystemClock
from worker.jobs.brake import Brake, Rule
from worker.jobs.buffer import RunTally
from worker.jobs.loading import load_jobs
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.jobs.sinks.sqlite import SqliteSink
from worker.jobs.streams import Streams
from worker.jobs.ticks import read_ticks, utc_text

#: Tables with their keys; the fifth comes with the fourth.
KEYS = {
    "events": "EventID",
    "registrations": "RegistrationID",
    "contacts": "ContactID",
    "orders": "OrderID",
    "orderlines": "OrderLineID",
}
JOBS = ("events", "registrations", "contacts", "orders", "deletions")
#: A brake that never objects.
NO_BRAKE = Brake(Rule(None))


class Interrupting:
    """A sink's session that calls `strike` with the number of the write, before it and after it."""

    def __init__(self, session, strike):
        self._session, self._strike, self._writes = session, strike, 0
        self.cursor, self.close = session.cursor, session.close

    def write(self, batches, cursor):
        self._writes += 1
        self._strike(self._writes, "before")
        count = self._session.write(batches, cursor)
        self._strike(self._writes, "after")
        return count


def run_job(function, session, sink, fence, facts, strike=lambda _number, _when: None):
    """One run; answers the rows committed. What it raises comes out."""
    log = logging.LoggerAdapter(logging.getLogger("test"), {})
    opened = Interrupting(sink.open(facts.stream, fence), strike)
    with closing(opened), Streams(opened, tally=RunTally(brake=lambda: NO_BRAKE)) as streams:
        function(RunContext(facts, session, streams, log, SystemClock()))
        streams.finish()
    return streams.committed


class Arlo:
    """The jobs of jobs/arlo.py against one sandbox."""

    def __init__(self, sandbox, folder):
        self.sandbox = sandbox
        self.jobs = load_jobs([folder]).jobs
        self.token = sandbox.call("grant", user="acme")["access_token"]
        self.asked = []
        #: Called with the number of each answer of a run, and with each write's number and whether it is over.
        self.after_page = lambda _number: None
        self.strike = lambda _number, _when: None
        self.fence = 0
        self.session = self.new_session()

    def new_session(self):
        """A session of its own, for a run within a run."""
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {self.token}"
        session.hooks["response"].append(self._answered)
        return session

    def run(self, name, sink, **params):
        """One run; answers the rows committed. What it raises comes out."""
        self.asked = []
        self.session.close()  # each run begins with a connection of its own
        return self.run_within(self.session, name, sink, **params)

    def run_within(self, session, name, sink, **params):
        """The same, with a session that is given."""
        self.fence += 1
        stream = Stream(name, "arlo", "acme")
        facts = RunFacts(stream, "run", api_base=self.sandbox.api_base, params={"settle": 0, **params})
        return run_job(self.jobs[f"arlo.{name}"].function, session, sink, self.fence, facts, self.strike)

    def _answered(self, response, *_, **__):
        self.asked.append(response.url)
        self.after_page(len(self.asked))


def truth(sandbox):
    """What the sink ought to hold: table -> id -> column -> text; times in UTC, nothing for what is empty."""
    tables = {}
    for table, key in KEYS.items():
        rows = sandbox.call("rows", collection=table)["rows"]
        tables[table] = {int(row[key]): dict(_columns(row)) for row in rows}
    return tables


def _columns(row):
    for name, text in row.items():
        if not text:
            continue
        if name == "ProgressPercent":
            yield name, str(float(text))
            continue
        found = read_ticks(text) if name.endswith("DateTime") else None
        yield name.replace("/ID", "ID"), text if found is None else utc_text(found[0])
        if found is not None and found[1] not in {"", "Z"}:
            yield f"{name}Offset", found[1]


def stored(path):
    """What the sink holds, in the same form; contacts that were merged stand apart, under `merged`."""
    tables = {}
    with closing(sqlite3.connect(path)) as connection:
        for table, key in KEYS.items():
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            tables[table] = {
                row[key]: {name: _text(name, one) for name, one in row.items() if _told(name, one)} for row in rows
            }
    for row in tables["orderlines"].values():
        row.pop("OrderLastModifiedDateTime")
    gone = {number for number, row in tables["contacts"].items() if row.get("Status") == "Merged"}
    tables["merged"] = {number: int(tables["contacts"].pop(number)["MergedIntoContactID"]) for number in gone}
    return tables


def _told(name, value):
    return value is not None and not name.startswith("_")


def _text(name, value):
    if name == "LineAmountsTaxInclusive":
        return "true" if value else "false"
    return str(value)


def main(jobs, sink, fence, job, deadly):
    """One run; the sandbox's addresses and an access token come by standard input."""
    given = json.load(sys.stdin)
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {given['access_token']}"
    number = [0]

    def die(reached):
        if reached == int(deadly):
            os.kill(os.getpid(), signal.SIGKILL)

    def answered(*_, **__):
        number[0] += 1
        die(number[0])

    session.hooks["response"].append(answered)
    stream = Stream(job, "arlo", "acme")
    facts = RunFacts(stream, "run", api_base=given["api_base"], params={"top": 20})
    place = SqliteSink(Path(sink), SystemClock())
    function = load_jobs([Path(jobs)]).jobs[f"arlo.{job}"].function
    run_job(function, session, place, int(fence), facts, lambda write, when: die(-write if when == "after" else 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
