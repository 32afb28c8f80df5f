"""One of the processes of a stampede: `python stampede_process.py CONFIG ACCOUNT URL shared|each`.

Says `armed` when each of its sixteen threads has a session with the token in hand, waits for a line, lets all of them
make one request at once, and answers their outcomes as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.config.load import load
from worker.jobs.addresses import origin
from worker.wiring import Wiring

THREADS = 16


def session(wiring: Wiring, account: int) -> AccountSession:
    """The session that a job of this account gets."""
    client = wiring.client("arlo")
    settings = SessionSettings(
        label="arlo/acme",
        api_base=client.integration.api_base,
        origins=frozenset(origin(place) for place in client.integration.api_origins),
        rules=client.rejection_rules,
        headers={},
    )
    return AccountSession(TokenSource(account, wiring.refresher, wiring.store, wiring.clock), settings)


def main() -> None:
    """Arm, wait, rush."""
    config, account, url, manner = sys.argv[1:]
    wiring = Wiring(load(Path(config), {}), {})
    shared = session(wiring, int(account))
    sessions = [shared if manner == "shared" else session(wiring, int(account)) for _ in range(THREADS)]
    for one in dict.fromkeys(sessions):
        assert one.get(url).status_code == 200
    start = threading.Barrier(THREADS)
    outcomes: list[str] = []

    def rush(one: AccountSession) -> None:
        start.wait()
        try:
            outcomes.append(str(one.get(url).status_code))
        except Exception as error:  # noqa: BLE001 - the test looks
            outcomes.append(repr(error))

    print("armed", flush=True)  # noqa: T201 - how it speaks
    sys.stdin.readline()
    threads = [threading.Thread(target=rush, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(outcomes), flush=True)  # noqa: T201 - as above
    wiring.store.close()


if __name__ == "__main__":
    main()
