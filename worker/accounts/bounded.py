"""Reading an answer's body within bounds: so many bytes, unpacked, and no more.

What a server sends is its own choice: a hundred megabytes, or a kilobyte that unpacks to a gigabyte. Bytes are counted
as they come out of the decoder, which unpacks no more than is asked of it. (One that sends a byte a minute is held by
the line or the carrier on which it is read.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import DecodeError, ProtocolError, ReadTimeoutError, SSLError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes asked for at once.
_PART = 1 << 16


class UnreadableError(requests.RequestException):
    """An answer came, and it is none that can be read."""


class BrokenOffError(requests.RequestException):
    """The answer ended before its end."""


def read_bounded(response: requests.Response, largest: int) -> bytes:
    """The body, unpacked, of a response that was asked for with `stream=True`.

    Raises UnreadableError when it is longer than `largest` bytes, and what requests raises when it breaks off or cannot
    be unpacked.
    """
    body = bytearray()
    for part in _parts(response):
        body += part
        if len(body) > largest:
            response.close()
            raise UnreadableError(f"the answer is longer than {largest} bytes", response=response)
    return bytes(body)


def is_read(response: requests.Response) -> bool:
    """Whether the body has been taken from the network."""
    content: object = response._content  # noqa: SLF001 - requests has no other way in
    return content is not False


def load(response: requests.Response, largest: int) -> None:
    """Put the body where `content`, `text` and `json()` look for it, unless it is there. Raises as `read_bounded`."""
    if not is_read(response):
        response._content = read_bounded(response, largest)  # noqa: SLF001 - as above
        response._content_consumed = True  # type: ignore[attr-defined] # noqa: SLF001


def _parts(response: requests.Response) -> Iterator[bytes]:
    """What has arrived, as soon as it has: `iter_content` would wait for a full part, however slowly it came."""
    raw = response.raw
    if not isinstance(raw, BaseHTTPResponse):  # a test adapter's
        yield from response.iter_content(_PART)
        return
    try:
        while part := raw.read1(_PART, decode_content=True):
            yield part
    except ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error, response=response) from error
    except DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error, response=response) from error
    except ReadTimeoutError as error:
        raise requests.ConnectionError(error, response=response) from error
    except SSLError as error:
        raise requests.exceptions.SSLError(error, response=response) from error
