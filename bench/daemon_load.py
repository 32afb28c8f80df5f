"""The daemon: how soon it is ready, what it takes while idle, how late it fires, how many runs it records."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import house
from measure import Effort, Result, quartiles

METHOD = """\
`worker run` on SQLite with a job that does nothing. Ready: from the start of the process to READY=1 on systemd's
socket, {starts} starts. Memory: PSS of the idle process with one account. Under load the job is due every second for
each account, {seconds:.0f} s are counted; each run is recorded with durable commits at its start, in the sink and at
its end. Lag: how long after it was due a run started. More accounts than one process can serve show its ceiling:
firings then coalesce.
"""
JOB = '''\
"""Nothing to do."""

from worker import Context, job


@job(scopes=[])
def nothing(ctx: Context) -> None:
    """Do nothing."""
'''
SETTINGS = """
[jobs.nothing]
uses = "noop.nothing"
integration = "bench"
every = "{every}"
"""
#: Seconds at the start that do not count: rows are made and due at once.
WARM_UP = 3.0


@contextmanager
def daemon(config: Path):
    """A running daemon: its process and the seconds until it was ready."""
    worker = str(Path(sys.executable).with_name("worker"))
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        address = f"{folder}/notify"
        notified.bind(address)
        notified.settimeout(60)
        started = time.perf_counter()
        process = subprocess.Popen(
            [worker, "--config", str(config), "run"],
            env={**os.environ, "NOTIFY_SOCKET": address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in notified.recv(4096):
                pass
            yield process, time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@contextmanager
def furnished(accounts: int, every: str):
    """A folder with that many accounts and one job."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        config = house.furnish(place, "http://127.0.0.1:9", "http://127.0.0.1:9/", SETTINGS.format(every=every))
        job = place / "jobs" / "noop.py"
        job.write_text(JOB)
        job.chmod(0o644)
        wiring = house.wire(config)
        for number in range(accounts):
            house.enrol(wiring, f"account{number}", "a" * 43, "r" * 43)
        wiring.store.close()
        yield config


def memory(pid: int) -> float:
    """Megabytes: the process's own pages, and its share of those it has in common with others."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def starting(starts: int) -> list[dict[str, object]]:
    ready, idle = [], []
    with furnished(1, "1h") as config:
        for _ in range(starts):
            with daemon(config) as (process, seconds):
                ready.append(seconds * 1e3)
                time.sleep(1.0)
                idle.append(memory(process.pid))
    return [
        {"what": "ready after, ms", "figure": quartiles(ready).shown()},
        {"what": "idle memory, MB (PSS)", "figure": quartiles(idle).shown(1)},
    ]


def under_load(accounts: int, seconds: float) -> list[dict[str, object]]:
    with furnished(accounts, "1s") as config, daemon(config) as (process, _):
        time.sleep(WARM_UP)
        spent, since = cpu_seconds(process.pid), time.time()
        time.sleep(seconds)
        spent, until = cpu_seconds(process.pid) - spent, time.time()
        with sqlite3.connect(f"file:{config.parent}/state/worker.db?mode=ro", uri=True, timeout=30) as database:
            rows = database.execute(
                "SELECT started_at - due_at FROM run WHERE state = 'succeeded' AND started_at BETWEEN ? AND ?",
                (since, until),
            ).fetchall()
        database.close()
    lags = sorted(lag * 1e3 for (lag,) in rows if lag is not None)
    rate, last = len(rows) / (until - since), lags[int(len(lags) * 0.99)]
    name = f"{accounts} accounts, every second: "
    return [
        {"what": name + "runs recorded per second", "figure": f"{rate:.0f}"},
        {"what": name + "lag ms", "figure": f"{quartiles(lags).shown()}, 99 %: {last:.0f}"},
        {"what": name + "CPU ms a run", "figure": f"{spent / max(len(rows), 1) * 1e3:.1f}"},
    ]


def run(effort: Effort) -> list[Result]:
    starts, seconds = effort.pick(7, 2), effort.pick(8.0, 2.0)
    result = Result("daemon", "The daemon", METHOD.format(starts=starts, seconds=seconds))
    result.rows += starting(starts)
    for accounts in effort.pick((20, 200), (20,)):
        result.rows += under_load(accounts, seconds)
    return [result]
