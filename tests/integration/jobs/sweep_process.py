"""A process that lists a table anew until it is done or killed; prints each listing's number once it is committed.

    sweep_process.py KIND PATH FENCE COUNT

Listing `at` names the ids below ROWS but those that end in the digit `at % 10`; ids that were away before come back.
"""

from __future__ import annotations

import sys
from contextlib import closing

from sink_process import sink_of

from worker.clock import SystemClock
from worker.jobs.brake import Brake, Rule
from worker.jobs.buffer import Buffer, RunTally
from worker.jobs.sinks import Stream

ROWS = 2000


def ids_of(at):
    """What the table holds after this listing."""
    return [number for number in range(ROWS) if number % 10 != at % 10]


def main(kind, path, fence, count):
    """List until `count` listings are committed."""
    session = sink_of(kind, path, SystemClock()).open(Stream("list", "i", "acme"), int(fence))
    run = RunTally(brake=lambda: Brake(Rule(None)))
    with closing(session), Buffer(session, run=run) as buffer:
        for at in range(buffer.cursor.get("at", 0), int(count)):
            present = ids_of(at)
            there = set(ids_of(at - 1)) if at else set()
            buffer.emit("t", [{"id": number, "at": at} for number in present if number not in there], key="id")
            buffer.seen("t", present)
            buffer.complete("t")
            buffer.checkpoint(at=at + 1)
            sys.stdout.write(f"{at}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
