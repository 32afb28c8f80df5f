"""The final answer of a server, whatever interim ones come first (RFC 9110 section 15.2), read as long as it is wanted.

Python's HTTP client passes over 100 alone. A 103 in front of the tokens would be taken for the answer: the tokens
behind it, with the only copy of a rotated refresh token, would be thrown away. On a kept-alive connection they might
even be read as the answer to the next request.

And it has a read timeout alone, which begins anew with every byte: a server may drip its header fields for days. So
whoever waits is asked before every read from the network whether he still wants to.
"""

from __future__ import annotations

import http.client
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: A server says "wait" or "early hints" once or twice; one that goes on for ever is cut off.
_MOST_INTERIM = 20
_INTERIM, _FINAL, _SWITCHING = 100, 200, 101


class FinalAnswer(http.client.HTTPResponse):
    """An answer that begins behind the interim ones. `still` raises what is to end the reading."""

    def __init__(self, sock: socket.socket, *rest: Any, still: Callable[[], None] = lambda: None, **named: Any) -> None:
        source: Any = _Asking(sock, still)
        super().__init__(source, *rest, **named)

    # Private, and the only place: `begin` would read an endless row of 100s in one call.
    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not _INTERIM <= status < _FINAL or status == _SWITCHING:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim answers")


class _Asking:
    """What an answer needs of a socket: a file to read from."""

    def __init__(self, sock: socket.socket, still: Callable[[], None]) -> None:
        self._sock = sock
        self._still = still

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Reader(self._sock.makefile("rb", buffering=0), self._still))


class _Reader(io.RawIOBase):
    """The network, asked for only as long as somebody wants to know."""

    def __init__(self, raw: io.RawIOBase, still: Callable[[], None]) -> None:
        self._raw = raw
        self._still = still

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._still()
        count: int | None = self._raw.readinto(buffer)
        return count

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()
