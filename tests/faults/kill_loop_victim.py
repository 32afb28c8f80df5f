"""Processes that commit as fast as they can until they are killed: `kill_loop_victim.py FOLDER`.

One process imports everything and forks a victim for every line on standard input. A victim says `at PID` when it has
opened the store, and then, each time a commit has returned and never before, what it has committed:

    intent NAME GENERATION    a refresh of this generation has begun
    grant NAME GENERATION     it has ended: new tokens, under this generation
    sink NUMBER               a checkpoint: one more row, and the cursor beside it

The line is the fence of the victim's run. A victim that fails says `fault` and why. When it has ended, the first
process says `gone`. Each line is one write, so that none is torn.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kill_loop_store import INTEGRATION, NOW, STREAM, URL, new_tokens, read_sealer

from worker.clock import SystemClock
from worker.jobs.sinks import TableBatch
from worker.jobs.sinks.sqlite import SqliteSink
from worker.store.locks import account_lock
from worker.store.store import open_store

if TYPE_CHECKING:
    from worker.store.store import Store


def main() -> None:
    """Fork a victim for every line, one after the other."""
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _be_victim(folder, int(line))
        os.waitpid(child, 0)
        say("gone")


def say(words: str) -> None:
    """One line, in one write."""
    os.write(1, f"{words}\n".encode())


def _be_victim(folder: Path, fence: int) -> None:
    store = open_store(URL.format(folder=folder), folder, read_sealer(folder), NOW)
    names = [account.name for account in store.accounts.list()]
    work = [threading.Thread(target=_refresh_for_ever, args=(store, name), daemon=True) for name in names]
    work.append(threading.Thread(target=_emit_for_ever, args=(folder, fence), daemon=True))
    threading.excepthook = lambda hook: say(f"fault {hook.exc_type.__name__}: {hook.exc_value}")
    say(f"at {os.getpid()}")
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    os._exit(1)


def _refresh_for_ever(store: Store, name: str) -> None:
    account = store.accounts.get(INTEGRATION, name)
    while True:
        with store.locks.hold(account_lock(account.id)):
            grant = store.grants.read(account.id)
            store.grants.begin_refresh(grant, f"process {os.getpid()}", NOW)
            say(f"intent {name} {grant.generation}")
            stored = store.grants.complete_refresh(grant, new_tokens(name, grant.generation + 1), NOW)
        say(f"grant {name} {stored.generation}")


def _emit_for_ever(folder: Path, fence: int) -> None:
    session = SqliteSink(folder / "data.db", SystemClock()).open(STREAM, fence)
    number = session.cursor.get("number", 0)
    while True:
        number += 1
        session.write({"rows": TableBatch([{"id": number}], ("id",))}, {"number": number})
        say(f"sink {number}")


if __name__ == "__main__":
    main()
