"""`make bench`: ratios against the parts a user would pick instead, measured side by side in one run.

    python bench/run.py [--quick] [--json] [--only NAME]

Tables go to standard output, progress to standard error. Nothing is asserted: the machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version

import daemon_load
import pipelines
import session_cost
import sinks
import stampede
import startup
import survival
from measure import Effort, table

BENCHMARKS = {
    "session": session_cost,
    "stampede": stampede,
    "survival": survival,
    "startup": startup,
    "daemon": daemon_load,
    "sinks": sinks,
    "pipelines": pipelines,
}
PARTS = ("requests", "urllib3", "requests-oauthlib", "Authlib", "google-auth", "SQLAlchemy")


def read_arguments():
    made = argparse.ArgumentParser(prog="bench/run.py", description="Ratios, measured side by side in one run.")
    made.add_argument("--quick", action="store_true", help="about a minute, rough figures")
    made.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    made.add_argument("--only", choices=BENCHMARKS, action="append", help="may be repeated")
    return made.parse_args()


def surroundings() -> dict[str, object]:
    """What the figures were measured on and with."""
    return {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in PARTS},
    }


def main() -> int:
    arguments = read_arguments()
    effort = Effort(arguments.quick)
    around = surroundings()
    results = []
    for name in arguments.only or BENCHMARKS:
        started = time.monotonic()
        results += (fresh := BENCHMARKS[name].run(effort))
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        if not arguments.json:
            print("\n".join(table(result) for result in fresh), flush=True)
    if arguments.json:
        print(json.dumps({**around, "results": [asdict(result) for result in results]}, indent=2))
    else:
        parts = ", ".join(f"{name} {number}" for name, number in around["versions"].items())
        print(f"Python {around['python']}, {around['cores']} cores, load before {around['load_before']}; {parts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
