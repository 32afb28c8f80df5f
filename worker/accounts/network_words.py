"""What happened on the way to a server, in plain words.

requests wraps an error of urllib3, which wraps one of the system, and each layer prints its own object into the text:
`HTTPConnectionPool(host='…', port=443): Read timed out. (read timeout=30.0)`. That is evidence; here is the sentence
for people. It is a predicate, so that whoever asks puts the subject before it: "the token endpoint", an address.
"""

from __future__ import annotations

import re
import socket
import ssl
from http.client import BadStatusLine, RemoteDisconnected
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    IncompleteRead,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from worker.accounts.bounded import BrokenOffError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long was waited stands in urllib3's words alone.
_WAITED = re.compile(r"timeout=(\d+(?:\.\d+)?)")
_LONGEST = 160


def what_happened(error: BaseException) -> str:
    """The predicate of a sentence about a server: "did not answer within 30 s"."""
    causes = list(_causes(error))
    # First what names the part that failed: behind a proxy, a timeout is the proxy's.
    if (proxy := _first(causes, ProxyError, requests.exceptions.ProxyError)) is not None:
        return f"gave no answer: the proxy failed ({_innermost(proxy)})"
    if isinstance(error, BrokenOffError | UnreadableError):
        return f"gave no whole answer: {error}"
    return _of_timeout(causes) or _of_tls(causes) or _of_connection(causes) or f"gave no answer ({_kind(error)})"


def did_not_answer(error: BaseException) -> bool:
    """Whether no connection came about, or nothing was heard in time: asking again at once would be the same."""
    causes = list(_causes(error))
    late = _first(causes, ReadTimeoutError, ConnectTimeoutError, requests.Timeout)
    return late is not None or _first(causes, socket.gaierror, ConnectionRefusedError) is not None


def _of_timeout(causes: list[BaseException]) -> str:
    # urllib3 counts a refused connection among the timeouts of connecting.
    if (late := _first(causes, ReadTimeoutError, requests.ReadTimeout)) is not None:
        return f"did not answer{_within(late)}"
    if (late := _first(causes, ConnectTimeoutError, requests.ConnectTimeout)) is not None:
        return "" if isinstance(late, NewConnectionError) else f"took no connection{_within(late)}"
    return ""


def _of_tls(causes: list[BaseException]) -> str:
    if (refused := _first(causes, ssl.SSLCertVerificationError)) is not None:
        return f"has a certificate that is not accepted ({getattr(refused, 'verify_message', '') or _words(refused)})"
    if (broken := _first(causes, ssl.SSLError, requests.exceptions.SSLError)) is not None:
        return f"could not agree on TLS ({_innermost(broken)})"
    return ""


#: What ends a connection, the most telling first: a RemoteDisconnected is a BadStatusLine, and one that was reset, too.
_ENDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ConnectionRefusedError,), "refuses the connection"),
    ((RemoteDisconnected,), "closed the connection without an answer"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), "broke the connection off"),
    ((IncompleteRead, requests.exceptions.ChunkedEncodingError), "broke off in the middle of its answer"),
    ((BadStatusLine,), "answered with something that is not HTTP"),
)


def _of_connection(causes: list[BaseException]) -> str:
    if (unknown := _first(causes, socket.gaierror)) is not None:
        return f"has a name that cannot be resolved ({_words(unknown)})"
    for kinds, words in _ENDS:
        if _first(causes, *kinds) is not None:
            return words
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno and cause.strerror), None)
    return "" if system is None else f"gave no answer ({_words(system)})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made of, the outermost first: layers chain or hold one another."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        within = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [inner for inner in within if isinstance(inner, BaseException)]


def _first(causes: list[BaseException], *kinds: type[BaseException]) -> BaseException | None:
    return next((cause for cause in causes if isinstance(cause, kinds)), None)


def _within(late: BaseException) -> str:
    found = _WAITED.search(str(late))
    return f" within {float(found[1]):g} s" if found else " in time"


def _innermost(error: BaseException) -> str:
    causes = [cause for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror]
    return _words(causes[-1]) if causes else _kind(error)


def _words(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error)
    return str(words).strip()[:_LONGEST] or _kind(error)


def _kind(error: BaseException) -> str:
    return type(error).__name__
