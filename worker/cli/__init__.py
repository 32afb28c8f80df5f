"""The command line: parser and output, one file per command. May import everything, but only when a command runs.

Start reading at `main.py`. `worker --help` loads neither database nor HTTP nor crypto: a command's imports stand in
its body, and its options in the signature.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """The `worker` command."""
    if os.getpid() == 1:
        # The first process of a container gets no signal that it does not handle. The daemon and `worker once` have
        # handlers of their own; until those stand, and for all other commands, this one ends us.
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    from worker.cli.main import main as run

    run()
