"""The body of an answer, whatever it was labelled: JSON, a form, a bare word, a page from something in front.

Content types lie (forms come as text/plain, JSON as text/html), so the bytes decide. Nothing here raises: what
cannot be read is named so. Invalid UTF-8 is read as Latin-1, which leaves tokens (ASCII) as they are: a rotated
refresh token must not be lost over a mangled display name in the same answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from math import inf
from typing import Literal
from urllib.parse import parse_qsl

Form = Literal["json", "form", "text", "html", "empty", "unreadable"]

#: name=value pairs without blanks or markup. Each part excludes the next one's delimiter, so matching is linear.
_PAIRS = re.compile(r"""[^\s<>{}"&=]+=[^\s<>{}"&]*(?:&(?:[^\s<>{}"&=]+(?:=[^\s<>{}"&]*)?)?)*""")
#: `callback( {…} );`, the JSON of script-tag days; some token endpoints still answer errors so.
_SCRIPT_CALL = re.compile(r"[\w.$]+\s*\(\s*(\{.*\})\s*\)\s*;?", re.DOTALL)
#: A page is told by its first tag; XML counts as unreadable, not as a page.
_PAGE = re.compile(
    r"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body|title|center|h1|div|p)\b", re.IGNORECASE | re.DOTALL
)
#: More form fields than any token answer has; beyond it the body is no token answer.
_MOST_FIELDS = 200
#: Whole numbers of more digits overflow clocks and databases, and Python refuses thousands of digits altogether.
_MOST_DIGITS = 18
_NOT_JSON = object()


@dataclass(frozen=True, slots=True)
class Body:
    """A body and what it turned out to be."""

    form: Form
    #: The decoded JSON, or the form's fields as a dict of texts; None for everything else.
    value: object = field(repr=False)
    text: str = field(repr=False)

    @property
    def record(self) -> dict[str, object]:
        """The named members of a JSON object or a form; empty for everything else."""
        return self.value if isinstance(self.value, dict) else {}


def read_body(body: bytes, content_type: str = "") -> Body:
    """Decode a body. `content_type` only settles what the bytes leave open."""
    text = _decode(body).removeprefix("\ufeff").strip().strip("\x00")
    if not text:
        return Body("empty", None, "")
    value = _load(text)
    if value is not _NOT_JSON:
        return Body("json", value, text)
    labelled = content_type.partition(";")[0].strip().lower()
    if labelled == "application/x-www-form-urlencoded" or _PAIRS.fullmatch(text):
        fields = _fields(text)
        if fields:
            return Body("form", fields, text)
    if _PAGE.match(text) or (labelled == "text/html" and text.startswith("<")):
        return Body("html", None, text)
    if text[0] in "{[<" or labelled.endswith("json"):
        return Body("unreadable", None, text)
    return Body("text", None, text)


def _decode(body: bytes) -> str:
    try:
        return body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _load(text: str) -> object:
    """The JSON value, or `_NOT_JSON`."""
    call = _SCRIPT_CALL.fullmatch(text)
    try:
        return json.loads(call.group(1) if call else text, parse_int=_whole, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else inf


def _fields(text: str) -> dict[str, object]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


def plain(name: str) -> str:
    """A member's name without case and separators: `accessToken`, `access_token` and `Access-Token` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
