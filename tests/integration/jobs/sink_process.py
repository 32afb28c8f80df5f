"""A process that writes to a sink until it is done or killed; prints each number once it is committed.

    sink_process.py KIND PATH ACCOUNT FENCE COUNT [LIMIT [PAUSE [ROWS [DEADLY]]]]

PATH is a file, a folder, or a server's URL followed by a space and a schema.

Goes on from the cursor. Rows have no key: one that is delivered twice shows. Every tenth row brings a new column and
every seventh a value of another type, so that processes that share a file change its tables at the same time. LIMIT
is the largest size of a file in bytes, 0 for none; before row PAUSE the process stops itself until SIGCONT. ROWS is the
number of rows in each checkpoint; when the sink has taken DEADLY of them, the process kills itself.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

from worker.clock import SystemClock
from worker.errors import WorkerError
from worker.jobs.buffer import Buffer
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.jsonl_segments import Rotation
from worker.jobs.sinks.sqlite import SqliteSink


def sink_of(kind, path, clock):
    """The sink of a kind; files of lines are small, so that they are finished often."""
    if kind == "postgresql":
        from worker.jobs.sinks.postgresql import PostgresqlSink

        url, schema = path.split(" ")
        return PostgresqlSink("sinks.test", lambda: url, clock, schema=schema)
    if kind == "sqlite":
        return SqliteSink(Path(path), clock)
    return JsonlSink(Path(path), clock, Rotation(2**18))


class DeadlySession:
    """A session whose process is killed when the sink has taken so many rows; -1 for never."""

    def __init__(self, session, at):
        self._session, self._at = session, at
        self.cursor, self.close = session.cursor, session.close

    def write(self, batches, cursor):
        return self._session.write({name: TableBatch(self._rows(batch)) for name, batch in batches.items()}, cursor)

    def _rows(self, batch):
        for number, row in enumerate(batch.rows):
            if number == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield row
        if self._at == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)


def main(kind, path, account, fence, count, limit="0", pause="-1", parts="3", deadly="-1"):
    """Write what is missing up to `count` checkpoints."""
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    sink = sink_of(kind, path, SystemClock())
    session = sink.open(Stream("j", "i", account), int(fence))
    if deadly != "-1":
        session = DeadlySession(session, int(deadly))
    with closing(session), Buffer(session) as buffer:
        for at in range(buffer.cursor.get("at", 0), int(count)):
            if at == int(pause):
                os.kill(os.getpid(), signal.SIGSTOP)
            rows = [{"at": at, "part": part, "pad": "x" * 200} for part in range(int(parts))]
            if at % 10 == 0:
                rows[0][f"column_{account}_{at}"] = at
            rows[1]["mixed"] = f"text {at}" if at % 7 == 6 else at
            buffer.emit("t", rows)
            buffer.checkpoint(at=at + 1)
            sys.stdout.write(f"{at}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except WorkerError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
