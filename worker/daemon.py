"""The daemon: one a state folder, told by systemd what to do and telling it how it is.

    SIGTERM, SIGINT   drain: start nothing, let runs finish until the deadline, mark the rest interrupted, exit 0
    SIGHUP            read the configuration anew; a faulty one is reported and the old one goes on
    a second SIGTERM  do not wait for the deadline

Exit goes through `os._exit`: a job that hangs in a C call must not hold the shutdown.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from worker.engines import heartbeat
from worker.engines.doorbell import Doorbell
from worker.errors import Busy, StoreUnusable, WorkerError
from worker.store.ground import remarks
from worker.store.locks import process_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from worker.engines.embedded import EmbeddedEngine
    from worker.runner.pace import Stopping
    from worker.wiring.daemonic import Daemonic

log = logging.getLogger(__name__)

#: Seconds that runs are given to notice an abort (they do at their next request) before they are left behind.
_ABORT_GRACE = 2.0
#: Seconds for which a refresh that is under way is waited for: its timeouts end it before. A process that left in
#: between would lose the tokens it is being given.
SETTLE = 75.0
#: Seconds for which routes are given what happened last; the rest waits in the outbox for the next start.
_LAST_NEWS = 5.0
#: Seconds between two looks, while draining, at whether to hurry.
_LOOK = 0.2
#: Seconds for which a lock is waited for that `worker status` may be looking at for an instant.
_LOOKED_AT = 1.0


def run_daemon(parts: Daemonic, environ: Mapping[str, str]) -> int:
    """Run until told to stop; answers the exit code. Raises WorkerError for what keeps it from starting."""
    with _alone(parts):
        control = _Control(parts)
        control.install()
        parts.tell_keys()
        parts.sweep_notes()
        _tell_ground(parts)
        doorbell = Doorbell(parts.state_folder, parts.ring)
        parts.engine.start()
        parts.wiring.deliverer.start()
        notifier = Notifier(environ)
        notifier.send("READY=1")
        log.info("ready", extra={"jobs": len(parts.assignments), "pid": os.getpid()})
        control.serve(notifier)
        notifier.send("STOPPING=1")
        drain(parts.engine, parts.stopping, parts.drain_timeout, control.hurried)
        if not parts.wiring.refresher.wait_settled(SETTLE):
            log.critical("a refresh was cut off; the next start settles what became of it")
        heartbeat.end(parts.state_folder)
        doorbell.close()
        parts.wiring.deliverer.stop(_LAST_NEWS)
        parts.store.close()
    if control.taken_over is not None:
        raise _another(control.taken_over)
    log.info("stopped", extra={"exit_code": 0})
    return 0


@contextmanager
def _alone(parts: Daemonic) -> Iterator[None]:
    """Hold the daemon's lock. Raises StoreUnusable that names the other one."""
    try:
        with parts.store.locks.hold("daemon", patience=_LOOKED_AT, note=f"the daemon, {process_note()}"):
            yield
    except Busy as error:
        if error.evidence.get("lock") != "daemon":
            raise
        raise _another(error) from None


def _another(error: Busy) -> StoreUnusable:
    return StoreUnusable(
        f"another daemon uses this store already: {error.evidence['holder']}",
        hint="stop that one first; for several machines each account runs once, on the store's only daemon",
    )


def _tell_ground(parts: Daemonic) -> None:
    """What the store lies on, should that be nothing to rely upon."""
    places = [parts.state_folder, *([parts.store.database.path] if parts.store.database.is_sqlite else [])]
    for remark in {remark for place in places for remark in remarks(place)}:
        if remark.kind != "network":  # that was said when the store was opened
            log.warning(remark.message, extra={"hint": remark.hint})


class _Control:
    """Signals, and what they lead to."""

    def __init__(self, parts: Daemonic) -> None:
        self._parts = parts
        # A handler runs between any two instructions of the main thread, so it must take no lock that this thread may
        # hold: it sets a plain attribute and writes to a pipe. threading.Event would deadlock.
        self._heard, self._told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._reload = False
        self._stops = 0
        #: Who holds the daemon's lock, should this one have lost it (PostgreSQL was restarted) and another come first.
        self.taken_over: Busy | None = None

    def install(self) -> None:
        """Take over the signals. As PID 1 of a container nothing else would handle them."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1
        self._tell()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._tell()

    def _tell(self) -> None:
        with suppress(BlockingIOError):  # so many signals that the pipe is full: they will be heard
            os.write(self._told, b"!")

    def _wait(self, seconds: float) -> None:
        """Wait for a signal."""
        if select.select([self._heard], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._heard, 4096)

    def serve(self, notifier: Notifier) -> None:
        """Wait for signals; beat while the store answers: for systemd's watchdog and for `worker status --alive`."""
        while not self._stops:
            if self._store_answers():
                heartbeat.beat(self._parts.state_folder)
                notifier.send("WATCHDOG=1")
            self._wait(notifier.interval)
            if self._reload and not self._stops:
                self._reload = False
                self._read_anew(notifier)

    def _read_anew(self, notifier: Notifier) -> None:
        notifier.send(f"RELOADING=1\nMONOTONIC_USEC={notifier.monotonic_usec()}")
        try:
            self._parts.reload()
        except Exception as error:  # whatever is wrong with the new one: the old one works
            known = isinstance(error, WorkerError)
            log.error(
                "the new configuration has faults; the old one goes on",
                extra={"error": str(error), "hint": error.hint if isinstance(error, WorkerError) else ""},
                exc_info=None if known else error,
            )
        else:
            log.info("configuration read anew", extra={"jobs": len(self._parts.assignments)})
        notifier.send("READY=1")

    def _store_answers(self) -> bool:
        try:
            self._parts.store.database.refuse_damaged()
            self._parts.store.schedule.earliest()
            self._parts.store.locks.renew("daemon")
        except WorkerError as error:
            if not isinstance(error, Busy):
                heartbeat.falter(self._parts.state_folder, error.message)
            if isinstance(error, Busy) and error.evidence.get("lock") == "daemon":
                self.taken_over = error
                self._stops += 1
            log.error("the store does not answer", extra={"error": str(error), "hint": error.hint})
            return False
        return True

    def hurried(self) -> bool:
        """Whether we were told to stop a second time: do not wait."""
        return self._stops > 1


def drain(engine: EmbeddedEngine, stopping: Stopping, deadline: float, hurried: Callable[[], bool]) -> int:
    """Let runs finish until the deadline, then end them; what still runs is marked. Answers how many were left behind.

    `hurried` tells when somebody does not want to wait for the deadline any more.
    """
    stopping.draining.set()
    engine.stop_dispatching()
    log.info("draining", extra={"running": engine.running, "deadline": deadline})
    waited = 0.0
    while waited < deadline and not hurried():
        if engine.wait_idle(_LOOK):
            return 0
        waited += _LOOK
    stopping.aborting.set()
    if engine.wait_idle(_ABORT_GRACE):
        return 0
    left = engine.abandon()
    log.warning("runs were left behind; they start again first", extra={"count": left})
    return left


class Notifier:
    """Tells systemd how we are (sd_notify(3)); does nothing elsewhere."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        #: Seconds between beats: at most half of what the unit allows.
        self.interval = min(int(usec) / 2_000_000 if usec.isdigit() and int(usec) else math.inf, heartbeat.INTERVAL)

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
