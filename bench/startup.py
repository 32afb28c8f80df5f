"""How long a command takes before it says anything, against the interpreter that runs it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import house
from measure import Effort, Result, quartiles, ratios

BARE = "python -I -c pass"
METHOD = """\
{rounds} rounds; in each, every command once, in random order, as a process of its own with warm caches. Wall and CPU
time, medians [quartiles]; ratio and difference against the bare interpreter are paired by round. `worker status` and
`worker accounts list` read a real store with three accounts.
"""


def commands(config: Path):
    worker = str(Path(sys.executable).with_name("worker"))
    return {
        BARE: [sys.executable, "-I", "-c", "pass"],
        "worker --help": [worker, "--help"],
        "worker config check": [worker, "--config", str(config), "config", "check"],
        "worker status": [worker, "--config", str(config), "status"],
        "worker accounts list": [worker, "--config", str(config), "accounts", "list"],
    }


def once(command) -> tuple[float, float]:
    """Milliseconds of wall time and of CPU until the process has ended."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def run(effort: Effort) -> list[Result]:
    rounds = effort.pick(15, 3)
    walls, cpus = defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        config = house.furnish(Path(folder), "http://127.0.0.1:9", "http://127.0.0.1:9/")
        wiring = house.wire(config)
        for name in ("acme", "globex", "initech"):
            house.enrol(wiring, name, "a" * 43, "r" * 43)
        wiring.store.close()
        plan = commands(config)
        for command in plan.values():
            once(command)
        for _ in range(rounds):
            for name in random.sample(list(plan), len(plan)):
                wall, cpu = once(plan[name])
                walls[name].append(wall)
                cpus[name].append(cpu)
    result = Result("startup", "Start-up of a command", METHOD.format(rounds=rounds))
    for name in plan:
        more = quartiles([one - bare for one, bare in zip(walls[name], walls[BARE], strict=True)])
        result.rows.append(
            {
                "command": name,
                "ratio": ratios(walls[name], walls[BARE]).shown(1),
                "CPU ratio": ratios(cpus[name], cpus[BARE]).shown(1),
                "difference ms": "-" if name == BARE else more.shown(),
                "ms": quartiles(walls[name]).shown(),
                "CPU ms": quartiles(cpus[name]).shown(),
            }
        )
    return [result]
