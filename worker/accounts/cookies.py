"""Cookies of an API, as many as a browser would keep.

A session lives for months and sends back what it is given. A server that sets a hundred new cookies with every answer
would fill the memory, and then get requests that it refuses for their length.
"""

from __future__ import annotations

from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any

from requests.cookies import RequestsCookieJar

#: RFC 6265 section 6.1 asks for at least 50 cookies a domain and 4096 bytes each.
_MOST_COOKIES, _LONGEST_COOKIE = 100, 4096


class _Sparing(DefaultCookiePolicy):
    """Takes what a browser would take."""

    def __init__(self) -> None:
        super().__init__()
        self.jar: RequestsCookieJar | None = None

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        """See DefaultCookiePolicy."""
        room = self.jar is None or len(self.jar) < _MOST_COOKIES or cookie.name in self.jar
        return (
            room and len(cookie.name) + len(cookie.value or "") <= _LONGEST_COOKIE and super().set_ok(cookie, request)
        )


def few_cookies() -> RequestsCookieJar:
    """An empty jar that stays small."""
    policy = _Sparing()
    policy.jar = RequestsCookieJar(policy)
    return policy.jar
