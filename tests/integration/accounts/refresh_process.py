"""A process that refreshes one account, and may be killed meanwhile.

python refresh_process.py CONFIG ACCOUNT GENERATION
"""

from __future__ import annotations

import sys
from pathlib import Path

from worker.config.load import load
from worker.wiring import Wiring


def main() -> None:
    """Refresh once, and say what became of it."""
    config, account, generation = sys.argv[1:]
    wiring = Wiring(load(Path(config), {}), {})
    try:
        fresher = wiring.refresher.refresh(int(account), int(generation))
        print(fresher.generation, flush=True)  # noqa: T201 - how it speaks
    except Exception as error:  # noqa: BLE001 - the test looks
        print(type(error).__name__, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
