"""The daemon: one a state folder, told by systemd what to do and telling it how it is.

    SIGTERM, SIGINT   drain: start nothing, let runs finish until the deadline, mark the rest interrupted, exit 0
    SIGHUP            read the configuration anew; a faulty one is reported and the old one goes on
    a second SIGTERM  do not wait for the deadline

Exit goes through `os._exit`: a job that hangs in a C call must not hold the shutdown.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.engines.doorbell import Doorbell
from worker.errors import Busy, StoreUnusable, WorkerError
from worker.store.locks import process_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from worker.wiring import Daemonic

log = logging.getLogger(__name__)

#: Seconds that runs are given to notice an abort (they do at their next request) before they are left behind.
_ABORT_GRACE = 2.0
#: Seconds between two watchdog beats when nobody asks for any.
_BEAT = 10.0


def run_daemon(parts: Daemonic, environ: Mapping[str, str]) -> int:
    """Run until told to stop; answers the exit code. Raises WorkerError for what keeps it from starting."""
    with _alone(parts):
        control = _Control(parts)
        control.install()
        parts.engine.start()
        doorbell = Doorbell(parts.state_folder, parts.engine.ring)
        notifier = Notifier(environ)
        notifier.send("READY=1")
        log.info("ready", extra={"jobs": len(parts.assignments), "pid": os.getpid()})
        control.serve(notifier)
        notifier.send("STOPPING=1")
        code = control.drain()
        doorbell.close()
        parts.store.close()
    log.info("stopped", extra={"exit_code": code})
    return code


@contextmanager
def _alone(parts: Daemonic) -> Iterator[None]:
    """Hold the daemon's lock. Raises StoreUnusable that names the other one."""
    try:
        with parts.store.locks.hold("daemon", patience=0, note=f"the daemon, {process_note()}"):
            yield
    except Busy as error:
        if error.evidence.get("lock") != "daemon":
            raise
        raise StoreUnusable(
            f"another daemon uses this store already: {error.evidence['holder']}",
            hint="stop that one first; for several machines each account runs once, on the store's only daemon",
        ) from None


class _Control:
    """Signals, and what they lead to."""

    def __init__(self, parts: Daemonic) -> None:
        self._parts = parts
        self._signal = threading.Event()
        self._reload = False
        self._stops = 0

    def install(self) -> None:
        """Take over the signals. As PID 1 of a container nothing else would handle them."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops > 1:
            self._parts.stopping.aborting.set()
        self._signal.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._signal.set()

    def serve(self, notifier: Notifier) -> None:
        """Wait for signals; beat the watchdog while the store answers."""
        while not self._stops:
            self._signal.wait(notifier.interval)
            self._signal.clear()
            if self._reload and not self._stops:
                self._reload = False
                self._read_anew(notifier)
            if self._store_answers():
                notifier.send("WATCHDOG=1")

    def _read_anew(self, notifier: Notifier) -> None:
        notifier.send(f"RELOADING=1\nMONOTONIC_USEC={notifier.monotonic_usec()}")
        try:
            self._parts.reload()
        except WorkerError as error:
            log.error(
                "the new configuration has faults; the old one goes on", extra={"error": str(error), "hint": error.hint}
            )
        else:
            log.info("configuration read anew", extra={"jobs": len(self._parts.assignments)})
        notifier.send("READY=1")

    def _store_answers(self) -> bool:
        try:
            self._parts.store.schedule.earliest()
        except WorkerError as error:
            log.error("the store does not answer", extra={"error": str(error), "hint": error.hint})
            return False
        return True

    def drain(self) -> int:
        """Let runs finish until the deadline, then end them; what still runs is marked and left behind."""
        engine, stopping = self._parts.engine, self._parts.stopping
        stopping.draining.set()
        engine.stop_dispatching()
        deadline = self._parts.drain_timeout
        log.info("draining", extra={"running": engine.running, "deadline": deadline})
        waited = 0.0
        while waited < deadline and not stopping.aborting.is_set():
            if engine.wait_idle(0.2):
                return 0
            waited += 0.2
        stopping.aborting.set()
        if engine.wait_idle(_ABORT_GRACE):
            return 0
        left = engine.abandon()
        log.warning("runs were left behind; they start again first", extra={"count": left})
        return 0


class Notifier:
    """Tells systemd how we are (sd_notify(3)); does nothing elsewhere."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        #: Seconds between beats: half of what the unit allows.
        self.interval = int(usec) / 2_000_000 if usec.isdigit() and int(usec) else _BEAT

    def send(self, state: str) -> None:
        """Send one state. A manager that does not listen is no reason to stop."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.sendto(state.encode(), address)
        except OSError as error:
            log.warning("systemd was not reached", extra={"error": str(error)})

    @staticmethod
    def monotonic_usec() -> int:
        """The clock that RELOADING is stamped with."""
        import time  # noqa: PLC0415 - only for this one stamp

        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def leave(code: int) -> None:
    """End the process without waiting for anybody."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
