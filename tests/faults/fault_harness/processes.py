"""Child processes, forked from one that has everything imported and nothing open: no database, no thread, no socket."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds after which a child counts as hung.
PATIENCE = 60.0
#: The exit code of a child that ended with an error that nobody expected.
BROKEN = 70


@dataclass(frozen=True)
class Ended:
    """A child's end."""

    #: Exit code, or minus the signal's number.
    code: int
    #: What it had to say; None when it did not come to that.
    said: Any = None
    hung: bool = False


@dataclass
class Child:
    """A forked process that runs one function, whose answer comes back as JSON."""

    pid: int
    _answers: int
    _gate: socket.socket
    _received: bytearray = field(default_factory=bytearray)

    def wait_ready(self) -> None:
        """Wait until it waits for us; returns as well when it has ended instead."""
        self._gate.settimeout(PATIENCE)
        self._gate.recv(1)

    def begin(self) -> None:
        """Let it go on from `wait_for_parent`."""
        self._gate.close()

    def wait(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; one that hangs is killed."""
        self.begin()
        deadline = time.monotonic() + patience
        hung = False
        while True:
            if not select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))[0]:
                hung = True
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                break
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                break
            self._received += piece
        os.close(self._answers)
        _, status = os.waitpid(self.pid, 0)
        said = json.loads(self._received) if self._received else None
        return Ended(os.waitstatus_to_exitcode(status), said, hung)


def fork(function: Callable[[Callable[[], None]], Any], log: Path) -> Child:
    """Run `function(wait_for_parent)` in a child; it says JSON or None, and whatever it prints goes to `log`."""
    answers, answer = os.pipe()
    gate, child_gate = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(answer)
        child_gate.close()
        return Child(pid, answers, gate)
    os.close(answers)
    gate.close()

    def wait_for_parent() -> None:
        with suppress(OSError):  # whoever did not want to be told has hung up
            child_gate.send(b"!")
            child_gate.recv(1)
        child_gate.close()

    _live(lambda: function(wait_for_parent), log, answer)
    raise AssertionError  # a child ends in _live


def _live(function: Callable[[], Any], log: Path, answer: int) -> None:
    code = BROKEN
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        said = function()
        if said is not None:
            os.write(answer, json.dumps(said).encode())
        code = 0
    except BaseException:  # noqa: BLE001 - the parent sees the code and the log
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
