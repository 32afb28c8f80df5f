"""The two kinds of store that a restore replaces: a file, by a rename; a server's tables, by one transaction."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import text

from worker.errors import StoreUnusable
from worker.store.advisory_locks import session_name
from worker.store.backup import back_up, opened, sync_file
from worker.store.files import file_fault
from worker.store.locks import process_note
from worker.store.migrate import schema_version, upgrade_unshared
from worker.store.portable import replace_rows
from worker.store.witness_file import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.store.comparison import Reconciled
    from worker.store.database import Database

#: What SQLite keeps beside a database file.
BESIDE = ("-journal", "-wal", "-shm")
#: Seconds that a server is given to notice that a process has ended, and between two looks.
_NOTICED, _LOOK = 1.0, 0.05


class Target(Protocol):
    """A store that is to be replaced."""

    #: Where to put the copy that will replace it: beside this name.
    copy_beside: Path

    def present(self) -> AbstractContextManager[Database]:
        """The database that is to be replaced."""

    def exists(self) -> bool:
        """Whether there is anything in it."""

    def keep_aside(self, sealer: Sealer, now: float, *, readable: bool) -> Path | None:
        """Copy what is there; answers where to."""

    def replace(self, copy: Path, compare: Callable[[Session], Reconciled]) -> Reconciled | None:
        """Put the copy in its place, whole or not at all.

        Where that is a transaction, `compare` is called in it, and answered: nobody sees spent tokens unmarked.
        """


class FileTarget:
    """A SQLite store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: On the same file system, so that a rename can put it in place.
        self.copy_beside = path

    @contextmanager
    def present(self) -> Iterator[Database]:
        """The database that is to be replaced. A transaction that a crash has cut off is rolled back by this."""
        with opened(self._path) as database:
            yield database

    def exists(self) -> bool:
        """Whether there is anything in it."""
        return self._path.exists() and self._path.stat().st_size > 0

    def keep_aside(self, _sealer: Sealer, now: float, *, readable: bool) -> Path | None:
        """Copy the present database, and what lies beside it when it could not be read."""
        if not self.exists():
            return None
        kept = _unused(self._path.with_name(f"{self._path.name}.before-restore-{_stamp(now)}"))
        for ending in ("", *(() if readable else BESIDE)):
            source, aside = Path(f"{self._path}{ending}"), Path(f"{kept}{ending}")
            if source.exists():
                copy_file(source, aside)
                sync_file(aside)
        sync_folder(kept.parent)
        return kept

    def replace(self, copy: Path, compare: Callable[[Session], Reconciled]) -> None:  # noqa: ARG002 - as agreed
        """Put the copy in place. A journal that was left behind belongs to the old file: SQLite would play it in."""
        sync_file(copy)
        for ending in BESIDE:
            Path(f"{self._path}{ending}").unlink(missing_ok=True)
        sync_folder(self._path.parent)
        copy.replace(self._path)
        sync_folder(self._path.parent)


class ServerTarget:
    """A PostgreSQL store."""

    def __init__(self, database: Database, state_folder: Path) -> None:
        self._database = database
        self._folder = state_folder
        self.copy_beside = state_folder / "restore"
        self._refuse_others()

    def _refuse_others(self) -> None:
        """Lock waiters, pools and daemons of other machines all call themselves by our name."""
        others = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'headless-worker%' AND application_name <> :ours AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + _NOTICED
        while True:
            with self._database.read() as session:
                count = session.execute(others, {"ours": session_name(restorers_note())}).scalar_one()
            if not count:
                return
            # The server needs a moment to notice that a process has ended.
            if time.monotonic() > deadline:
                raise StoreUnusable(
                    f"{self._database.name} is in use: {count} other connections",
                    hint="stop the daemon, and wait for other commands to end",
                )
            time.sleep(_LOOK)

    @contextmanager
    def present(self) -> Iterator[Database]:
        """The database that is to be replaced."""
        upgrade_unshared(self._database)
        yield self._database

    def exists(self) -> bool:
        """Whether there is anything in it."""
        return schema_version(self._database) is not None

    def keep_aside(self, sealer: Sealer, now: float, *, readable: bool) -> Path | None:
        """Back the present content up; what cannot be kept is not replaced."""
        if not self.exists():
            upgrade_unshared(self._database)
            return None
        if not readable:
            raise StoreUnusable(
                f"{self._database.name} holds something that cannot be read, and would be lost",
                hint="keep it with pg_dump, then name an empty database in store.url",
            )
        kept = _unused(self._folder / f"before-restore-{_stamp(now)}.db")
        return back_up(self._database, sealer, kept, now).path

    def replace(self, copy: Path, compare: Callable[[Session], Reconciled]) -> Reconciled:
        """All rows, in one transaction: whoever has connected meanwhile finds them compared."""
        with opened(copy) as backup, backup.read() as source, self._database.write() as target:
            replace_rows(source, target)
            return compare(target)


def restorers_note() -> str:
    """What is said of us to those whom the daemon's lock keeps out."""
    return f"a restore, {process_note()}"


def copy_file(source: Path, target: Path) -> None:
    """A private copy."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
    except OSError as error:
        raise file_fault(error, f"{source} cannot be copied to {target}", "look at its rights") from None


def _unused(path: Path) -> Path:
    """The path, or one like it that is not taken: a second restore within a second overwrites nothing."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(free for free in (path, *itertools.islice(numbered, 1000)) if not free.exists())


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
