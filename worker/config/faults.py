"""Faults are collected, not raised: a person who mends a file wants to hear about all of it at once.

A Spot is a place in the file together with the collector, so that whoever reads a value can say what is wrong with it
without knowing where it stands.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Longer values are cut in messages: a fault must fit on a line.
_SHOWN = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Unread:
    """What a reader answers when the value had a fault; the fault is already noted."""


UNREAD: Final = Unread()


@dataclass
class Faults:
    """What was found wrong (`problems`) and what is doubtful (`warnings`), as pairs of place and sentence."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Spot:
    """One place in the file, and how to complain about it."""

    #: `integrations.arlo.scopes`; empty for the file itself.
    place: str
    faults: Faults
    #: The folder of the config file: relative paths count from here.
    base: Path
    #: The value at this place is never quoted.
    secret: bool = False

    def refuse(self, what: str) -> Unread:
        """Note a problem here; the answer is what a reader returns."""
        self.faults.problems.append((self.place, what))
        return UNREAD

    def doubt(self, what: str) -> None:
        """Note a warning here."""
        self.faults.warnings.append((self.place, what))

    def inside(self, name: str) -> Spot:
        """The place of a key in the table that stands here."""
        key = name if _BARE_KEY.fullmatch(name) else quoted(name)
        return replace(self, place=f"{self.place}.{key}" if self.place else key)

    def item(self, position: int) -> Spot:
        """The place of an item of the list that stands here, counted from 1."""
        return replace(self, place=f"{self.place}[{position}]")

    def shown(self, value: object) -> str:
        """The value as a message may quote it: cut, printable, never secret."""
        if self.secret or not isinstance(value, str | bool | int | float):
            return type_of(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and abs(value) >= 10**_SHOWN:
            return "a huge number"
        if not isinstance(value, str):
            return repr(value)
        return quoted(scrub_patterns(value))

    def mistyped(self, value: object, right: str) -> Unread:
        """A value of the wrong type: `15 is a number; write …`."""
        found = type_of(value)
        shown = self.shown(value)
        return self.refuse(f"{found}; write {right}" if shown == found else f"{shown} is {found}; write {right}")


def quoted(text: str) -> str:
    """The text in quotes, cut, with everything escaped that does not print."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    escaped = json.dumps(cut, ensure_ascii=False)
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in escaped)


def type_of(value: object) -> str:
    """The TOML type of a value, in words."""
    names = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list, "a list"), (dict, "a table"))
    return next((name for kind, name in names if isinstance(value, kind)), "a date or time")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant."""
    matches = difflib.get_close_matches(name[:64].lower(), list(known), n=1)
    return matches[0] if matches else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean "scopes"?`, or nothing when no known name is near."""
    match = nearest(name, known)
    return f"; did you mean {quoted(match)}?" if match else ""
