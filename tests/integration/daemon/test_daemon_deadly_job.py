"""A job that takes the daemon with it, every time: it is made to wait, and the other accounts are served."""

from __future__ import annotations

import signal

DEADLY = '''
"""Ends its process, for one account."""

import os

from worker import job


@job
def deadly(ctx):
    if ctx.account == "acme":
        os._exit(139)
'''


def test_job_that_takes_the_daemon_with_it_waits_while_the_others_run(place, until):
    """Two crashes in a row, as by a service manager's restarts; then the daemon stays up."""
    place.add_job_file("deadly", DEADLY)
    place.jobs["deadly"] = {"uses": "deadly.deadly", "integration": "books", "sink": "local", "every": "2s"}
    place.options["concurrency"] = 1  # so that nobody else is under way when it happens
    place.write()
    account = place.enroll("acme")
    place.enroll("globex")
    ends = [place.daemon().end(), place.daemon().end()]
    third = place.ready()
    until(lambda: place.states("deadly").count("succeeded") >= 3)
    assert (ends, third.process.poll()) == ([139, 139], None)
    row = place.wiring.store.schedule.entry("deadly", account.id)
    assert (row.crashes, row.next_due > place.wiring.clock.now() + 20) == (2, True)
    assert {run.account for run in place.runs("deadly") if run.state == "succeeded"} == {"globex"}
    assert third.stop() == 0


def test_kill_of_the_daemon_once_has_no_consequence_but_another_run(place, until):
    """An operator's SIGKILL is not held against the job."""
    place.job("waiting")
    account = place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    daemon.send(signal.SIGKILL)
    daemon.end()
    place.go()
    place.ready()
    until(lambda: place.states() == ["interrupted", "succeeded"])
    assert place.wiring.store.schedule.entry("waiting", account.id).crashes == 0
