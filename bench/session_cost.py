"""What a request costs: ours, bare requests, and the libraries that attach a token."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import house
import peers
from measure import Effort, Result, cores, pinned, quartiles, ratios

OURS, BARE = "headless-worker", "requests, static header"
METHOD = """\
27 bytes of JSON over loopback, keep-alive, no TLS; the server is a process on one core, the clients are one process on
another where there are two. One session for each client, its token valid. {rounds} rounds; in each, every client in
random order, {chunk} requests a turn. Medians [quartiles]; ratios are paired by round. CPU: the client process's own.
Ours reads its token from a real SQLite store and carries a run's deadline.
"""


@contextmanager
def fast_server():
    """The server's address."""
    server_core, _ = cores()
    command = [sys.executable, "-I", str(Path(__file__).with_name("fast_server.py"))]
    with pinned(server_core), subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(10)


def turn(session, url, requests_each, threads) -> tuple[float, float]:
    """Microseconds of wall time and of CPU for one request."""
    ready = threading.Barrier(threads + 1)

    def ask():
        ready.wait()
        for _ in range(requests_each):
            assert session.get(url).status_code == 200

    crew = [threading.Thread(target=ask) for _ in range(threads)]
    for one in crew:
        one.start()
    wall, cpu = time.perf_counter(), time.process_time()
    ready.wait()
    for one in crew:
        one.join()
    count = requests_each * threads
    return (time.perf_counter() - wall) / count * 1e6, (time.process_time() - cpu) / count * 1e6


def clients(folder: Path, address: str):
    """Name -> session."""
    wiring = house.wire(house.furnish(folder, address, f"{address}/"))
    account = house.enrol(wiring, "acme", "a" * 43, "r" * 43)
    grant = peers.Grant("a" * 43, "r" * 43, f"{address}/token", house.CLIENT_ID, house.CLIENT_SECRET)
    return wiring, {
        OURS: house.session(wiring, account),
        BARE: peers.plain(grant),
        "requests, auth callable": peers.with_callable(grant),
        "requests, trust_env off": peers.without_environment(grant),
        "Authlib": peers.authlib(grant),
        "requests-oauthlib": peers.requests_oauthlib(grant),
        "google-auth": peers.google_auth(grant),
    }


def run(effort: Effort) -> list[Result]:
    rounds, chunk = effort.pick(12, 4), effort.pick(300, 120)
    _, client_core = cores()
    with tempfile.TemporaryDirectory() as folder, fast_server() as address, pinned(client_core):
        wiring, sessions = clients(Path(folder), address)
        try:
            return [measured(sessions, f"{address}/row", (rounds, chunk, threads)) for threads in (1, 8)]
        finally:
            for session in sessions.values():
                session.close()
            wiring.store.close()


def measured(sessions, url, plan) -> Result:
    rounds, chunk, threads = plan
    walls, cpus = defaultdict(list), defaultdict(list)
    for session in sessions.values():
        turn(session, url, 20, threads)
    for _ in range(rounds):
        for name in random.sample(list(sessions), len(sessions)):
            wall, cpu = turn(sessions[name], url, max(chunk // threads, 1), threads)
            walls[name].append(wall)
            cpus[name].append(cpu)
    suffix = "one thread" if threads == 1 else f"{threads} threads share the session"
    result = Result(
        f"session-cost-{threads}", f"Cost of a request, {suffix}", METHOD.format(rounds=rounds, chunk=chunk)
    )
    for name in sorted(sessions, key=lambda name: quartiles(walls[name]).median):
        result.rows.append(
            {
                "client": name,
                "ratio": ratios(walls[name], walls[BARE]).shown(2),
                "CPU ratio": ratios(cpus[name], cpus[BARE]).shown(2),
                "us": quartiles(walls[name]).shown(),
                "CPU us": quartiles(cpus[name]).shown(),
                "requests/s": f"{1e6 / quartiles(walls[name]).median:.0f}",
            }
        )
    return result
