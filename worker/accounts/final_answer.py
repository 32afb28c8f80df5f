"""The final answer of a server, whatever interim ones come first (RFC 9110 section 15.2).

Python's HTTP client passes over 100 alone. A 103 in front of the tokens would be taken for the answer: the tokens
behind it, with the only copy of a rotated refresh token, would be thrown away. On a kept-alive connection they might
even be read as the answer to the next request.
"""

from __future__ import annotations

import http.client

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: A server says "wait" or "early hints" once or twice; one that goes on for ever is cut off.
_MOST_INTERIM = 20
_INTERIM, _FINAL, _SWITCHING = 100, 200, 101


class FinalAnswer(http.client.HTTPResponse):
    """An answer that begins behind the interim ones."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not _INTERIM <= status < _FINAL or status == _SWITCHING:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim answers")


class _Connection(HTTPConnection):
    response_class = FinalAnswer


class _TLSConnection(HTTPSConnection):
    response_class = FinalAnswer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


#: What a `urllib3.PoolManager` makes its pools of, by scheme.
POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TLSPool}
