"""What carries a session's requests, and what may be sent twice.

Down here only broken connections are mended; answers are the session's business. A request whose body is a stream is
not sent again once its connection has broken: the stream is spent by then, and an empty body would arrive instead.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from requests.utils import rewind_body
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, ReadTimeoutError
from urllib3.util import Retry

from worker.accounts.adapter import PreparingAdapter
from worker.accounts.final_answer import FinalAnswer
from worker.errors import BodyNotReplayable

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from urllib3.connection import HTTPConnection

#: Methods that may be sent again without harm (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: Connections kept open to one host: as many threads may share a session.
_POOL = 32


class _Mending(Retry):
    """Mends what is broken, not what is slow: a timeout is told at once, as the kind of error that it is."""

    def increment(self, method: str | None = None, url: str | None = None, *rest: Any, **named: Any) -> Any:
        """See Retry. Raises the timeout, in the form in which requests knows it."""
        error = named.get("error")
        if isinstance(error, ReadTimeoutError):
            raise error
        if type(error) is ConnectTimeoutError:  # a refused connection is one as well, to urllib3
            raise MaxRetryError(named["_pool"], url or "", error)
        return super().increment(method, url, *rest, **named)


def _retries(read: int) -> Retry:
    return _Mending(
        total=3,
        connect=2,
        read=read,
        status=0,
        other=0,
        redirect=False,
        backoff_factor=0.2,
        allowed_methods=IDEMPOTENT,
        # Else a 429 or 503 with Retry-After would end in an error here instead of being answered above.
        respect_retry_after_header=False,
    )


class _Adapter(PreparingAdapter):
    """Waits for the final answer, as long as nobody has anything against it."""

    def __init__(self, retries: Retry, still: Callable[[], None]) -> None:
        def prepare(connection: HTTPConnection) -> None:
            connection.response_class = partial(FinalAnswer, still=still)  # type: ignore[assignment]

        super().__init__(prepare, pool_maxsize=_POOL, max_retries=retries)


class Carrier(_Adapter):
    """Sends again what never reached the server, and once an idempotent request whose connection broke.

    `still` is called before every read from the network; what it raises ends the request.
    """

    def __init__(self, still: Callable[[], None]) -> None:
        super().__init__(_retries(read=1), still)
        self._once = _Adapter(_retries(read=0), still)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **settings: Any) -> requests.Response:
        """See HTTPAdapter."""
        if is_stream(request):
            return self._once.send(request, *arguments, **settings)
        return super().send(request, *arguments, **settings)

    def close(self) -> None:
        """See HTTPAdapter."""
        self._once.close()
        super().close()


def is_repeatable(request: requests.PreparedRequest, idempotency_header: str) -> bool:
    """Whether the server does the same thing once, however often the request arrives, and its body can be sent again.

    By its method, or because its sender has named it: the header's value is how the server knows it again
    (draft-ietf-httpapi-idempotency-key-header).
    """
    named = bool(request.headers and request.headers.get(idempotency_header))
    return (named or (request.method or "").upper() in IDEMPOTENT) and not is_stream(request)


def is_stream(request: requests.PreparedRequest) -> bool:
    """Whether sending the body consumes it."""
    return not (request.body is None or isinstance(request.body, str | bytes | bytearray | memoryview))


def replayable(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request, ready to be sent again. Raises BodyNotReplayable when its body has been consumed."""
    if is_stream(request):
        if not isinstance(getattr(request, "_body_position", None), int):
            raise BodyNotReplayable(
                hint="send bytes, or a file that can be rewound, instead of a generator; or repeat the request"
            )
        rewind_body(request)
    return request
