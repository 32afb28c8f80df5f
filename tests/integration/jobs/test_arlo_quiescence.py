"""After quiescence the sink equals the source, whatever changed and whatever was interrupted before."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import requests
from arlo_run import JOBS, Arlo, stored, truth
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from worker.clock import SystemClock
from worker.errors import WorkerError
from worker.jobs.sinks.sqlite import SqliteSink
from worker.sandbox import Sandbox, SandboxConfig

PROCESS = Path(__file__).with_name("arlo_run.py")
ROOT = Path(__file__).parents[3]
COLLECTIONS = ("events", "registrations", "contacts", "orders", "orderlines")
#: Requests of a run after which nothing changes any more.
CALM = 12
FAULTS = ("http_429", "http_503", "http_500", "half_body", "reset_before", "reset_after", "html", "garbage")


class Killed(BaseException):
    """The process is gone, as far as it can be within one."""


def current_lines(path):
    """The lines that a reader takes for current: those of their order's last version."""
    query = (
        "SELECT OrderLineID FROM orderlines JOIN orders USING (_integration, _account, OrderID) "
        "WHERE OrderLastModifiedDateTime = orders.LastModifiedDateTime"
    )
    with closing(sqlite3.connect(path)) as connection:
        return {number for (number,) in connection.execute(query)}


def resolved(merged):
    """Where each merged contact ended up."""
    ends = {}
    for number in merged:
        end = number
        while end in merged:
            end = merged[end]
        ends[number] = end
    return ends


class Play:
    """One sandbox, one sink, and what hypothesis makes of them."""

    def __init__(self, sandbox, jobs, folder):
        self.arlo = Arlo(sandbox, jobs)
        self.sandbox = sandbox
        self.sink = SqliteSink(Path(folder) / "data.db", SystemClock())

    def take(self, step):
        """One step; what it is told to raise stays in here."""
        getattr(self, step[0])(*step[1:])

    def change(self, kind, collection, count, late):
        """Something happens at the source."""
        if kind == "merge":
            self.sandbox.call("merge", renew=count % 2 == 0)
        elif kind == "delete":
            self.sandbox.call("delete", collection=collection, count=count % 7)
        elif kind == "long order":
            for order in self.sandbox.rows("orders")[:1]:
                self.sandbox.insert("orderlines", 105, owner=int(order["OrderID"]))
        elif kind == "insert":
            self.sandbox.call("insert", collection=collection, count=count, equal=count % 2 == 0, late=late)
        else:
            self.sandbox.call("touch", collection=collection, count=count, equal=kind == "crowd", late=late)

    def wait(self, seconds):
        """Time passes at the provider."""
        self.sandbox.call("advance", seconds=seconds)

    def run(self, job, top, pace, meanwhile, trouble):
        """A run of a job, while its table changes, time passes, and something may go wrong."""
        kind, number, detail = trouble
        churn, changes = meanwhile
        self.sandbox.set(churn=churn, churn_crowd=25)
        table = job if job in COLLECTIONS else "registrations"

        def answered(reached):
            if reached == CALM:  # what changes faster than it is read is never read to its end
                self.sandbox.set(churn=0)
            elif changes and reached < CALM:
                what, count, late = changes[reached % len(changes)]
                self.change(what, table, count, late)
            self.sandbox.call("advance", seconds=pace)
            if reached == number and kind == "request":
                raise Killed
            if reached == number and kind == "fault":
                self.sandbox.fault("api", detail, retry_after="1")
            if reached == number and kind == "within" and job == "deletions":
                self.arlo.after_page = lambda _: None
                self.arlo.run_within(self.arlo.new_session(), JOBS[FAULTS.index(detail) % 4], self.sink, settle=2)

        def struck(reached, when):
            if kind == when and reached == number:
                raise Killed

        self.arlo.after_page, self.arlo.strike = answered, struck
        try:
            self.arlo.run(job, self.sink, top=top, settle=2)
        except (Killed, WorkerError, requests.RequestException):
            pass
        finally:
            self.arlo.after_page, self.arlo.strike = lambda _: None, lambda _number, _when: None
            self.sandbox.set(churn=0)
            self.sandbox.clear_faults()

    def rest(self):
        """Quiescence: nothing changes any more, and each job runs once."""
        self.wait(60)
        for job in JOBS[:-1]:
            self.arlo.run(job, self.sink, settle=2)
        expected = truth(self.sandbox)
        assert current_lines(self.sink.path) >= expected["orderlines"].keys()
        self.arlo.run("deletions", self.sink)
        found = stored(self.sink.path)
        merged = found.pop("merged")
        assert found == expected
        assert set(resolved(merged).values()).isdisjoint(merged)
        assert merged.keys().isdisjoint(expected["contacts"])


_trouble = st.one_of(
    st.tuples(st.just("none"), st.just(0), st.just("")),
    st.tuples(st.sampled_from(["request", "before", "after"]), st.integers(1, 12), st.just("")),
    st.tuples(st.sampled_from(["fault", "within"]), st.integers(1, 8), st.sampled_from(FAULTS)),
)
_kinds = st.sampled_from(["touch", "touch", "crowd", "insert", "delete", "merge", "long order"])
_late = st.sampled_from([0.0, 0.0, 1.7])
_changes = st.tuples(_kinds, st.integers(1, 12), _late)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), _kinds, st.sampled_from(COLLECTIONS), st.integers(1, 40), _late),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 60.0])),
        st.tuples(
            st.just("run"),
            st.sampled_from(JOBS),
            st.sampled_from([3, 10, 250]),
            st.sampled_from([0.0, 0.4, 1.0]),
            st.tuples(st.sampled_from([0.0, 0.0, 0.5]), st.lists(_changes, max_size=4)),
            _trouble,
        ),
    ),
    min_size=4,
    max_size=14,
)


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.reuse, Phase.generate],  # to shrink an example takes minutes, and each step of it says what it does
)
@given(steps=_steps, seed=st.integers(1, 50))
def test_arlo_sink_equals_the_source_after_quiescence(trusted_jobs, steps, seed):
    """Killed at any request or checkpoint, cut by any fault, read while it changes: every row, every column."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(SandboxConfig(rows=40, seed=seed, rate_limit=0)) as sandbox:
        play = Play(sandbox, trusted_jobs, folder)
        for step in steps:
            play.take(step)
        play.rest()


def test_arlo_sync_survives_processes_that_are_killed(trusted_jobs, tmp_path):
    """SIGKILL in the middle of a request or right behind a checkpoint, while the data changes; then all is made up."""
    dice = random.Random(4)
    with Sandbox(SandboxConfig(rows=120, rate_limit=0, churn=0.3, churn_crowd=40)) as sandbox:
        play = Play(sandbox, trusted_jobs, tmp_path)
        given = json.dumps({"api_base": sandbox.api_base, "access_token": play.arlo.token})
        for fence, job in enumerate([*JOBS, "registrations"], start=1):
            deadly = dice.choice([dice.randrange(2, 6), -dice.randrange(1, 4)]) if job != "deletions" else 4
            command = [sys.executable, PROCESS, trusted_jobs, play.sink.path, str(fence), job, str(deadly)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            ended = subprocess.run(
                command, input=given, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            assert ended.returncode == -signal.SIGKILL, ended.stderr
        sandbox.set(churn=0)
        play.arlo.fence = 100
        play.rest()
