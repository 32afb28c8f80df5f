"""What a person sees, as plain lines: for a file, a pipe, a log of a build. `live.py` draws the same on a terminal.

A step's head carries the seconds since the beginning; below it stand the commands that were typed (`$`), and what was
found to be true (a tick each). A tick is only printed for what has been checked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.cli.demo_story.progress import Progress

#: Columns before a step's lines, as wide as the seconds in its head.
INDENT = " " * 9


class Narrator:
    """Tells the story to a stream, line by line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.began = time.monotonic()
        #: Tick and cross, in what the stream can carry.
        self.tick, self.cross = _marks(stream.encoding)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def opening(self, title: str, text: str) -> None:
        """Before the first step."""
        self._write(title)
        self._write(text)

    def step(self, title: str) -> None:
        """A step begins."""
        self._write(f"\n{self.seconds:5.1f} s  {title}")

    def command(self, line: str) -> None:
        """A command that an operator would type; it has just been started."""
        self._write(f"{INDENT}$ {line}")

    def fact(self, text: str) -> None:
        """Something that was checked and is true."""
        self._write(f"{INDENT}{self.tick} {text}")

    def note(self, text: str) -> None:
        """Something worth knowing."""
        self._write(f"{INDENT}  {text}")

    def alarm(self, name: str, text: str) -> None:
        """One line about an account that needs a human."""
        self._write(f"{INDENT}  {name:<10}{text}")

    def link(self, url: str) -> None:
        """An address, alone on its line so that it can be copied whole."""
        self._write(url)

    def failure(self, text: str, details: Sequence[str]) -> None:
        """A step did not happen."""
        self._write(f"{INDENT}{self.cross} {text}")
        for line in details:
            self._write(f"{INDENT}  {line}")

    def closing(self, title: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
        """The table at the end."""
        self._write(f"\n{title}")
        cells = [[str(row[name]) for name in columns] for row in rows]
        widths = [max(map(len, column)) for column in zip(map(heading, columns), *cells, strict=True)]
        for line in ([heading(name) for name in columns], *cells):
            self._write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())

    def ending(self, text: str, *, good: bool) -> None:
        """The last line."""
        self._write(f"\n{self.tick if good else self.cross} {text}")

    def waiting(self, text: str) -> None:
        """What the story waits for; a terminal shows it while it lasts."""

    def show(self, progress: Progress) -> None:
        """How the accounts are now; a terminal shows it while it lasts."""

    def close(self) -> None:
        """The story is over: leave the screen as it should stay. May be called again."""

    def _write(self, text: str) -> None:
        self.stream.write(f"{text}\n")
        self.stream.flush()


def heading(name: str) -> str:
    """A column's heading."""
    return name.replace("_", " ").upper()


def _marks(encoding: str) -> tuple[str, str]:
    try:
        "✓✗".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "+", "x"
    return "✓", "✗"
