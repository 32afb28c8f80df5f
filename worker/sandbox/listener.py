"""The listening socket: one thread accepts, one thread serves each connection, and all of them end with `stop`.

A thread per connection is right for a few hundred keep-alive clients on one machine, and it lets a handler simply
wait where a fault says so.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, BinaryIO

from worker.sandbox.connection import BadRequest, Wire, read_request, send
from worker.sandbox.messages import json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox.messages import Request, Response

HOST = "127.0.0.1"
BACKLOG = 512
#: Seconds that `stop` waits for the threads of connections to end.
PATIENCE = 5.0


class Listener:
    """Serves `handle` on 127.0.0.1 from `start` to `stop`."""

    def __init__(self, port: int, handle: Callable[[Request], Response], now: Callable[[], float]) -> None:
        self.stopping = threading.Event()
        self._handle = handle
        self._now = now
        self._socket = socket.create_server((HOST, port), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._acceptor = threading.Thread(target=self._accept, name="sandbox-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def stop(self) -> None:
        """Close everything and wait for the threads; may be called twice."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        if self._acceptor.is_alive():
            with contextlib.suppress(OSError):  # a connection of our own wakes the thread that waits in accept()
                socket.create_connection((HOST, self.port), timeout=1).close()
            self._acceptor.join(PATIENCE)
        self._socket.close()
        with self._lock:
            open_now = list(self._connections.items())
        for connection, _ in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + PATIENCE
        for _, thread in open_now:
            thread.join(max(0.0, end - time.monotonic()))

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self.stopping.wait(0.05):  # out of file descriptors, or closed
                    return
                continue
            if self.stopping.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name="sandbox-connection", daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while not self.stopping.is_set() and self._serve_one(connection, stream):
                    pass
        except (OSError, ValueError):  # the peer went away, or `stop` closed the connection under us
            pass
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _serve_one(self, connection: socket.socket, stream: BinaryIO) -> bool:
        try:
            read = read_request(stream, connection)
        except BadRequest as fault:
            return send(
                self._wire(connection), json_response({"error": str(fault)}, fault.status), head_only=False, keep=False
            )
        if read is None:
            return False
        request, keep = read
        # The date is that of the request, not of the moment at which a kept-alive connection began to wait for it.
        wire = self._wire(connection)
        return send(wire, self._handle(request), head_only=request.method == "HEAD", keep=keep)

    def _wire(self, connection: socket.socket) -> Wire:
        return Wire(connection, self.stopping, formatdate(self._now(), usegmt=True))
