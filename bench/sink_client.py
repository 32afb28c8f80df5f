"""A process that brings rows into a sink: `python sink_client.py KIND PLACE ROWS EVERY FOLDER`; with GONE behind it, a
second run then lists all keys but so many, and the figures are that run's.

KIND is sqlite, postgresql or jsonl, PLACE a file, a URL and a schema, or a folder. There is a checkpoint behind each
EVERY rows; those before it wait in FOLDER. Prints one JSON document: seconds, and the highest resident memory before
and after in MB.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from worker.clock import SystemClock
from worker.jobs.buffer import Buffer
from worker.jobs.sinks import Stream

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def sink_of(kind: str, place: str):
    """Only what the kind needs is imported: it counts as memory."""
    if kind == "postgresql":
        from worker.jobs.sinks.postgresql import PostgresqlSink

        url, schema = place.split(" ")
        return PostgresqlSink("sinks.bench", lambda: url, SystemClock(), schema=schema)
    if kind == "sqlite":
        from worker.jobs.sinks.sqlite import SqliteSink

        return SqliteSink(Path(place), SystemClock())
    from worker.jobs.sinks.jsonl import JsonlSink

    return JsonlSink(Path(place), SystemClock())


def row(number: int) -> dict[str, object]:
    """Nine columns, about 200 bytes as JSON."""
    return {
        "id": number,
        "name": f"attendee {number}",
        "email": f"attendee.{number}@example.org",
        "amount": Decimal(number % 10_000) / 100,
        "score": number * 0.5,
        "paid": number % 2 == 0,
        "changed_at": _BEGIN + timedelta(seconds=number),
        "tags": ["a", number % 7],
        "note": None if number % 3 else "x" * 40,
    }


def peak() -> float:
    """The highest resident memory of this process so far, in MB (ru_maxrss would count the parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def listing(kind: str, place: str, rows: int, gone: int, folder: str) -> dict[str, float]:
    """A full listing: every key is seen but those that are gone."""
    session = sink_of(kind, place).open(Stream("bench", "i", "acme"), 2)
    with closing(session), Buffer(session, folder=Path(folder)) as buffer:
        before, started = peak(), time.monotonic()
        buffer.seen("attendee", range(rows - gone))
        buffer.complete("attendee")
        buffer.checkpoint(at=-2)
        seconds = time.monotonic() - started
        assert [swept.gone.rows for swept in buffer.run.swept] == [gone]
    return {"seconds": seconds, "before": before, "peak": peak()}


def main(kind: str, place: str, rows: str, every: str, folder: str, gone: str = "") -> None:
    if gone:
        print(json.dumps(listing(kind, place, int(rows), int(gone), folder)))
        return
    session = sink_of(kind, place).open(Stream("bench", "i", "acme"), 1)
    with closing(session), Buffer(session, folder=Path(folder)) as buffer:
        buffer.emit("warm", row(0), key="id")
        buffer.checkpoint(at=-1)
        before = peak()
        started = time.monotonic()
        for first in range(0, int(rows), int(every)):
            buffer.emit("attendee", (row(first + number) for number in range(int(every))), key="id")
            buffer.checkpoint(at=first)
        seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
