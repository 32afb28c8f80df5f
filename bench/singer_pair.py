"""What a Singer tap and target do, without a framework around them: `singer_pair.py tap ADDRESS TOKEN ROWS` writes
SCHEMA, RECORD and STATE lines, `singer_pair.py target SINK PLACE` upserts them in batches.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

BATCH, PAGE = 10_000, 1000
COLUMNS = ("id", "name", "email", "amount", "score", "paid", "changed_at", "tags", "note")
TABLE = (
    "CREATE TABLE rows (id bigint PRIMARY KEY, name text, email text, amount double precision, score double precision, "
    "paid boolean, changed_at text, tags text, note text)"
)


def tap(address, token, rows):
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    params = {"total": rows, "limit": PAGE}
    say({"type": "SCHEMA", "stream": "rows", "schema": {}, "key_properties": ["id"]})
    while True:
        body = session.get(f"{address}/v1/rows", params=params).json()
        for row in body["data"]:
            say({"type": "RECORD", "stream": "rows", "record": row})
        say({"type": "STATE", "value": {"rows": body["data"][-1]["changed_at"], "peak": peak()}})
        if body["meta"]["next"] is None:
            return
        params["after"] = body["meta"]["next"]


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")


def target(sink, place):
    write = upsert_into(sink, place)
    started, count, tap_peak, batch = 0.0, 0, 0.0, []
    for line in sys.stdin:
        started = started or time.monotonic()
        message = json.loads(line)
        if message["type"] == "RECORD":
            batch.append(message["record"])
            if len(batch) == BATCH:
                count += write(batch)
                batch = []
        elif message["type"] == "STATE":
            tap_peak = message["value"]["peak"]
    count += write(batch)
    print(json.dumps({"seconds": time.monotonic() - started, "rows": count, "peak": peak() + tap_peak}))


def upsert_into(sink, place):
    mark = "%s" if sink == "postgresql" else "?"
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    statement = f"INSERT INTO rows VALUES ({', '.join([mark] * len(COLUMNS))}) ON CONFLICT (id) DO UPDATE SET {changes}"
    if sink == "postgresql":
        import psycopg

        connection = psycopg.connect(place)
        connection.execute(TABLE)
        cursor = connection.cursor()
    else:
        connection = sqlite3.connect(place)
        connection.execute(TABLE)
        cursor = connection

    def write(batch):
        rows = [[json.dumps(row[name]) if name == "tags" else row[name] for name in COLUMNS] for row in batch]
        cursor.executemany(statement, rows)
        connection.commit()
        return len(rows)

    return write


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    {"tap": tap, "target": target}[sys.argv[1]](*sys.argv[2:])
