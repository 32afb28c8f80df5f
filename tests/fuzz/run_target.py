"""Runs one fuzz target for so many seconds: `python tests/fuzz/run_target.py TARGET SECONDS`. `make fuzz` runs all.

Starts from the seeds in `corpus/TARGET`, keeps what it finds in `.cache/fuzz/TARGET` for the next time, and ends with 0
when nothing broke. A broken property is shown with its traceback and the file that reproduces it:
`python tests/fuzz/run_target.py TARGET FILE` plays that one again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent

with atheris.instrument_imports(include=["worker.oauth", "worker.redact", "urllib.parse", "json"]):
    from oauth_properties import CHECKS


def main() -> None:
    """Fuzz, or replay a file."""
    target, what = sys.argv[1:]
    found = HERE.parents[1] / ".cache" / "fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    limits = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=1024", f"-artifact_prefix={found.parent}/{target}-"]
    seeds = str(HERE / "corpus" / target)
    arguments = [what] if Path(what).is_file() else [f"-max_total_time={what}", str(found), seeds]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *arguments], CHECKS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
