"""Canned answers behind a real `requests.Session`: everything above the socket is the real thing.

Responses may be given as
- a dict, `"GET /path?query"` to answer (method and query may be left out; a list of answers is handed out in turn),
- a list of answers, in the order of the requests,
- a function of the prepared request.

An answer is a dict or list (JSON), text (XML when it begins with `<`), bytes, a number (a status without a body), an
exception (raised as the network would), or an `Answer` for everything else.
"""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

Responses = Mapping[str, Any] | Sequence[Any] | Callable[[requests.PreparedRequest], Any]

_OK, _NO_CONTENT = 200, 204


class UnexpectedRequest(AssertionError):
    """The job asked for something that the test has no answer to."""


@dataclass(frozen=True)
class Answer:
    """One answer in full. `json`, `xml` and `text` set the content type; `next` adds a Link header to the next page."""

    status: int = _OK
    json: Any = None
    xml: str = ""
    text: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    next: str = ""

    def content(self) -> tuple[bytes, str]:
        """The body's bytes and their type; an empty type for bytes of which nothing is known."""
        if self.xml:
            return self.xml.encode(), "application/xml; charset=utf-8"
        if self.text:
            return self.text.encode(), "text/plain; charset=utf-8"
        if self.json is not None:
            return json.dumps(self.json).encode(), "application/json"
        return self.body, ""


class CannedAdapter(BaseAdapter):
    """Answers a session's requests from `responses`; `base` is where paths in them begin."""

    def __init__(self, responses: Responses, base: str) -> None:
        super().__init__()
        self.requests: list[requests.PreparedRequest] = []
        self._choose = _chooser(responses, base)

    def send(self, request: requests.PreparedRequest, *_args: Any, **_settings: Any) -> requests.Response:
        """Answer one request. Raises UnexpectedRequest, or the exception that was canned for it."""
        self.requests.append(request)
        answer = _answer(self._choose(request))
        content, kind = answer.content()
        headers = {"Content-Type": kind} if kind else {}
        if answer.next:
            headers["Link"] = f'<{answer.next}>; rel="next"'
        raw = HTTPResponse(
            body=io.BytesIO(content),
            headers={**headers, **answer.headers},
            status=answer.status,
            reason=http.client.responses.get(answer.status, ""),
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing is open."""


def canned_session(adapter: BaseAdapter) -> requests.Session:
    """A session that reaches nothing but `adapter`."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _answer(value: Any) -> Answer:
    match value:
        case Answer():
            return value
        case BaseException():
            raise value
        case bool():
            raise TypeError("an answer is no bool; for JSON write Answer(json=…)")
        case int():
            return Answer(status=value)
        case str():
            return Answer(xml=value) if value.lstrip().startswith("<") else Answer(text=value, status=_OK)
        case bytes():
            return Answer(body=value)
        case None:
            return Answer(status=_NO_CONTENT)
        case _:
            return Answer(json=value)


def _chooser(responses: Responses, base: str) -> Callable[[requests.PreparedRequest], Any]:
    if callable(responses):
        return responses
    if isinstance(responses, Mapping):
        return _ByAddress(responses, base)
    return _InOrder(responses)


class _InOrder:
    """Answers in the order of the requests."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self._answers = list(answers)
        self._given = 0

    def __call__(self, request: requests.PreparedRequest) -> Any:
        if self._given >= len(self._answers):
            raise UnexpectedRequest(
                f"{request.method} {request.url} is request number {self._given + 1}, "
                f"but there are {len(self._answers)} responses"
            )
        self._given += 1
        return self._answers[self._given - 1]


class _ByAddress:
    """Answers by method, address and, where the key has one, query."""

    def __init__(self, responses: Mapping[str, Any], base: str) -> None:
        self._base = base
        self._answers = {key: list(answer) if _in_turn(answer) else answer for key, answer in responses.items()}
        self._in_turn = {key for key, answer in responses.items() if _in_turn(answer)}

    def __call__(self, request: requests.PreparedRequest) -> Any:
        # A key with a query says more than one without: it is looked at first.
        keys = sorted((key for key in self._answers if self._matches(key, request)), key=lambda key: "?" not in key)
        if not keys:
            expected = "".join(f"\n  {key}" for key in self._answers) or " nothing"
            raise UnexpectedRequest(f"{request.method} {request.url} has no response; expected:{expected}")
        answer = self._answers[keys[0]]
        if keys[0] not in self._in_turn:
            return answer
        if not answer:
            raise UnexpectedRequest(f"{request.method} {request.url}: all responses for {keys[0]!r} were handed out")
        return answer.pop(0)

    def _matches(self, key: str, request: requests.PreparedRequest) -> bool:
        method, _, address = key.rpartition(" ")
        if (method.strip().upper() or "GET") != request.method:
            return False
        absolute = address.lower().startswith(("http://", "https://"))
        wanted = urlsplit(address if absolute else f"{self._base.rstrip('/')}/{address.lstrip('/')}")
        asked = urlsplit(request.url or "")
        if (wanted.scheme, wanted.netloc, wanted.path) != (asked.scheme, asked.netloc, asked.path):
            return False
        return not wanted.query or set(parse_qsl(wanted.query)) <= set(parse_qsl(asked.query))


def _in_turn(answer: Any) -> bool:
    """A list that holds something other than JSON rows is a list of answers: `[Answer(), 503, Answer()]`."""
    return isinstance(answer, list) and any(isinstance(one, Answer | BaseException | int | bytes) for one in answer)
