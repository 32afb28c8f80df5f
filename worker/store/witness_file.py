"""The witness's file: one JSON object a line, each with its checksum; appended and synced, never changed in place.

A line begins with a line break of its own, so a torn one before it (a full disk, a power loss) spoils nobody else's. A
write with O_APPEND lands whole behind all others; the shared lock only keeps away the one who replaces the file, which
happens now and then to drop what later lines have superseded.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from worker.errors import Busy, StoreUnusable, TryAgainLater
from worker.store.files import create_private_file, file_fault, look_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Its name in the state folder.
WITNESS = "witness"
#: Bytes below which a file is left as it is, and how many times its last compact size it may grow to.
_SMALL, _GROWTH = 1 << 20, 4
#: Bytes at the end that are searched for the last mark: some hundred lines.
_TAIL = 1 << 16
#: Seconds for which a process that replaces the file is waited for, and between two looks.
_PATIENCE, _LOOK = 30.0, 0.005

#: `sent`: the refresh token of this generation is about to be sent. `answered`: … and the answer brought no other.
#: `writing`: this generation is about to be committed; `consenting`: … of a new consent. `kept`: it was.
Phase = Literal["sent", "answered", "writing", "consenting", "kept"]
#: What has become of an account that the database has no (working) row of. `lost`: a restore took it; people were told.
Fate = Literal["", "revoked", "removed", "lost"]


@dataclass(frozen=True)
class Witnessed:
    """How far an account has come, as far as the witness knows."""

    uid: str
    #: `integration/account`.
    label: str
    generation: int
    #: The generation with which the refresh token was last replaced.
    refresh_token_generation: int
    phase: Phase
    fate: Fate = ""

    @property
    def certain(self) -> bool:
        """Whether the database is known to have come this far."""
        return self.phase not in {"writing", "consenting"}

    @property
    def enrolled(self) -> bool:
        """Whether a database has to hold this account: its first commit is certain, and nobody took it away since."""
        return not self.fate and (self.certain or self.generation > 1)


#: As they stand in a line; a later version may add others.
_NAMES = tuple(field.name for field in fields(Witnessed))


@dataclass(frozen=True)
class Testimony:
    """All that the witness knows."""

    accounts: dict[str, Witnessed]
    #: Of the last change; None when there is no such file.
    mark: str | None


class WitnessFile:
    """The file. Threads and processes may share it; it is opened anew for every use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, accounts: Iterable[Witnessed], mark: str = "", *, durable: bool = True) -> None:
        """Add what is known now, in one write; with a mark, the last line bears it.

        Raises TryAgainLater (the disk is full), StoreUnusable, Busy.
        """
        facts: list[dict[str, Any]] = [asdict(account) for account in accounts]
        if mark:
            facts.append({"mark": mark})
        lines = b"".join(_line(fact) for fact in facts)
        with self._opened(fcntl.LOCK_SH) as descriptor, self._told():
            if os.write(descriptor, lines) < len(lines):
                raise TryAgainLater(f"{self.path}: the disk is full", hint="free some space")
            if durable:
                os.fsync(descriptor)

    def prove_writable(self) -> None:
        """Raise as `append` does, before anything is done that has to be said here. Adds nothing, makes no file."""
        if look_at(self.path) is not None:
            self.append([])
        else:
            self._refuse_missing_folder()

    def read(self) -> Testimony:
        """Everything, the last word about each account. Lines that do not hold are left out."""
        accounts: dict[str, Witnessed] = {}
        mark: str | None = None
        with self._told():
            lines = self.path.read_bytes().split(b"\n") if self.path.exists() else None
        for fact in map(_fact, lines or ()):
            if "uid" in fact:
                _learn(accounts, Witnessed(**{name: fact[name] for name in _NAMES}))
            mark = fact.get("mark", mark)
        return Testimony(accounts, None if lines is None else mark or "")

    def last_mark(self) -> str | None:
        """The mark of the last change, empty when there is none near the end; None when there is no file."""
        with self._told():
            if not self.path.exists():
                return None
            with self.path.open("rb") as file:
                file.seek(max(self.path.stat().st_size - _TAIL, 0))
                lines = file.read().split(b"\n")
        marks = (fact["mark"] for fact in map(_fact, reversed(lines)) if "mark" in fact)
        return next(marks, "")

    def compact(self) -> None:
        """Drop what was superseded, when that is most of the file. Nothing happens while somebody else writes."""
        if not self._grown():
            return
        with self._opened(fcntl.LOCK_EX), self._told():
            known = self.read()
            lines = b"".join(_line(asdict(account)) for account in known.accounts.values())
            lines += _line({"mark": known.mark or ""})
            part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            try:
                # What a crash has left under this name would stand behind our lines, as if it were newer.
                part.unlink(missing_ok=True)
                create_private_file(part)
                with part.open("r+b") as file:
                    file.write(_line({"compact": len(lines)}) + lines)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path)
                sync_folder(self.path.parent)
            finally:
                part.unlink(missing_ok=True)

    def _grown(self) -> bool:
        with self._told():
            size = self.path.stat().st_size
            if size < _SMALL:
                return False
            with self.path.open("rb") as file:
                compact = next((fact.get("compact") for fact in map(_fact, file.read(200).split(b"\n")) if fact), 0)
        return size > max(_SMALL, _GROWTH * int(compact or 0))

    @contextmanager
    def _opened(self, lock: int) -> Iterator[int]:
        """The file, made when it is missing, under a lock that whoever replaces it respects."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self._told():
                if not self.path.exists():
                    self._create()
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                if self._taken(descriptor, lock):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise Busy(f"{self.path} was being replaced by another process for {_PATIENCE:.0f} s")
            time.sleep(_LOOK)

    def _create(self) -> None:
        self._refuse_missing_folder()
        create_private_file(self.path)
        sync_folder(self.path.parent)

    def _refuse_missing_folder(self) -> None:
        # It is not made: where it is missing, so is the disk that it was put on.
        if not self.path.parent.is_dir():
            raise StoreUnusable(
                f"the folder of the witness is missing: {self.path.parent}",
                hint="mount its disk, or look at store.witness",
            )

    def _taken(self, descriptor: int, lock: int) -> bool:
        """Whether we got the lock, on the file that still stands at its path."""
        with self._told():
            try:
                fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
                return os.fstat(descriptor).st_ino == self.path.stat().st_ino
            except (BlockingIOError, FileNotFoundError):
                return False

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The system's errors as ours."""
        try:
            yield
        except OSError as error:
            raise file_fault(error, str(self.path), "look at store.witness, its rights and its disk") from None


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable. Some file systems cannot, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _learn(accounts: dict[str, Witnessed], said: Witnessed) -> None:
    """Take up one line: the later word counts, since the lines stand in the order of the transactions."""
    known = accounts.get(said.uid)
    if said.phase == "kept" and known is not None and known.generation > said.generation:
        return  # written after its commit, so somebody else's next one may stand before it
    accounts[said.uid] = said


def _line(fact: dict[str, Any]) -> bytes:
    text = json.dumps(fact, separators=(",", ":")).encode()
    return b"\n%08x %b\n" % (zlib.crc32(text), text)


def _fact(line: bytes) -> dict[str, Any]:
    """What a line says; nothing when it is torn or damaged."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text) or not text:
        return {}
    fact: dict[str, Any] = json.loads(text)
    return fact
