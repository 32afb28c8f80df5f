"""A process that uses the API with a token that has lapsed there: `traced_process.py CONFIG ACCOUNT [SYNCHRONOUS]`.

It is what a run does: refused, refreshed, sent again. The last argument weakens SQLite's durability on every
connection, for the test that such a weakening is noticed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import event

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.config.load import load
from worker.jobs.addresses import origin
from worker.wiring import Wiring


def main() -> None:
    """One request."""
    config, account, *weakened = sys.argv[1:]
    wiring = Wiring(load(Path(config), {}), {})
    engine = wiring.store.database.engine
    if weakened:
        pragma = f"PRAGMA synchronous={weakened[0]}"
        event.listen(engine, "connect", lambda raw, _entry: raw.execute(pragma).close())
        engine.dispose()
    client = wiring.client("arlo")
    settings = SessionSettings(
        label="arlo/acme",
        api_base=client.integration.api_base,
        origins=frozenset(origin(place) for place in client.integration.api_origins),
        rules=client.rejection_rules,
        headers={"User-Agent": "test"},
    )
    source = TokenSource(int(account), wiring.refresher, wiring.store, wiring.clock)
    print(AccountSession(source, settings).get("events/").status_code)  # noqa: T201 - how it speaks


if __name__ == "__main__":
    main()
