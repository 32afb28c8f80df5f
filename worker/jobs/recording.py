"""Exchanges with an API, without what is secret in them, in a file that a test replays.

The file is a cassette of vcrpy, so any tool that knows these can read it. vcrpy's own way to record is not used: it
puts itself in the place of `http.client` for the whole process, below the session, where the token endpoint's answers
and rejected tokens pass by, and where it would take the place of our connections. Only its format and its matching are.

What is kept of a request are its method, its address, its body and the few headers that say nothing of the caller.
What looks secret by its name is masked in the same way when a test asks, so that the two still match.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from email.message import Message
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from worker.errors import Misconfigured
from worker.redact import MASK, SECRET_NAMES, TELLING_NAMES, Scrubber, scrub_data, scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Request headers that are kept.
_ASKED = frozenset(
    {"accept", "accept-language", "content-type", "if-modified-since", "if-none-match", "prefer", "range"}
)
#: Answer headers that are not: secrets, and what describes the body as it travelled.
_UNSAID = frozenset(SECRET_NAMES) | {
    "authentication-info", "connection", "content-encoding", "content-length", "keep-alive", "set-cookie2",
    "transfer-encoding",
}  # fmt: skip
#: And those that are secret by their name. Not every token is: some APIs page by a header.
_TELLING_HEADER = re.compile(
    "(access|auth|csrf|id|refresh|security|session|xsrf)[-_]?token|api[-_]?key|cookie|password|secret|"
    r"(^|-)auth(?!enticate)|session-?id",
    re.IGNORECASE,
)
#: Parameters by which an address is a permission, as those of signed downloads are (S3, Google, Azure).
_SIGNED = re.compile(
    r"(?<=[?&])([^=&#]*(?:signature|credential|secret|(?:security|access|refresh|session)[-_]?token)|sig)=[^&#]+",
    re.IGNORECASE,
)
#: What stands for a secret in an address, where brackets mean something.
_MASK_IN_ADDRESS = "redacted"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A request, as it was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Answered:
    """Its answer, unpacked."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Recording:
    """Exchanges in the order in which they were made, and the run that made them."""

    exchanges: Sequence[tuple[Asked, Answered]]
    #: `api_base`, `cursor`, `params`, `limit`, `since`, `until`: what the same run needs to be made again.
    run: Mapping[str, Any] = field(default_factory=dict)


def require_vcrpy() -> None:
    """Raise Misconfigured when the part that writes and reads recordings is not installed."""
    _vcr()


def clean(asked: Asked, scrubber: Scrubber) -> Asked:
    """The request as it may be kept."""
    headers = {name: scrubber(value) for name, value in sorted(asked.headers.items()) if name.lower() in _ASKED}
    body = None if asked.body is None else _clean_body(asked.body, asked.headers, scrubber)
    return Asked(asked.method, _clean_address(asked.url, scrubber), headers, body)


def clean_answer(answered: Answered, scrubber: Scrubber) -> Answered:
    """The answer as it may be kept."""
    headers = {
        name: _clean_address(value, scrubber) if name.lower() in {"location", "link"} else scrubber(value)
        for name, value in answered.headers.items()
        if name.lower() not in _UNSAID and not _TELLING_HEADER.search(name)
    }
    body = _clean_body(answered.body, answered.headers, scrubber)
    return Answered(answered.status, answered.reason, headers, body)


def render(recording: Recording, scrubber: Scrubber) -> str:
    """The file's text. Raises Misconfigured without vcrpy."""
    vcr = _vcr()
    asked = [clean(one, scrubber) for one, _ in recording.exchanges]
    answers = [clean_answer(one, scrubber) for _, one in recording.exchanges]
    text: str = vcr.serialize.serialize(
        {
            "requests": [_vcr_request(vcr, one) for one in asked],
            "responses": [
                {
                    "status": {"code": one.status, "message": one.reason},
                    "headers": {name: [value] for name, value in one.headers.items()},
                    "body": {"string": one.body},
                }
                for one in answers
            ],
        },
        _WithRun(vcr, {"run": _clean_run(recording.run, scrubber)}),
    )
    return text


