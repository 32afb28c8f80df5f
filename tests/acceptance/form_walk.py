"""A person with a very plain browser: follows redirects, fills in forms, stops where the client should be told.

It reads any page with HTML forms and knows no server. Nothing has to listen at the redirect URI.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

#: Pages after which something goes in circles.
LONGEST = 20
TIMEOUT = 30


@dataclass
class Form:
    """One form of a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """A page's forms that are posted."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", "")) if given.get("method", "get").lower() == "post" else None
            if self._open is not None:
                self.forms.append(self._open)
            return
        name = given.get("name", "")
        if self._open is None or tag not in {"input", "button"} or not name:
            return
        kind = given.get("type", "submit" if tag == "button" else "text").lower()
        if kind == "submit":
            self._open.buttons.append((name, given.get("value", "")))
        elif kind not in {"checkbox", "radio"} or "checked" in given:
            self._open.fields[name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


def walk(start: str, redirect_uri: str, answers: dict[str, str], press: str = "") -> str:
    """The address below `redirect_uri` that a browser would end at.

    `answers` fills in fields by name; `press` is the button used where a form has it.
    """
    with requests.Session() as browser:
        browser.trust_env = False
        response = browser.get(start, allow_redirects=False, timeout=TIMEOUT)
        for _ in range(LONGEST):
            if response.is_redirect:
                target = urljoin(response.url, response.headers["Location"])
                if target.startswith(redirect_uri):
                    return target
                response = browser.get(target, allow_redirects=False, timeout=TIMEOUT)
                continue
            forms = Page(response.text).forms
            if not forms:
                break
            form = forms[0]
            sent = {name: answers.get(name, value) for name, value in form.fields.items()}
            sent.update(button for button in form.buttons if button[0] == press)
            target = urljoin(response.url, form.action)
            response = browser.post(target, sent, allow_redirects=False, timeout=TIMEOUT, headers={"Referer": target})
    raise AssertionError(f"the walk ended at {response.url} ({response.status_code}): {response.text[:500]}")
