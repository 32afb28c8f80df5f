"""Has a process of its own load rows with dlt, and ends it when the run has to end.

dlt takes a process over: signals, logging, telemetry, settings from the current folder. And a load that waits for a
warehouse cannot be interrupted from within. A process of its own can be killed at any moment: what it leaves behind is
dropped by the next, and comes again, because the cursor has not moved.

One at a time for each sink: the lock is inherited, so it is held until the child has ended, whoever started it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from worker.errors import Busy, Misconfigured, TryAgainLater, WorkerError
from worker.jobs.sinks.durable import make_folder, named_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from worker.jobs.sinks.dlt_child import Order

log = logging.getLogger(__name__)

#: Seconds between two looks at the run's deadline, and for which another load of the same sink is waited for.
_LOOK, _LOCK_TIMEOUT = 0.2, 900.0
_PACK_ROWS = 500
#: Bytes handed to the child at once: what a pipe holds.
_PIPE = 1 << 16
#: Characters of an error.
_LONGEST = 1000
#: What keeps dlt to itself, whatever the environment says.
_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "WARNING",
    "RUNTIME__LOG_FORMAT": "{levelname}|{message}",
    # The tables come one after the other.
    "EXTRACT__NEXT_ITEM_MODE": "fifo",
}


class DltProcess:
    """Loads into one sink's destination."""

    def __init__(self, place: str, folder: Path, environ: Mapping[str, str], scrub: Callable[[str], str]) -> None:
        self._place = place
        self._folder = folder
        self._environ = environ
        self._scrub = scrub

    def load(self, order: Order, tables: Iterable[Iterable[Mapping[str, Any]]], check: Callable[[], None]) -> int:
        """Load rows, table by table as `order` has them; answers their number. `check` raises to end it.

        Raises TryAgainLater, Misconfigured or WorkerError in dlt's own words.
        """
        with named_faults(self._folder):
            make_folder(self._folder)
        with self._alone(check) as lock, self._child(lock) as child:
            assert child.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already, and says why
                feeder = _Feeder(child.stdin, check)
                feeder.write(json.dumps(order).encode() + b"\n")
                for number, rows in enumerate(tables):
                    feeder.send(number, rows)
            with suppress(BrokenPipeError):
                child.stdin.close()
            return self._outcome(child, check, feeder.rows)

    @contextmanager
    def _alone(self, check: Callable[[], None]) -> Iterator[int]:
        path = self._folder / ".lock"
        with named_faults(path):
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + _LOCK_TIMEOUT
            while not _locked(descriptor):
                check()
                if time.monotonic() > until:
                    raise Busy(f"{self._place} is held by another load")
                time.sleep(_LOOK)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _child(self, lock: int) -> Iterator[subprocess.Popen[bytes]]:
        """The process, with a thread that reads what it says; gone at the end, come what may."""
        environment = {
            **self._environ,
            **_SETTINGS,
            "DLT_DATA_DIR": str(self._folder),
            "DLT_PROJECT_DIR": str(self._folder),
        }
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.jobs.sinks.dlt_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=environment,
            umask=0o077,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for us, who end it in order
        )
        assert child.stderr is not None
        reader = threading.Thread(target=self._tell, args=(child.stderr,), daemon=True)
        reader.start()
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            reader.join()
            for pipe in (child.stdin, child.stdout, child.stderr):
                with suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()

    def _tell(self, said: IO[bytes]) -> None:
        """Its log to ours."""
        for line in said:
            words = self._scrub(line.decode("utf-8", "replace").strip())
            level, bar, message = words.partition("|")
            if bar and level.isupper():
                number = logging.getLevelName(level)
                log.log(number if isinstance(number, int) else logging.WARNING, "%s", message)
            elif words:
                log.debug("%s", words)

    def _outcome(self, child: subprocess.Popen[bytes], check: Callable[[], None], rows: int) -> int:
        while True:
            check()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_LOOK)
                break
        assert child.stdout is not None
        text = child.stdout.read()
        told: dict[str, str] = json.loads(text) if text else {"error": f"dlt's process ended with {child.returncode}"}
        if child.returncode == 0 and not told:
            return rows
        words = self._scrub(f"{self._place}: {told.get('error', '')}")[:_LONGEST]
        if told.get("kind") == "later":
            raise TryAgainLater(words)
        if told.get("kind") == "config":
            raise Misconfigured(words, hint="docs/sinks.md, dlt; and dlt's page on the destination")
        raise WorkerError(words)


class _Feeder:
    """Writes into a pipe without ever waiting for longer than the run may."""

    def __init__(self, pipe: IO[bytes], check: Callable[[], None]) -> None:
        self._descriptor = pipe.fileno()
        self._check = check
        self.rows = 0
        os.set_blocking(self._descriptor, False)

    def send(self, number: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """All rows of one table."""
        pack: list[Mapping[str, Any]] = []
        for row in rows:
            pack.append(row)
            if len(pack) == _PACK_ROWS:
                self._send(number, pack)
                pack = []
        if pack:
            self._send(number, pack)
        self.write(pickle.dumps((number, None)))

    def _send(self, number: int, pack: list[Mapping[str, Any]]) -> None:
        self.write(pickle.dumps((number, pack), pickle.HIGHEST_PROTOCOL))
        self.rows += len(pack)

    def write(self, content: bytes) -> None:
        """Write all of it. Raises BrokenPipeError when nobody reads any more."""
        rest = memoryview(content)
        while rest:
            self._check()
            try:
                rest = rest[os.write(self._descriptor, rest[:_PIPE]) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], _LOOK)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
