"""A process on the same store as the tests: `store_process.py COMMAND URL STATE_FOLDER …`.

The keyring is the first line of standard input; every further line lets it do the next step. What it did, it says on
standard output, one line for each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event, text

from worker.crypto.keyring import parse_keyring
from worker.crypto.sealing import Sealer
from worker.errors import WorkerError
from worker.redact import Secret
from worker.store.restore import Place, restore
from worker.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

_NOW = 1_767_225_600.0


def main() -> None:
    """Do what the command line says."""
    command, url, folder, *words = sys.argv[1:]
    sealer = Sealer(parse_keyring(json.loads(sys.stdin.readline()), "stdin"))
    if command == "open":
        _open(url, Path(folder), sealer)
        return
    if command == "restore":
        _restore(Place(url, Path(folder), Path(folder) / "witness", sealer), Path(words[0]), int(words[1]))
        return
    store = open_store(url, Path(folder), sealer, _NOW)
    _COMMANDS[command](store, *words)


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def _pause() -> None:
    sys.stdin.readline()


def _open(url: str, folder: Path, sealer: Sealer) -> None:
    """Open the store at the same moment as others do: say what came of it."""
    os.umask(0)
    _say("ready")
    _pause()
    try:
        store = open_store(url, folder, sealer, _NOW)
    except WorkerError as error:
        _say(f"{type(error).__name__}: {error.message}")
        return
    store.close()
    _say("opened")


def _restore(place: Place, file: Path, last: int) -> None:
    """Restore a backup, and be killed at the step of that number; 0: say how many steps there are.

    A step is a statement that is about to go to a database, or a file that is about to be opened, renamed or removed.
    """
    steps = 0
    own = threading.get_ident()

    def step() -> None:
        nonlocal steps
        steps += threading.get_ident() == own
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(name: str, arguments: tuple[object, ...]) -> None:
        if name in {"os.rename", "os.remove", "os.link", "sqlite3.connect"} or (
            name == "open" and str(arguments[0]).startswith(str(place.state_folder))
        ):
            step()

    sys.addaudithook(hear)
    event.listen(Engine, "before_cursor_execute", lambda *_: step())
    event.listen(Engine, "commit", lambda *_: step())
    restore(place, file, _NOW + 60)
    _say(steps)


def _hold(store: Store, name: str) -> None:
    """Hold a lock until told to let go, or killed."""
    with store.locks.hold(name):
        _say("held")
        _pause()
    _say("let go")
    _pause()


def _hold_with_child(store: Store, name: str) -> None:
    """Hold a lock, fork a child that lives on with every open file, and let go."""
    with store.locks.hold(name):
        child = os.fork()
        if child == 0:
            # Its pipes are closed so that nobody waits for it, and it ends by itself should nobody end it.
            os.close(0)
            os.close(1)
            time.sleep(60)
            os._exit(0)
    _say("let go")
    _pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _hold_with_leaving_child(store: Store, name: str) -> None:
    """Hold a lock while a forked child leaves the block as a job's does that calls sys.exit."""
    child = -1
    try:
        with store.locks.hold(name):
            child = os.fork()
            if child == 0:
                sys.exit()
            os.waitpid(child, 0)
            _say("left")
            _pause()
    finally:
        if child == 0:
            os._exit(0)


def _write(store: Store, account: str) -> None:
    """Keep a write transaction open until told to commit."""
    with store.database.write() as session:
        session.execute(text("UPDATE account SET reason = 'theirs' WHERE name = :name"), {"name": account})
        _say("writing")
        _pause()
    _say("committed")


def _spill(store: Store, rows: str) -> None:
    """Write so much in one transaction that it spills into the file before it is committed, then wait to be killed."""
    with store.database.write() as session:
        session.execute(text("PRAGMA cache_size=5"))
        for number in range(int(rows)):
            session.execute(
                text("INSERT INTO client_secret VALUES ('x', :name, :value, 1, 0)"),
                {"name": f"n{number}", "value": os.urandom(2000)},
            )
        _say("spilled")
        _pause()


def _begin_refresh(store: Store, account: str) -> None:
    """Take the account's lock, commit the intent, and wait to be killed before the answer is stored."""
    grant = store.grants.read(store.accounts.get("arlo", account).id)
    with store.locks.hold(f"account-{grant.account.id}"):
        store.grants.begin_refresh(grant, f"process {os.getpid()}", _NOW)
        _say("begun")
        _pause()


def _claim(store: Store, job: str, account: str) -> None:
    """Take a firing, and wait to be killed in the middle of the run."""
    due = store.schedule.entry(job, store.accounts.get("arlo", account).id)
    assert due is not None
    with store.locks.hold(f"run-{job}-{due.account.id}"):
        claim = store.schedule.claim(due, _NOW, _NOW + 60, f"process {os.getpid()}", "schedule")
        _say(claim.run_id if claim else "nothing")
        _pause()


def _set_secrets(store: Store, count: str) -> None:
    """Acknowledge one client secret after the other, for as long as nobody kills us."""
    for number in range(int(count)):
        store.secrets.set("arlo", "counter", Secret(f"number {number}"), _NOW)
        _say(number)


_COMMANDS: dict[str, Callable[..., None]] = {
    "hold": _hold,
    "hold-with-child": _hold_with_child,
    "hold-with-leaving-child": _hold_with_leaving_child,
    "write": _write,
    "spill": _spill,
    "begin-refresh": _begin_refresh,
    "claim": _claim,
    "set-secrets": _set_secrets,
}

if __name__ == "__main__":
    main()
