"""Counts the lines that an operation executes, and stops the process at one of them. No hook in the product.

`sys.settrace` calls back before each line of the files in scope. A first run records them all; then a run of the same
operation stops at line K, by `os._exit` or by SIGKILL: a crash at every executed line.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import worker
from fault_harness.steps import At, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType

    from fault_harness.steps import Step

_ROOT = str(Path(worker.__file__).parent) + os.sep
#: The exit code of a process that was stopped by `os._exit`.
STOPPED = 9
_HEAD = struct.Struct("=iii")
_PLACE_BYTES = 200


class Blackbox:
    """What a process that was stopped leaves behind: memory that it shares with its parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD.size + _PLACE_BYTES)

    def clear(self) -> None:
        """Before the next trial."""
        self.note(0, 0, "")

    def note(self, step: int, count: int, place: str) -> None:
        """Where we are."""
        words = place.encode()[:_PLACE_BYTES]
        self._memory[:] = _HEAD.pack(step, count, len(words)) + words.ljust(_PLACE_BYTES, b"\0")

    def read(self) -> tuple[int, int, str]:
        """Step, number of lines, and `store/grants.py:120 Grants.begin_refresh`."""
        step, count, length = _HEAD.unpack_from(self._memory)
        return step, count, self._memory[_HEAD.size : _HEAD.size + length].decode()


class Tracer:
    """Traces one operation in this thread."""

    def __init__(self, steps: Sequence[Step], scope: Sequence[str], blackbox: Blackbox) -> None:
        self._progress = Progress(steps)
        self._scope = tuple(scope)
        self._blackbox = blackbox
        self._stop_at, self._how = 0, ""
        self._known: dict[CodeType, str] = {}
        #: Every line executed: step, file and line.
        self.points: list[tuple[int, str]] = []
        #: Called with each function that is entered.
        self.listeners: list[Callable[[str], None]] = []
        #: Called with the number of each step that begins.
        self.on_step: Callable[[int], None] = lambda _step: None

    def stop_at(self, count: int, how: str) -> None:
        """Stop the process before line number `count` (from 1), by `exit` or `kill`."""
        self._stop_at, self._how = count, how

    def run(self, operation: Callable[[], object]) -> None:
        """Run the operation to its end, or to where it is stopped."""
        sys.settrace(self._enter)
        try:
            operation()
        finally:
            sys.settrace(None)
            self._note("the end")

    def _enter(self, frame: FrameType, event: str, _argument: Any) -> Any:
        function = self._function(frame.f_code)
        if not function:
            return None
        for listener in self.listeners:
            listener(function)
        self._hear(function, At.ENTRY)
        return self._follow

    def _follow(self, frame: FrameType, event: str, answer: Any) -> Any:
        if event == "line":
            self._count(frame)
        elif event == "return":
            function = self._function(frame.f_code)
            self._hear(function, At.EXIT)
            if answer is not None:
                self._hear(function, At.ANSWER)
        return self._follow

    def _hear(self, function: str, at: At) -> None:
        if self._progress.hear(function, at):
            self._note(function)
            self.on_step(self._progress.step)

    def _count(self, frame: FrameType) -> None:
        place = f"{frame.f_code.co_filename[len(_ROOT) :]}:{frame.f_lineno}"
        self.points.append((self._progress.step, place))
        if len(self.points) == self._stop_at:
            self._note(f"{place} {frame.f_code.co_qualname}")
            if self._how == "exit":
                os._exit(STOPPED)
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, place: str) -> None:
        self._blackbox.note(self._progress.step, len(self.points), place)

    def _function(self, code: CodeType) -> str:
        """`store.grants:Grants.begin_refresh` for code in scope, else empty."""
        found = self._known.get(code)
        if found is None:
            found = ""
            if code.co_filename.startswith(_ROOT):
                path = code.co_filename[len(_ROOT) :]
                if path.startswith(self._scope):
                    found = f"{path.removesuffix('.py').replace(os.sep, '.')}:{code.co_qualname}"
            self._known[code] = found
        return found
