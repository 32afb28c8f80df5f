"""Evidence: the redacted facts of an answer, short enough for a timeline and safe enough for a notification.

Error descriptions quote secrets back at us (`Invalid refresh token: 8b7c…`), so long opaque words are masked whatever
they are called. Trace and correlation ids stay: providers' support asks for them.
"""

from __future__ import annotations

import re

from worker.redact import MASK, scrub_patterns

#: Characters of a text that are kept: a description and its trace ids fit, a page of markup does not.
LONGEST_TEXT = 300
#: Characters of a code that are kept.
LONGEST_CODE = 80

#: Controls, and what turns or hides the text around it on a terminal or a page.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]+"
)
#: A word long enough for a token. Colons are left out, so a time of day is none.
_OPAQUE = re.compile(r"(?<![\w/])(?:(?P<label>[Ii][Dd]:?\s{0,3}))?(?P<word>[A-Za-z0-9\-._~+/=!|*$]{16,})")
_ADDRESS = re.compile(r"https?://\S+")
_AFTER_TOKEN = re.compile(
    r"(\b(?:token|code|secret|password)\b[^:=]{0,20}[:=]\s*['\"]?)([^\s'\",;]*\d[^\s'\",;]*)", re.IGNORECASE
)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,200})", re.IGNORECASE)


def safe_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` on one line, without secrets, cut at `longest` characters."""
    flat = _CONTROL.sub(" ", text[: 4 * longest]).strip()
    clean = scrub_patterns(_mask(flat))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def one_line(value: object, longest: int = LONGEST_TEXT) -> str:
    """A text that a provider chose, fit for a terminal, a page or a log line; "" for anything but a text."""
    return _CONTROL.sub(" ", value[:longest]).strip() if isinstance(value, str) else ""


def page_title(text: str) -> str:
    """The title of a page, which is where proxies name themselves and their trouble."""
    found = _TITLE.search(text[:4000])
    return safe_text(found.group(1)) if found else ""


def _mask(text: str) -> str:
    parts: list[str] = []
    at = 0
    for address in _ADDRESS.finditer(text):
        parts += [_mask_words(text[at : address.start()]), address.group().partition("?")[0]]
        at = address.end()
    return "".join([*parts, _mask_words(text[at:])])


def _mask_words(text: str) -> str:
    return _OPAQUE.sub(_mask_word, _AFTER_TOKEN.sub(rf"\1{MASK}", text))


def _mask_word(match: re.Match[str]) -> str:
    word = match.group("word")
    opaque = any(letter.isdigit() for letter in word) and any(letter.isalpha() for letter in word)
    return match.group() if match.group("label") or not opaque else MASK
