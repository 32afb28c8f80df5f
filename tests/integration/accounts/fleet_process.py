"""A process that tends an integration's held accounts, and kills itself at a moment that was named.

python fleet_process.py CONFIG tend|release|confirm NEVER|REFRESHED|COMMITTING|COMMITTED
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.orm import Session

from worker.config.load import load
from worker.events import GrantRefreshed
from worker.wiring import Wiring


def main() -> None:
    """Do it, as far as it gets."""
    config, what, moment = sys.argv[1:]
    wiring = Wiring(load(Path(config), {}), {})
    fleet = wiring.refresher.fleet
    if moment == "REFRESHED":
        wiring.events.subscribe(lambda fact: _end() if isinstance(fact, GrantRefreshed) else None)
    elif moment == "COMMITTING":
        event.listen(Session, "before_commit", _end)
    elif moment == "COMMITTED":
        event.listen(Session, "after_commit", _end)
    acts = {
        "tend": wiring.refresher.tend,
        "release": lambda: fleet.release("arlo", "decided by the operator"),
        "confirm": lambda: fleet.confirm("arlo", "decided by the operator"),
    }
    acts[what]()


def _end(_session: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
