"""A person in a browser, played by a program: opens the consent page, fills in the form, stops at the redirect.

It works over HTTP alone and knows nothing of the server's inside; nothing has to listen at the redirect URI.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds.
TIMEOUT = 30.0
#: Elements whose content is not shown on the page.
SILENT = ("style", "script", "title")
REDIRECTS = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, HTTPStatus.TEMPORARY_REDIRECT)


class ConsentFailed(RuntimeError):
    """The walk did not end in a redirect to the client; the message holds what the page said."""


def give_consent(authorization_url: str, user: str, allow: bool = True, *, refuse: Sequence[str] = ()) -> str:
    """The URL that the browser would be sent back to, with `code` or `error`.

    `refuse` names scopes that the person leaves out. `ConsentFailed` when the server shows an error page instead.
    """
    status, location, page = _request("GET", authorization_url)
    if location:
        return location  # refused without asking anybody, for example an invalid scope
    form = _Page(page)
    if status != HTTPStatus.OK or form.action is None:
        raise ConsentFailed(f"HTTP {status}: {form.text()}")
    fields = form.fields | {"login": user, "decision": "allow" if allow else "deny"}
    fields |= {f"refuse:{scope}": "yes" for scope in refuse}
    status, location, page = _request("POST", urljoin(authorization_url, form.action), urlencode(fields))
    if not location:
        raise ConsentFailed(f"HTTP {status}: {_Page(page).text()}")
    return location


def _request(method: str, url: str, body: str | None = None) -> tuple[int, str, str]:
    """Status, absolute redirect target (or empty) and page."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ConsentFailed(f"not an http address: {url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        answer = connection.getresponse()
        page = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    location = answer.getheader("Location", "") if answer.status in REDIRECTS else ""
    return answer.status, urljoin(url, location) if location else "", page


@dataclass
class _Found:
    fields: dict[str, str] = field(default_factory=dict)
    action: str | None = None


class _Page(HTMLParser):
    """The page's form: where it goes, and its fields with their first values. Buttons and unticked boxes stay out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._found = _Found()
        self._words: list[str] = []
        self._skipping = False
        self.feed(page)

    @property
    def action(self) -> str | None:
        """Target of the form; None when the page has none."""
        return self._found.action

    @property
    def fields(self) -> dict[str, str]:
        """Names and values."""
        return self._found.fields

    def text(self) -> str:
        """What the page says, for a message."""
        return " ".join(" ".join(self._words).split())[:300]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms and their input fields."""
        given = dict(attrs)
        self._skipping = tag in SILENT
        if tag == "form":
            self._found.action = given.get("action") or ""
        name, kind = given.get("name"), given.get("type") or "text"
        wanted = tag == "input" and name and kind not in {"submit", "button"}
        if wanted and name and (kind not in {"checkbox", "radio"} or "checked" in given):
            self._found.fields[name] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """What follows a style sheet or title is text again."""
        self._skipping = self._skipping and tag not in SILENT

    def handle_data(self, data: str) -> None:
        """Collect what is shown."""
        if not self._skipping:
            self._words.append(data)
