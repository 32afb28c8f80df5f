"""A process that writes to a sink until it is done or killed; prints each number once it is committed.

    sink_process.py KIND PATH ACCOUNT FENCE COUNT [LIMIT [PAUSE]]

Goes on from the cursor. Rows have no key: one that is delivered twice shows. Every tenth row brings a new column and
every seventh a value of another type, so that processes that share a file change its tables at the same time. LIMIT
is the largest size of a file in bytes, 0 for none; before row PAUSE the process stops itself until SIGCONT.
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
from worker.jobs.sinks import Stream
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.sqlite import SqliteSink


def main(kind, path, account, fence, count, limit="0", pause="-1"):
    """Write what is missing up to `count`, three rows to a checkpoint."""
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    sink = (SqliteSink if kind == "sqlite" else JsonlSink)(Path(path), SystemClock())
    with closing(sink.open(Stream("j", "i", account), int(fence))) as session, Buffer(session) as buffer:
        for at in range(buffer.cursor.get("at", 0), int(count)):
            if at == int(pause):
                os.kill(os.getpid(), signal.SIGSTOP)
            rows = [{"at": at, "part": part, "pad": "x" * 200} for part in range(3)]
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
