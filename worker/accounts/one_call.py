"""One call on one connection, seen from both ends: whether the request was on its way, and a line that can be cut.

Neither can be asked of requests: its errors do not say whether a TLS failure came with the handshake or with the
answer, and its read timeout starts anew with every byte, so that a server may drip its header fields for ever.
"""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.accounts.adapter import PreparingAdapter
from worker.accounts.final_answer import FinalAnswer

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection


class Line:
    """The sockets of one call, within reach of somebody who does not wait for them."""

    def __init__(self) -> None:
        self.was_cut = False
        self._sockets: list[socket.socket] = []

    def cut(self) -> None:
        """End the call: what is being read ends here, and nothing more is sent."""
        self.was_cut = True
        for opened in self._sockets:
            # TypeError: TLS within TLS, by an https proxy, is no socket.
            with suppress(OSError, TypeError):
                # Not an SSLSocket's own shutdown, which takes the TLS layer from under the thread that reads.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def watch(self, connection: HTTPConnection) -> None:
        """Know this connection's socket as soon as there is one."""
        connect = connection.connect

        def connect_and_tell() -> None:
            connect()
            # Kept here: the connection lets go of it as soon as an answer says that it is the last one.
            if connection.sock is not None:
                self._sockets.append(connection.sock)

        connection.connect = connect_and_tell  # type: ignore[method-assign]


class LineAdapter(PreparingAdapter):
    """Sends over a line, once."""

    def __init__(self, line: Line) -> None:
        def prepare(connection: HTTPConnection) -> None:
            connection.response_class = FinalAnswer
            line.watch(connection)

        super().__init__(prepare, max_retries=0)


class Form(io.BytesIO):
    """A request body that knows whether any of it was asked for.

    It is read when the connection stands, TLS, proxy and all, and the head of the request has been sent.
    """

    def __init__(self, content: bytes, line: Line) -> None:
        super().__init__(content)
        self.begun = False
        self._line = line

    def read(self, size: int | None = -1, /) -> bytes:
        """See BytesIO."""
        if self._line.was_cut:
            raise TimeoutError("connecting took too long")
        self.begun = True
        return super().read(size)