class Cassette:
    """A recording, to be asked. Each exchange answers once."""

    def __init__(self, text: str, place: str) -> None:
        """`text` is the file's, `place` its name for messages. Raises Misconfigured for what is no recording."""
        vcr = _vcr()
        keeper = _WithRun(vcr, {})
        try:
            requests, responses, *_ = vcr.serialize.deserialize(text, keeper)
            self.run: Mapping[str, Any] = dict(keeper.found.get("run") or {})
        except Exception as error:  # noqa: BLE001 - YAML that is no cassette fails in many ways
            raise Misconfigured(
                f"{place} is no recording: {str(error).splitlines()[0][:200]}",
                hint="record it again: worker jobs run JOB --dry-run --record FILE",
            ) from None
        self._vcr = vcr
        self._tape = vcr.cassette.Cassette(place, match_on=_matchers(vcr))
        for request, response in zip(requests, responses, strict=True):
            self._tape.append(request, response)

    @property
    def addresses(self) -> list[str]:
        """What can be asked for: method and address."""
        return [f"{one.method} {one.uri}" for one in self._tape.requests]

    def answer(self, asked: Asked) -> Answered | None:
        """The next answer to a request like this; None when there is none (left)."""
        request = _vcr_request(self._vcr, clean(asked, Scrubber()))
        if request not in self._tape:
            return None
        found = self._tape.play_response(request)
        headers = {name: ", ".join(values) for name, values in found["headers"].items()}
        return Answered(found["status"]["code"], found["status"]["message"] or "", headers, found["body"]["string"])


class _WithRun:
    """vcrpy's YAML, with what the run needs beside the exchanges. A serializer, as vcrpy knows them."""

    def __init__(self, vcr: Any, beside: Mapping[str, Any]) -> None:
        self._yaml = vcr.serializers.yamlserializer
        self._beside = beside
        self.found: dict[str, Any] = {}

    def serialize(self, document: dict[str, Any]) -> str:
        return str(self._yaml.serialize({**self._beside, **document}))

    def deserialize(self, text: str) -> dict[str, Any]:
        self.found = self._yaml.deserialize(text)
        return self.found


def _matchers(vcr: Any) -> tuple[Any, ...]:
    names = ("method", "scheme", "host", "port", "path", "query", "body")
    return tuple(getattr(vcr.matchers, name) for name in names)


def _vcr_request(vcr: Any, asked: Asked) -> Any:
    return vcr.request.Request(asked.method, asked.url, asked.body, dict(asked.headers))


def _vcr() -> Any:
    try:
        for part in ("cassette", "matchers", "request", "serialize", "serializers.yamlserializer"):
            import_module(f"vcr.{part}")
    except ImportError as error:
        raise Misconfigured(
            f"recordings need vcrpy, which is not installed ({error})", hint='pip install "headless-worker[recording]"'
        ) from None
    return import_module("vcr")


def _clean_run(run: Mapping[str, Any], scrubber: Scrubber) -> Any:
    """What is secret by its name is so in the params only: a token in a cursor is a place."""
    params = {name: MASK if name.lower() in TELLING_NAMES else value for name, value in run.get("params", {}).items()}
    return _clean_value({**run, **({"params": params} if params else {})}, scrubber)


def _clean_value(value: Any, scrubber: Scrubber) -> Any:
    if isinstance(value, str):
        return scrub_data(scrubber.mask_known(value))
    if isinstance(value, dict):
        return {_clean_value(name, scrubber): _clean_value(item, scrubber) for name, item in value.items()}
    return [_clean_value(item, scrubber) for item in value] if isinstance(value, list | tuple) else value


def _clean_address(url: str, scrubber: Scrubber) -> str:
    """Without credentials, and with what is secret by value or by its parameter's name masked."""
    masked = scrub_patterns(scrubber.mask_known(url)).replace(MASK, _MASK_IN_ADDRESS)
    masked = _SIGNED.sub(rf"\1={_MASK_IN_ADDRESS}", masked)
    try:
        parts = urlsplit(masked)
    except ValueError:
        return masked
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else masked


def _clean_body(body: bytes, headers: Mapping[str, str], scrubber: Scrubber) -> bytes:
    encoding = _encoding(body, headers)
    text = body.decode(encoding)
    masked = scrub_data(scrubber.mask_known(text))
    return body if masked == text else masked.encode(encoding)


def _encoding(body: bytes, headers: Mapping[str, str]) -> str:
    """How to read a body so that a secret in it is found. The last resort gives every byte back as it was."""
    said = Message()
    said["Content-Type"] = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    marked = next((encoding for mark, encoding in _MARKS if body.startswith(mark)), "")
    bare = ("utf-16-le" if body[1:2] == b"\0" else "utf-16-be") if b"\0" in body[:2] else ""
    for encoding in filter(None, (marked, said.get_content_charset(""), bare, "utf-8")):
        try:
            if body.decode(encoding).encode(encoding) == body:
                return encoding
        except (ValueError, LookupError):
            continue
    return "latin-1"
