"""Deletions by difference in the sqlite sink: what a full listing does not name goes, and only that."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import pytest

from worker.errors import WorkerError
from worker.jobs.brake import Brake, Rule
from worker.jobs.buffer import Buffer
from worker.jobs.sinks import Stream
from worker.jobs.sinks.sqlite import SqliteSink
from worker.runner.trial import dry_sink
from worker.testing import ManualClock

_FENCES = itertools.count(1)


@pytest.fixture
def sink(tmp_path):
    """A sink in a file that is not there yet."""
    return SqliteSink(tmp_path / "data.db", ManualClock())


def rows(*numbers):
    """Rows with these ids."""
    return [{"id": number, "name": f"n{number}"} for number in numbers]


def listing(sink, emitted=(), *, seen=(), job="list", account="acme", brake=None, during=lambda: None):
    """One run that lists the table `t`; answers what became of it."""
    session = sink.open(Stream(job, "books", account), next(_FENCES))
    with closing(session), Buffer(session, brake=brake or Brake()) as buffer:
        buffer.emit("t", emitted, key="id")
        buffer.seen("t", seen)
        during()
        buffer.complete("t")
        buffer.checkpoint(at=next(_FENCES))
        return buffer.swept[0]


def deliver(sink, emitted, *, job="other", account="acme"):
    """A run of another job, without a listing."""
    session = sink.open(Stream(job, "books", account), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.emit("t", emitted, key="id")
        buffer.finish()


def ids(sink, query="SELECT id FROM t ORDER BY id"):
    """The ids that are there."""
    with closing(sqlite3.connect(sink.path)) as connection:
        return [number for (number,) in connection.execute(query)]


def test_sweep_takes_away_what_the_listing_does_not_name(sink):
    """The difference, and nothing but the difference."""
    listing(sink, rows(1, 2, 3))
    assert listing(sink, rows(1, 3)).gone.rows == 1
    assert ids(sink) == [1, 3]


def test_sweep_believes_keys_that_were_only_seen(sink):
    """A listing of ids, without the rows; spelt as text, although the column holds numbers."""
    listing(sink, rows(1, 2, 3, 4))
    listing(sink, seen=["1", 2, {"id": 4, "more": "x"}])
    assert ids(sink) == [1, 2, 4]


def test_sweep_leaves_other_accounts_alone(sink):
    """Accounts share tables, not rows."""
    deliver(sink, rows(1, 2), job="list", account="globex")
    listing(sink, rows(1, 2))
    listing(sink, rows(1))
    assert ids(sink, "SELECT id FROM t WHERE _account = 'globex'") == [1, 2]


def test_sweep_of_a_run_that_ends_before_the_checkpoint_deletes_nothing(sink):
    """Complete, and then the process is gone."""
    listing(sink, rows(1, 2))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.seen("t", [1])
        buffer.complete("t")
    assert ids(sink) == [1, 2]


def test_sweep_spares_rows_that_another_job_delivered_meanwhile(sink):
    """They may be younger than the listing, new ones and old ones alike."""
    listing(sink, rows(1, 2, 3))
    listing(sink, rows(1, 3), during=lambda: deliver(sink, rows(2, 9)))
    assert ids(sink) == [1, 2, 3, 9]


def test_sweep_takes_away_what_another_job_delivered_before(sink):
    """The spared row goes with the next listing that does not name it."""
    listing(sink, rows(1, 2))
    listing(sink, rows(1), during=lambda: deliver(sink, rows(2)))
    listing(sink, rows(1))
    assert ids(sink) == [1]


def test_first_sweep_beside_another_writer_is_not_believed(sink):
    """Nobody has noted what the other one delivered."""
    deliver(sink, rows(1, 2))
    swept = listing(sink, rows(1), during=lambda: deliver(sink, rows(2)))
    assert "from the next one on" in swept.unusable
    assert ids(sink) == [1, 2]


def test_sweep_of_too_many_is_held(sink):
    """Nothing is deleted; the rest of the run counts."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70), 200))
    assert (swept.gone.rows, bool(swept.change)) == (30, True)
    assert ids(sink) == [*range(100), 200]


def test_approved_change_takes_away_exactly_what_was_held_and_has_not_come_back(sink):
    """A row delivered since is no deletion any more."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    deliver(sink, rows(80, 500))
    stream = Stream("list", "books", "acme")
    assert [sink.settle(swept.change, stream, "t", approve=True) for _ in range(2)] == [29, 29]
    assert ids(sink) == [*range(70), 80, 500]


def test_rejected_change_is_dropped_and_held_anew(sink):
    """The next listing that says so asks again."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=False)
    again = listing(sink, rows(*range(70)))
    assert again.change
    assert len(ids(sink)) == 100


def test_newer_listing_supersedes_what_is_held(sink):
    """A change that nobody approved is not approved by a later mind."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    listing(sink, rows(*range(100)))
    assert sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=True) is None
    assert len(ids(sink)) == 100


def test_empty_listing_is_held_however_few_rows_there_are(sink):
    """The classic: a broken filter answers 200 and nothing."""
    listing(sink, rows(1, 2, 3))
    assert listing(sink).objection == "the listing is empty, and 3 rows are there"
    assert ids(sink) == [1, 2, 3]


def test_brake_that_is_off_lets_everything_go(sink):
    """The operator's word."""
    listing(sink, rows(1, 2, 3))
    listing(sink, brake=Brake(Rule(None)))
    assert ids(sink) == []


def test_marked_rows_stay_with_the_time_and_come_back(tmp_path):
    """`deletions = "mark"`: gone is a column, and a row that is seen or emitted again loses it."""
    sink = SqliteSink(tmp_path / "data.db", ManualClock(), mark_deleted=True)
    listing(sink, rows(1, 2, 3, 4))
    listing(sink, rows(1))
    assert ids(sink, "SELECT _deleted_at FROM t") == [None] + ["2026-01-01T00:00:00.000Z"] * 3
    listing(sink, rows(1, 2), seen=[3])
    assert ids(sink, "SELECT id FROM t WHERE _deleted_at IS NULL ORDER BY id") == [1, 2, 3]


def test_sweep_by_another_key_is_refused(sink):
    """Whatever it names, it does not name the rows."""
    listing(sink, rows(1, 2))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.seen("t", ["n1"], key="name")
        buffer.complete("t")
        with pytest.raises(WorkerError, match=r"has the key \(id\), but \(name\) were seen"):
            buffer.finish()


def test_preview_says_what_would_go_and_changes_nothing(sink):
    """For dry runs."""
    listing(sink, rows(1, 2, 3))
    dry = dry_sink(sink, Stream("list", "books", "acme"), None)
    assert listing(dry, rows(1)).sample == ("2", "3")
    assert ids(sink) == [1, 2, 3]
