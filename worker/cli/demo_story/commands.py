"""The operator's part: `worker` commands, each in a process of its own, in the demo's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.failure import StepFailed
from worker.cli.demo_story.processes import Child, ending, environment, finish, read_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds that any command may take on a machine that is busy with other things.
_LIMIT = 60.0


class Commands:
    """Runs commands. `meanwhile` is called every tick while one runs."""

    def __init__(self, folder: Path, meanwhile: Callable[[], None]) -> None:
        self._folder = folder
        self._meanwhile = meanwhile
        #: Commands that have not ended yet; ended with the story.
        self.running: list[Child] = []

    def run(self, *words: str, given: str = "", expected: int = 0) -> str:
        """What a command printed. Raises StepFailed with its complaint when it leaves with another exit code."""
        return self.end(self.begin(*words), given, expected=expected)

    def read(self, *words: str, expected: int = 0) -> Any:
        """The document of a command with `--json`."""
        return self._document(self.begin("--json", *words), expected)

    def read_all(self, *commands: tuple[str, ...]) -> list[Any]:
        """The documents of several commands that run side by side."""
        children = [self.begin("--json", *words) for words in commands]
        return [self._document(child, 0) for child in children]

    def begin(self, *words: str) -> Child:
        """Start a command that waits for input."""
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "worker", *words],
            cwd=self._folder,
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        child = Child(f"worker {' '.join(words)}", process)
        self.running.append(child)
        return child

    def line(self, child: Child) -> str:
        """The next line that a started command prints. Raises StepFailed with its complaint when none comes."""
        line = read_line(child.process, _LIMIT, self._meanwhile)
        if not line:
            self.end(child, "")
            raise StepFailed(f"{child.name} printed nothing")
        return line

    def end(self, child: Child, given: str, *, expected: int = 0) -> str:
        """Give a started command its input and wait for its end; what it printed."""
        try:
            printed, complaint = finish(child.process, given, _LIMIT, self._meanwhile)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{child.name} did not end within {_LIMIT:.0f} s") from None
        finally:
            self.running.remove(child)
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
        if child.process.returncode != expected:
            said = f": {complaint.strip()}" if complaint.strip() else ""
            raise StepFailed(f"{child.name} {ending(child.process.returncode)}{said}")
        return printed

    def _document(self, child: Child, expected: int) -> Any:
        text = self.end(child, "", expected=expected)
        try:
            return json.loads(text)
        except ValueError:
            raise StepFailed(f"{child.name} printed no JSON document: {text[:200]}") from None

    def close(self) -> None:
        """End what has not ended."""
        for child in self.running:
            child.process.kill()
            child.stop()
        self.running.clear()
