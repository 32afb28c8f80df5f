"""The command line: parser and output, one file per command. May import everything, but only when a command runs.

Start reading at `main.py`. `worker --help` loads neither database nor HTTP nor crypto: a command's imports stand in
its body, and its options in the signature.
"""

from __future__ import annotations


def main() -> None:
    """The `worker` command."""
    from worker.cli.main import main as run

    run()
