"""A process that copies a collection: `python pipeline_client.py CLIENT SINK ADDRESS TOKEN PLACE ROWS FOLDER`.

CLIENT is rest, code, dlt (ours with a dlt sink), dlt-alone or singer; SINK sqlite, postgresql or duckdb; PLACE a file
or a URL. Prints one JSON document: seconds from the first request to the last commit, the rows that are there, and the
highest resident memory in MB, that of its own processes included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__)
PAGE = 1000

OURS = """
[sinks.target]
{sink}
[jobs.code]
uses = "bench_job.rows"
integration = "bench"
sink = "target"
params = {{ total = {rows}, limit = {page} }}
[jobs.rest]
uses = "rest"
integration = "bench"
sink = "target"
timeout = "12h"
[[jobs.rest.resources]]
name = "rows"
rows = "data"
params = {{ total = {rows}, limit = {page} }}
paging = {{ style = "cursor", path = "meta.next", parameter = "after" }}
primary_key = "id"
incremental = {{ field = "changed_at", param = "since" }}
"""
JOB = '''\
"""The same in code."""

from worker import Context, job
from worker.jobs.paging import Cursor


@job(scopes=[])
def rows(ctx: Context) -> None:
    """Copy rows."""
    for page in ctx.pages("rows", params=ctx.params, rows="data", style=Cursor("meta.next", "after")):
        ctx.emit("rows", page.rows, key="id")
        ctx.checkpoint(changed=page.last("changed_at"))
'''
DLT = 'type = "dlt"\ndataset = "bench"\nnested = "json"'
SINKS = {
    "sqlite": 'type = "sqlite"\npath = "{place}"',
    "postgresql": 'type = "postgresql"\nurl = "{place}"',
    "dlt-duckdb": f'{DLT}\ndestination = "duckdb"\npath = "{{place}}"',
    "dlt-postgresql": f'{DLT}\ndestination = "postgres"\ncredentials = "{{place}}"',
}


def peak() -> float:
    """The highest resident memory of this process so far, in MB (ru_maxrss would count the parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def peak_of_children() -> float:
    """The same of its largest child."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def ours(job, sink, source, place, rows, folder):
    """A recorded run, as the daemon makes it."""
    import house

    address, token = source
    text = OURS.format(sink=SINKS[sink].format(place=place), rows=rows, page=PAGE)
    config = house.furnish(Path(folder), address, f"{address}/v1/")
    config.write_text(config.read_text() + text)
    module = Path(folder) / "jobs" / "bench_job.py"
    module.write_text(JOB)
    module.chmod(0o644)
    wiring = house.wire(config)
    house.enrol(wiring, "acme", token, "r" * 43)
    account = wiring.store.accounts.list("bench")[0]
    assignment = wiring.assignments(job)[job]
    due = wiring.store.schedule.open_entry(job, account)
    started = time.monotonic()
    ended = wiring.runner.run(assignment, due, lambda _now: None)
    seconds = time.monotonic() - started
    run = wiring.store.runs.get(ended.run_id)
    assert str(run.state) == "succeeded", run.error
    return seconds, run.counts.rows


def dlt_alone(sink, address, token, place, rows, folder):
    """As its documentation shows."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": f"{address}/v1/",
                "auth": {"type": "bearer", "token": token},
                "paginator": {"type": "cursor", "cursor_path": "meta.next", "cursor_param": "after"},
            },
            "resources": [
                {
                    "name": "rows",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "max_table_nesting": 0,
                    "endpoint": {"path": "rows", "params": {"total": rows, "limit": PAGE}, "data_selector": "data"},
                }
            ],
        }
    )
    makers = {"duckdb": dlt.destinations.duckdb, "postgresql": dlt.destinations.postgres}
    pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=makers[sink](place), dataset_name="bench_alone")
    started = time.monotonic()
    pipeline.run(source).raise_on_failed_jobs()
    seconds = time.monotonic() - started
    return seconds, pipeline.last_trace.last_normalize_info.row_counts["rows"]


def singer(sink, address, token, place, rows):
    """A tap and a target, lines of JSON between them."""
    tool = [sys.executable, str(HERE.with_name("singer_pair.py"))]
    with (
        subprocess.Popen([*tool, "tap", address, token, str(rows)], stdout=subprocess.PIPE) as tap,
        subprocess.Popen([*tool, "target", sink, place], stdin=tap.stdout, stdout=subprocess.PIPE) as target,
    ):
        tap.stdout.close()
        told = json.loads(target.stdout.read())
    return told["seconds"], told["rows"], told["peak"]


def main(*arguments):
    client, sink, address, token, place, rows, folder = arguments
    more = 0.0
    if client == "singer":
        seconds, count, more = singer(sink, address, token, place, int(rows))
    elif client == "dlt-alone":
        seconds, count = dlt_alone(sink, address, token, place, int(rows), folder)
    else:
        kind = f"dlt-{sink}" if client == "dlt" else sink
        seconds, count = ours("code" if client == "code" else "rest", kind, (address, token), place, int(rows), folder)
        more = peak_of_children()
    own = 0.0 if client == "singer" else peak()
    print(json.dumps({"seconds": seconds, "rows": count, "peak": own + more}))


if __name__ == "__main__":
    main(*sys.argv[1:])
