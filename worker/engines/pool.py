"""A bounded pool of our own daemon threads.

The standard executor joins its threads when the interpreter exits, so one hanging job holds a shutdown for as long as
it hangs. These threads do not.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """Runs calls on at most `size` threads, started as they are needed."""

    def __init__(self, size: int) -> None:
        #: May change; threads that are too many then have nothing to do.
        self.size = size
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread of the pool. It must not raise; what it raises ends up in the thread's hook.

        Raises RuntimeError when there is no thread and the machine gives us none.
        """
        with self._lock:
            self._busy += 1
            needed = self._threads < min(self.size, self._busy)
            if needed:
                self._threads += 1
                name = f"run-{self._threads}"
        if needed:
            self._start_thread(name)
        self._queue.put(call)

    def _start_thread(self, name: str) -> None:
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the machine's limit of threads: those we have go on, and without any we cannot
            with self._lock:
                self._threads -= 1
                if self._threads == 0:
                    self._busy -= 1
                    raise

    def _work(self) -> None:
        while True:
            call = self._queue.get()
            try:
                call()
            except BaseException:  # noqa: BLE001 - the thread lives on; the hook logs
                import sys  # noqa: PLC0415 - only here

                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            finally:
                with self._lock:
                    self._busy -= 1
