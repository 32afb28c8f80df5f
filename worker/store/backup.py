"""A backup: one SQLite file that holds the store as it was at one moment, whichever database the store is in.

It is made while the daemon writes. SQLite's pages are copied in one step under a read transaction: writers wait for as
long as that takes, well below a second for most stores (in several steps it would begin anew whenever somebody has
written, perhaps for ever; VACUUM INTO would keep writers waiting for longer, and rewrites the file instead of showing
whether its pages are sound). A server is read in one snapshot, which keeps nobody waiting.

    make a private temporary file beside FILE
    copy, write the time into it
    verify (integrity, foreign keys, key), fsync
    give it its name, which must not be taken; fsync the folder

A backup opens with the same keyring, and is as secret as the store.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from sqlmodel import col

from worker.errors import StoreUnusable, TryAgainLater, UsageFault, WorkerError
from worker.store.database import Database
from worker.store.files import file_fault
from worker.store.key_check import verify_key
from worker.store.migrate import HEAD, upgrade_unshared
from worker.store.portable import replace_rows
from worker.store.tables import AccountRow, LineageRow
from worker.store.witness_file import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.crypto.sealing import Sealer

#: What file systems answer that know no second name for a file.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK})


@dataclass(frozen=True)
class BackupReport:
    """A backup that was made and verified."""

    path: Path
    bytes: int
    accounts: int
    schema: str
    made_at: float


def back_up(database: Database, sealer: Sealer, file: Path, now: float) -> BackupReport:
    """Copy the store into a new file.

    Raises UsageFault when there is something of that name, TryAgainLater when the disk is full, StoreUnusable when the
    database is damaged (the file is then not made), and as reading the store does.
    """
    if file.exists() or file.is_symlink():
        raise UsageFault(f"{file} exists; a backup never overwrites a file", hint="name another one, or move it away")
    with unfinished(file) as part:
        if database.is_sqlite:
            _copy_pages(database, part)
        else:
            _copy_rows(database, part, file)
        with opened(part) as copy:
            with told_of(copy, str(file)), copy.write() as session:
                lineage = session.get(LineageRow, 1) or LineageRow(id=1)
                lineage.backed_up_at = now
                session.add(lineage)
            with told_of(copy, database.name):
                accounts = verify(copy, sealer, now, "worker store check; then restore the last sound backup")
        sync_file(part)
        size = part.stat().st_size
        _name(part, file)
    return BackupReport(file, size, accounts, HEAD, now)


def verify(copy: Database, sealer: Sealer, now: float, remedy: str) -> int:
    """Look a copy over; answers how many accounts it has. Raises StoreUnusable (with `remedy`), KeyUnusable."""
    faults = copy.integrity_faults()
    if faults:
        raise StoreUnusable(f"{copy.name} is damaged: {'; '.join(faults[:3])}", hint=remedy)
    verify_key(copy, sealer, now)
    with copy.read() as session:
        return int(session.execute(select(func.count()).select_from(AccountRow)).scalar_one())


@contextmanager
def told_of(copy: Database, name: str) -> Iterator[None]:
    """What is wrong with a private copy, told of the file that people know."""
    try:
        yield
    except WorkerError as error:
        words = error.message.replace(copy.name, name)
        raise type(error)(words, hint=error.hint, evidence=error.evidence) from None


@contextmanager
def unfinished(file: Path) -> Iterator[Path]:
    """A private file beside the one it is to become; gone when the block ends, unless it was given its name."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    except OSError as error:
        raise file_fault(error, f"{file} cannot be made", "look at its folder, its rights and its disk") from None
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
    except OSError as error:
        raise file_fault(error, f"{file} cannot be written", "look at its folder, its rights and its disk") from None
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            Path(f"{part}{ending}").unlink(missing_ok=True)


@contextmanager
def opened(file: Path) -> Iterator[Database]:
    """A copy that nobody else has, as a database."""
    database = Database(f"sqlite:///{file}")
    try:
        yield database
    finally:
        database.close()


def sync_file(file: Path) -> None:
    """Make the file's content durable."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_pages(database: Database, part: Path) -> None:
    with database.read() as session, closing(sqlite3.connect(part)) as target:
        # Not synced page by page: writers wait meanwhile. The whole file is, afterwards.
        target.execute("PRAGMA synchronous=OFF")
        target.execute("PRAGMA journal_mode=OFF")
        # Takes the lock, patiently; the copying itself would ask for it in a loop of its own.
        session.execute(select(col(LineageRow.mark))).all()
        source = session.connection().connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        try:
            source.backup(target)
        except sqlite3.Error as error:
            # Primary result codes: the lowest byte (sqlite.org/rescode.html). A quota or limit is an I/O error to it.
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
            kind = TryAgainLater if full else StoreUnusable
            hint = "look at the disk: is it full?" if full else "worker store check"
            raise kind(f"{database.name} could not be copied: {error}", hint=hint) from None


def _copy_rows(database: Database, part: Path, file: Path) -> None:
    snapshot = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with opened(part) as copy, told_of(copy, str(file)):
        upgrade_unshared(copy)
        with database.errors_told(), Session(snapshot) as source, source.begin(), copy.write() as target:
            source.execute(text("SET TRANSACTION READ ONLY"))
            replace_rows(source, target)


def _name(part: Path, file: Path) -> None:
    try:
        # Not a rename, which would overwrite what has come there meanwhile.
        os.link(part, file)
    except FileExistsError:
        raise UsageFault(
            f"{file} exists meanwhile; a backup never overwrites a file", hint="name another one"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LINKS or file.exists():
            raise
        part.rename(file)
    part.unlink(missing_ok=True)
    sync_folder(file.parent)
