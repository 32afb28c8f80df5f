"""Whole pipelines: a JSON API page by page into a database; ours, dlt alone, a Singer-like pair."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

from measure import Effort, Result, quartiles, ratios
from sinks import postgresql

CLIENT = Path(__file__).with_name("pipeline_client.py")
#: Client, sink, and what it is called. The first of a sink is the base of the ratios.
PIPELINES = (
    ("rest", "sqlite", 'headless-worker, uses = "rest"'),
    ("code", "sqlite", "headless-worker, job in code"),
    ("singer", "sqlite", "tap | target"),
    ("rest", "postgresql", 'headless-worker, uses = "rest"'),
    ("code", "postgresql", "headless-worker, job in code"),
    ("singer", "postgresql", "tap | target"),
    ("dlt-alone", "postgresql", "dlt, its REST source"),
    ("dlt", "postgresql", "headless-worker, sink dlt"),
    ("dlt-alone", "duckdb", "dlt, its REST source"),
    ("dlt", "duckdb", "headless-worker, sink dlt"),
)
METHOD = """\
{rows:,} rows of nine fields (230 bytes), 1000 a page, upserted by key into an empty table; the server makes them up as
they are asked for, on the same machine as everything else, as is PostgreSQL. A process of its own for each figure,
rounds: {rounds}, in an order drawn anew; seconds from the first request to the last commit, without start-up and
imports (our loads by dlt start a process, which counts). Ratios are paired by round, against the first of the same
sink: more is faster. Peak: resident memory of all its processes. Ours is a recorded run of the product: store, sealed
token, cursor with every commit. "tap | target" is a loop without a framework around it: lines of JSON through a pipe,
upserts of 10,000.
"""


def run(effort: Effort) -> list[Result]:
    if effort.quick:
        return [measured(2_000, 1, [each for each in PIPELINES if each[0] != "dlt"])]
    return [measured(10_000, 3, PIPELINES), measured(1_000_000, 1, [each for each in PIPELINES if _in_minutes(each)])]


def _in_minutes(pipeline) -> bool:
    """Whether a million rows take less than a coffee."""
    client, sink, _ = pipeline
    return client in {"rest", "singer"} or (client, sink) == ("dlt-alone", "postgresql")


def measured(rows: int, rounds: int, pipelines) -> Result:
    result = Result(f"pipelines-{rows}", f"Pipelines, {rows:,} rows", METHOD.format(rows=rows, rounds=rounds))
    figures = defaultdict(list)
    with json_server() as (address, token), postgresql() as url:
        for _ in range(rounds):
            for pipeline in random.sample(pipelines, len(pipelines)):
                figures[pipeline].append(one(pipeline, address, token, url, rows))
                print(f"pipelines: {pipeline} {figures[pipeline][-1]}", file=sys.stderr, flush=True)
    for client, sink, name in pipelines:
        base = next(each for each in pipelines if each[1] == sink)
        speeds, bases = ([rows / each["seconds"] for each in figures[which]] for which in ((client, sink, name), base))
        result.rows.append(
            {
                "pipeline": name,
                "sink": sink,
                "ratio": ratios(speeds, bases).shown(2),
                "rows/s": f"{quartiles(speeds).median:,.0f}",
                "peak MB": f"{quartiles([each['peak'] for each in figures[client, sink, name]]).median:.0f}",
            }
        )
    return result


def one(pipeline, address, token, url, rows) -> dict[str, float]:
    """One process, into a place of its own."""
    client, sink, _ = pipeline
    with tempfile.TemporaryDirectory() as folder, database(url, sink) as place:
        where = place or f"{folder}/target.db"
        command = [sys.executable, str(CLIENT), client, sink, address, token, where, str(rows), f"{folder}/work"]
        Path(folder, "work").mkdir()
        environment = {**os.environ, "PYTHONPATH": str(CLIENT.parents[1])}
        told = json.loads(
            subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, cwd=folder).stdout
        )
        assert told["rows"] == rows, told
        return told


@contextmanager
def database(url, sink):
    """A database on the server, gone afterwards; nothing for the sinks that are files."""
    import psycopg
    from sqlalchemy.engine import make_url

    if sink != "postgresql":
        yield ""
        return
    name = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        made = make_url(url).set(database=name, host="localhost", password="unused")
        yield made.render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def json_server():
    """Its address and the token that it wants."""
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-I", str(CLIENT.with_name("json_server.py")), token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", token
        finally:
            process.stdin.close()
            process.wait(10)
