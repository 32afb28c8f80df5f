"""What strace has written, read as a list of calls; and from them, whether what was sent was on the disk before.

A call that was interrupted by another thread's stands in two lines (`<unfinished ...>`, `<... resumed>`). A write or a
send counts from its beginning, a sync from its end: so each errs on the strict side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: What has to be traced for `undurable`.
TRACED = "pwrite64,write,ftruncate,fsync,fdatasync,unlink,unlinkat,sendto,sendmsg"
_SYNCS = frozenset({"fsync", "fdatasync"})
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_PATH = re.compile(r"\d+<(?P<path>/[^>]*)>")


@dataclass(frozen=True)
class Call:
    """One system call: its name, the file it is about (if any), and its arguments as strace prints them."""

    name: str
    path: str
    arguments: str


def read_calls(text: str) -> list[Call]:
    """The calls in the order in which they count. A sync that failed is none."""
    return list(_calls(text.splitlines()))


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in lines:
        if resumed := _RESUMED.match(line):
            arguments = begun.pop(resumed["thread"], "") + resumed["rest"]
            if resumed["name"] in _SYNCS:
                yield from _sync(resumed["name"], arguments)
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        name, arguments = call["name"], call["rest"]
        unfinished = arguments.endswith("<unfinished ...>")
        if unfinished:
            arguments = arguments.removesuffix("<unfinished ...>")
            begun[call["thread"]] = arguments
        if name not in _SYNCS:
            yield Call(name, _path(name, arguments), arguments)
        elif not unfinished:
            yield from _sync(name, arguments)


def _sync(name: str, arguments: str) -> Iterator[Call]:
    if re.search(r"\) += 0$", arguments):
        yield Call(name, _path(name, arguments), arguments)


def _path(name: str, arguments: str) -> str:
    if name.startswith("unlink"):
        found = re.search(r'"([^"]*)"', arguments)
        return found[1] if found else ""
    match = _PATH.match(arguments)
    return match["path"] if match else ""


@dataclass
class Disk:
    """How much of a database's last transaction is on the disk for sure, and how many transactions there were."""

    database: str
    commits: int = 0
    #: Written, and not synced since.
    pages: bool = False
    #: A journal that a power cut could bring back, which would undo the transaction that it belongs to.
    journal: bool = False

    def note(self, call: Call) -> None:
        """Take a call into account."""
        if call.path == self.database:
            self.pages = call.name not in _SYNCS
        elif call.path == f"{self.database}-journal" and call.name.startswith("unlink"):
            self.journal, self.commits = True, self.commits + 1
        elif call.name in _SYNCS and call.path == self.database.rpartition("/")[0]:
            self.journal = False

    @property
    def lacks(self) -> str:
        """What a power cut could take back now; empty when nothing."""
        return " and ".join([*["what was written"] * self.pages, *["the end of the journal"] * self.journal])


def undurable(calls: Iterable[Call], database: str, *sent: str) -> list[str]:
    """What was wrong with the order; empty when nothing.

    Each of the texts `sent` has to be sent, one after the other, each after a transaction of its own, all of which is
    on the disk by then.
    """
    disk, waiting, before, faults = Disk(database), list(sent), 0, []
    for call in calls:
        disk.note(call)
        if not waiting or not call.name.startswith("send") or waiting[0] not in call.arguments:
            continue
        text = waiting.pop(0)
        if disk.lacks:
            faults.append(f"{text!r} was sent before {disk.lacks} was synced")
        if disk.commits == before:
            faults.append(f"{text!r} was sent without a transaction before it")
        before = disk.commits
    return faults + [f"{text!r} was never sent" for text in waiting]
